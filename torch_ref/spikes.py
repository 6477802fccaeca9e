"""Numbers with spikes, as networks see them: a number, and a code that says which spike it is.

As in `jaxrep.spikes`. TorchScript compiles `Spikes`.
"""

import torch
from torch import Tensor

from torch_ref.batch import FIRST_SPIKE, MISSING, Batch, RowSpec


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


class Spikes(torch.nn.Module):
    """Takes rows apart and joins them.

    Args:
        rows: what every row of the table holds.

    Example:
        >>> numbers = torch.tensor([[0.5], [8.0], [9.0], [float("nan")]])
        >>> found = Spikes(RowSpec(1, gaps=(True,), spikes=(2,))).apart(Batch(numbers))
        >>> print(found.numbers.T, found.codes.T)
        tensor([[0.5000,    nan,    nan,    nan]]) tensor([[ 1,  2,  3, -1]], dtype=torch.int32)
    """

    own: list[int]
    counts: list[int]

    def __init__(self, rows: RowSpec):
        super().__init__()
        self.own = list(spiked(rows))
        self.counts = [rows.spikes[i] for i in self.own]
        self.columns, self.codes = rows.columns, rows.codes
        self.first = FIRST_SPIKE
        self.missing = MISSING

    def apart(self, batch: Batch) -> Batch:
        """Returns rows as of `rows_apart`."""
        if len(self.own) == 0:
            return batch
        columns = list(batch.numbers.unbind(1))
        codes: list[Tensor] = []
        of_table = batch.codes
        if of_table is not None:
            codes.append(of_table)
        for k, i in enumerate(self.own):
            x, count = columns[i], self.counts[k]
            is_missing = torch.isnan(x)
            code = torch.floor(torch.where(is_missing, 0.0, x) - self.first + 2.5)
            code = code.clamp(1, count + 1).int()
            code = torch.where(is_missing, torch.full_like(code, self.missing), code)
            columns[i] = x.masked_fill(code > 1, float("nan"))
            codes.append(code.unsqueeze(1))
        numbers = torch.stack(columns, dim=1)
        return Batch(numbers, torch.cat(codes, dim=1), batch.targets, batch.weights)

    def joined(self, batch: Batch) -> Batch:
        """Returns rows that were taken apart as the table's; the inverse of `apart`."""
        codes = batch.codes
        if len(self.own) == 0 or codes is None:
            return batch
        columns = list(batch.numbers.unbind(1))
        for k, i in enumerate(self.own):
            code = codes[:, self.codes + k]
            spike = (code - 2).to(batch.numbers.dtype) + self.first
            columns[i] = torch.where(code > 1, spike, columns[i])
        of_table = codes[:, : self.codes] if self.codes > 0 else None
        return Batch(torch.stack(columns, dim=1), of_table, batch.targets, batch.weights)

    def terms_joined(self, terms: Tensor) -> Tensor:
        """Returns terms by column, `[B, D + C]`: a number's own and that of its spike together."""
        if len(self.own) == 0:
            return terms
        columns = list(terms[:, : self.columns].unbind(1))
        for k, i in enumerate(self.own):
            columns[i] = columns[i] + terms[:, self.columns + k]
        return torch.stack(columns, dim=1)

    def observed_joined(self, observed: Tensor) -> Tensor:
        """Returns which cells are not missing, `[B, D + C]`: a number's that its code says.

        Args:
            observed: as of `rows_apart`.
        """
        if len(self.own) == 0:
            return observed
        columns = list(observed[:, : self.columns].unbind(1))
        for k, i in enumerate(self.own):
            columns[i] = observed[:, self.columns + k]
        return torch.stack(columns, dim=1)
