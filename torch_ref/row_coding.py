"""Rows as networks see them: spikes and missing cells are codes beside those of the table.

As in `jaxrep.row_coding`. TorchScript compiles `RowCoding`.
"""

import torch
from torch import Tensor

from torch_ref.batch import FIRST_SPIKE, MISSING, Batch, RowSpec

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


class RowCoding(torch.nn.Module):
    """Takes rows apart and joins them.

    Args:
        rows: what every row of the table holds.
        flags_missing: as of `coded_rows`.

    Example:
        >>> numbers = torch.tensor([[0.5], [8.0], [9.0], [float("nan")]])
        >>> found = RowCoding(RowSpec(1, gaps=(True,), spikes=(2,))).apart(Batch(numbers))
        >>> print(found.numbers.T, found.codes.T)
        tensor([[0.5000,    nan,    nan,    nan]]) tensor([[ 1,  2,  3, -1]], dtype=torch.int32)
    """

    own: list[int]
    counts: list[int]
    flagged: list[int]

    def __init__(self, rows: RowSpec, *, flags_missing: bool = False):
        super().__init__()
        self.own = list(spiked(rows))
        self.counts = [rows.spikes[i] for i in self.own]
        self.flagged = [i for i, gap in enumerate(rows.gaps) if gap and flags_missing]
        self.numbers, self.columns, self.codes = rows.numbers, rows.columns, rows.codes
        self.first = FIRST_SPIKE
        self.missing = MISSING

    def apart(self, batch: Batch) -> Batch:
        """Returns rows as of `coded_rows`."""
        if len(self.own) == 0 and len(self.flagged) == 0:
            return batch
        columns = list(batch.numbers.unbind(1))
        codes: list[Tensor] = []
        of_table = batch.codes
        if of_table is not None:
            codes = list(of_table.unbind(1))
        flags: list[Tensor] = []
        for i in self.flagged:
            is_missing = (
                torch.isnan(columns[i])
                if i < self.numbers
                else codes[i - self.numbers] == self.missing
            )
            flags.append(is_missing.int() + 1)
        for k, i in enumerate(self.own):
            x, count = columns[i], self.counts[k]
            is_missing = torch.isnan(x)
            code = torch.floor(torch.where(is_missing, 0.0, x) - self.first + 2.5)
            code = code.clamp(1, count + 1).int()
            code = torch.where(is_missing, torch.full_like(code, self.missing), code)
            columns[i] = x.masked_fill(code > 1, float("nan"))
            codes.append(code)
        numbers = torch.stack(columns, dim=1) if self.numbers > 0 else batch.numbers
        return Batch(numbers, torch.stack(codes + flags, dim=1), batch.targets, batch.weights)

    def joined(self, batch: Batch, with_missing: bool = False) -> Batch:
        """Returns rows that were taken apart as the table's.

        Args:
            batch: rows as of `coded_rows`.
            with_missing: whether cells are missing where their flags say so. `apart` then has its
                inverse; else flags are left out, as of expected rows, of which no cell is missing.
        """
        of_rows = batch.codes
        if (len(self.own) == 0 and len(self.flagged) == 0) or of_rows is None:
            return batch
        columns, codes = list(batch.numbers.unbind(1)), list(of_rows.unbind(1))
        for k, i in enumerate(self.own):
            code = codes[self.codes + k]
            spike = (code - 2).to(batch.numbers.dtype) + self.first
            columns[i] = torch.where(code > 1, spike, columns[i])
        if with_missing:
            for k, i in enumerate(self.flagged):
                is_missing = codes[self.codes + len(self.own) + k] == 2
                if i < self.numbers:
                    columns[i] = columns[i].masked_fill(is_missing, float("nan"))
                else:
                    codes[i - self.numbers] = codes[i - self.numbers].masked_fill(
                        is_missing, self.missing
                    )
        numbers = torch.stack(columns, dim=1) if self.numbers > 0 else batch.numbers
        of_table = torch.stack(codes[: self.codes], dim=1) if self.codes > 0 else None
        return Batch(numbers, of_table, batch.targets, batch.weights)

    def terms_joined(self, terms: Tensor) -> Tensor:
        """Returns terms by column, `[B, D + C]`: a number's own and that of its spike together.

        That of a flag is in none: it is of whether a cell is missing, not of what it holds.
        """
        if len(self.own) == 0 and len(self.flagged) == 0:
            return terms
        columns = list(terms[:, : self.columns].unbind(1))
        for k, i in enumerate(self.own):
            columns[i] = columns[i] + terms[:, self.columns + k]
        return torch.stack(columns, dim=1)

    def observed_joined(self, observed: Tensor) -> Tensor:
        """Returns which cells are not missing, `[B, D + C]`: a number's that its code says.

        Args:
            observed: as of `coded_rows`.
        """
        if len(self.own) == 0 and len(self.flagged) == 0:
            return observed
        columns = list(observed[:, : self.columns].unbind(1))
        for k, i in enumerate(self.own):
            columns[i] = observed[:, self.columns + k]
        return torch.stack(columns, dim=1)
