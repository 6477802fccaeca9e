"""Rows as networks see them: spikes and missing cells are codes beside those of the table.

*Spikes.* A spike is a value that many rows share, such as no gain at all; the schema's scale
`spikes` finds them, and they stand in `Batch.numbers` as 8, 9, … In coded rows the number is
missing where a spike is, and a code says which one, 1 for none and 2 for the first.

*Missing cells*, where they are to be drawn with new rows: for each column that may have some, a
code says whether the cell is there, 1, or missing, 2.

0, which no decoder gives, is not used. A network takes rows *apart*, and what it gives back is
*joined*. So encoder, decoder and likelihood know of neither: a spike and a flag have the
categorical likelihood, and a number, given that it is there and no spike, that of numbers.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.batch import FIRST_SPIKE, MISSING, Batch, RowSpec

_FLAG = 3  # values of a flag: one that is not used, there, missing


def spiked(rows: RowSpec) -> tuple[int, ...]:
    """Returns the numbers that have spikes.

    Example:
        >>> spiked(RowSpec(3, spikes=(0, 2, 1)))
        (1, 2)
    """
    return tuple(i for i, count in enumerate(rows.spikes) if count)


def coded_rows(rows: RowSpec, *, flags_missing: bool = False) -> RowSpec:
    """Returns what rows hold once they are taken apart; the same where nothing becomes a code.

    Args:
        rows: what every row of the table holds.
        flags_missing: whether a code says which cells are missing.

    Example:
        >>> coded_rows(RowSpec(2, (4,), (True, False, False), spikes=(3, 0)))[:3]
        (2, (4, 5), (True, False, False, True))
        >>> coded_rows(RowSpec(1, (4,), (False, True)), flags_missing=True)[:3]
        (1, (4, 3), (False, True, False))
    """
    own = spiked(rows)
    flags = sum(rows.gaps) if flags_missing else 0
    if not own and not flags:
        return rows
    numbers = tuple(gap or i in own for i, gap in enumerate(rows.number_gaps))
    codes = (*rows.code_gaps, *(rows.number_gaps[i] for i in own), *[False] * flags)
    levels = (*rows.levels, *(rows.spikes[i] + 2 for i in own), *[_FLAG] * flags)
    return rows._replace(levels=levels, gaps=(*numbers, *codes), spikes=())


@dataclass(frozen=True)
class RowCoding:
    """Takes rows apart and joins them.

    Args:
        rows: what every row of the table holds.
        flags_missing: as of `coded_rows`.

    Example:
        >>> numbers = jnp.array([[0.5], [8.0], [9.0], [jnp.nan]])
        >>> found = RowCoding(RowSpec(1, gaps=(True,), spikes=(2,))).apart(Batch(numbers))
        >>> print(found.numbers.T, found.codes.T)
        [[0.5 nan nan nan]] [[ 1  2  3 -1]]
    """

    rows: RowSpec
    flags_missing: bool = False

    @property
    def flagged(self) -> tuple[int, ...]:
        """The columns that have a flag, by their places among D + C."""
        if not self.flags_missing:
            return ()
        return tuple(i for i, has_gaps in enumerate(self.rows.gaps) if has_gaps)

    def apart(self, batch: Batch) -> Batch:
        """Returns rows as of `coded_rows`."""
        numbers, codes = batch.numbers, [] if batch.codes is None else [batch.codes]
        if own := spiked(self.rows):
            places, counts = np.array(own), np.array([[self.rows.spikes[i] for i in own]], np.int32)
            x = numbers[:, places]
            is_missing = jnp.isnan(x)
            code = jnp.floor(jnp.where(is_missing, 0, x) - FIRST_SPIKE + 2.5)
            code = jnp.where(is_missing, MISSING, jnp.clip(code, 1, counts + 1)).astype(jnp.int32)
            numbers = numbers.at[:, places].set(jnp.where(code > 1, jnp.nan, x))
            codes.append(code)
        if flagged := self.flagged:
            parts = [jnp.isnan(batch.numbers)]
            if batch.codes is not None:
                parts.append(batch.codes == MISSING)
            codes.append(1 + jnp.concatenate(parts, axis=1)[:, np.array(flagged)].astype(jnp.int32))
        if not own and not flagged:
            return batch
        return batch._replace(numbers=numbers, codes=jnp.concatenate(codes, axis=1))

    def joined(self, batch: Batch, *, with_missing: bool = False) -> Batch:
        """Returns rows that were taken apart as the table's.

        Args:
            batch: rows as of `coded_rows`.
            with_missing: whether cells are missing where their flags say so. `apart` then has its
                inverse; else flags are left out, as of expected rows, of which no cell is missing.
        """
        own, flagged = spiked(self.rows), self.flagged
        if not own and not flagged:
            return batch
        assert batch.codes is not None
        numbers, codes = batch.numbers, batch.codes[:, : self.rows.codes]
        if own:
            places = np.array(own)
            code = batch.codes[:, self.rows.codes : self.rows.codes + len(own)]
            spike = (code - 2).astype(numbers.dtype) + FIRST_SPIKE
            numbers = numbers.at[:, places].set(jnp.where(code > 1, spike, numbers[:, places]))
        if with_missing and flagged:
            flags = batch.codes[:, self.rows.codes + len(own) :] == 2
            shape = len(flags), self.rows.columns
            is_missing = jnp.zeros(shape, bool).at[:, np.array(flagged)].set(flags)
            numbers = jnp.where(is_missing[:, : self.rows.numbers], jnp.nan, numbers)
            codes = jnp.where(is_missing[:, self.rows.numbers :], MISSING, codes)
        return batch._replace(numbers=numbers, codes=codes if self.rows.codes else None)

    def terms_joined(self, terms: Array) -> Array:
        """Returns terms by column, `[B, D + C]`: a number's own and that of its spike together.

        That of a flag is in none: it is of whether a cell is missing, not of what it holds.
        """
        own, columns = spiked(self.rows), self.rows.columns
        if not own and not self.flagged:
            return terms
        found = terms[:, :columns]
        if own:
            found = found.at[:, np.array(own)].add(terms[:, columns : columns + len(own)])
        return found

    def observed_joined(self, observed: Array) -> Array:
        """Returns which cells are not missing, `[B, D + C]`: a number's that its code says.

        Args:
            observed: as of `coded_rows`.
        """
        own, columns = spiked(self.rows), self.rows.columns
        if not own and not self.flagged:
            return observed
        found = observed[:, :columns]
        if own:
            found = found.at[:, np.array(own)].set(observed[:, columns : columns + len(own)])
        return found
