"""Numbers with spikes, as networks see them: a number, and a code that says which spike it is.

A spike is a value that many rows share, such as no gain at all; the schema's scale `spikes` finds
them, and they stand in `Batch.numbers` as 8, 9, … A network takes such rows *apart*: the number is
missing where a spike is, and a code beside those of the table says which one, 1 for none and 2 for
the first; 0, which no decoder gives, is not used. What it gives back is *joined*. So encoder,
decoder and likelihood know nothing of spikes: a spike has the categorical likelihood, and any other
number, given that it is none, that of numbers.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.batch import FIRST_SPIKE, MISSING, Batch, RowSpec


def spiked(rows: RowSpec) -> tuple[int, ...]:
    """Returns the numbers that have spikes.

    Example:
        >>> spiked(RowSpec(3, spikes=(0, 2, 1)))
        (1, 2)
    """
    return tuple(i for i, count in enumerate(rows.spikes) if count)


def rows_apart(rows: RowSpec) -> RowSpec:
    """Returns what rows hold once they are taken apart; the same where no number has spikes.

    Example:
        >>> rows_apart(RowSpec(2, (4,), (True, False, False), spikes=(3, 0)))[:3]
        (2, (4, 5), (True, False, False, True))
    """
    own = spiked(rows)
    if not own:
        return rows
    numbers = tuple(gap or i in own for i, gap in enumerate(rows.number_gaps))
    codes = (*rows.code_gaps, *(rows.number_gaps[i] for i in own))
    levels = (*rows.levels, *(rows.spikes[i] + 2 for i in own))
    return rows._replace(levels=levels, gaps=(*numbers, *codes), spikes=())


@dataclass(frozen=True)
class Spikes:
    """Takes rows apart and joins them.

    Args:
        rows: what every row of the table holds.

    Example:
        >>> numbers = jnp.array([[0.5], [8.0], [9.0], [jnp.nan]])
        >>> found = Spikes(RowSpec(1, gaps=(True,), spikes=(2,))).apart(Batch(numbers))
        >>> print(found.numbers.T, found.codes.T)
        [[0.5 nan nan nan]] [[ 1  2  3 -1]]
    """

    rows: RowSpec

    def apart(self, batch: Batch) -> Batch:
        """Returns rows as of `rows_apart`."""
        own = spiked(self.rows)
        if not own:
            return batch
        places, counts = np.array(own), np.array([[self.rows.spikes[i] for i in own]], np.int32)
        x = batch.numbers[:, places]
        is_missing = jnp.isnan(x)
        code = jnp.floor(jnp.where(is_missing, 0, x) - FIRST_SPIKE + 2.5)
        code = jnp.where(is_missing, MISSING, jnp.clip(code, 1, counts + 1)).astype(jnp.int32)
        x = jnp.where(code > 1, jnp.nan, x)
        codes = code if batch.codes is None else jnp.concatenate([batch.codes, code], axis=1)
        return batch._replace(numbers=batch.numbers.at[:, places].set(x), codes=codes)

    def joined(self, batch: Batch) -> Batch:
        """Returns rows that were taken apart as the table's; the inverse of `apart`."""
        own = spiked(self.rows)
        if not own:
            return batch
        assert batch.codes is not None
        places, code = np.array(own), batch.codes[:, self.rows.codes :]
        spike = (code - 2).astype(batch.numbers.dtype) + FIRST_SPIKE
        x = jnp.where(code > 1, spike, batch.numbers[:, places])
        codes = batch.codes[:, : self.rows.codes] if self.rows.codes else None
        return batch._replace(numbers=batch.numbers.at[:, places].set(x), codes=codes)

    def terms_joined(self, terms: Array) -> Array:
        """Returns terms by column, `[B, D + C]`: a number's own and that of its spike together."""
        own = spiked(self.rows)
        if not own:
            return terms
        columns = self.rows.columns
        found: Array = terms[:, :columns].at[:, np.array(own)].add(terms[:, columns:])
        return found

    def observed_joined(self, observed: Array) -> Array:
        """Returns which cells are not missing, `[B, D + C]`: a number's that its code says.

        Args:
            observed: as of `rows_apart`.
        """
        own = spiked(self.rows)
        if not own:
            return observed
        columns = self.rows.columns
        found: Array = observed[:, :columns].at[:, np.array(own)].set(observed[:, columns:])
        return found
