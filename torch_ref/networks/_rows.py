"""The layers next to rows: numbers, missing cells and codes into a network, and out of it.

Codes are looked up: a code picks a row of the first layer's kernel, which is that layer on one-hot
codes, without their zeros. A code of more than `WIDE` values goes through an embedding of
`EMBEDDING_DIM` dimensions instead, which serves as input and, tied, as output. TorchScript compiles
the modules, and takes no module for an argument: what others read of the embeddings are `Tables`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from torch_ref.batch import Batch, RowSpec
from torch_ref.networks._mlp import MLP

WIDE = 1000
"""The most values of a code that have weights of their own in the layers next to rows."""

EMBEDDING_DIM = 16
"""Dimensions of the embedding of a code of more values."""


@dataclass(frozen=True)
class RowLayout:
    """Where the columns of rows stand in the inputs of an encoder and the outputs of a decoder.

    Inputs are the D numbers, a flag for each number that may be missing (1 where it is), the
    embeddings of wide codes, and, one after the other, the values of each narrow code; of those
    that may be missing, a last one for that. Outputs are the D numbers, the logits of the values of
    each narrow code, and a query for each wide one.

    Example:
        >>> layout = RowLayout(RowSpec(2, (3, 5000), (False, True, True, False)))
        >>> layout.inputs, layout.outputs  # 2 + 1 + 16 + 4, and 2 + 3 + 16
        (23, 21)
    """

    rows: RowSpec

    @cached_property
    def wide(self) -> tuple[int, ...]:
        """The codes that have an embedding."""
        return tuple(c for c, levels in enumerate(self.rows.levels) if levels > WIDE)

    @cached_property
    def narrow(self) -> tuple[int, ...]:
        """The codes that have none."""
        return tuple(c for c, levels in enumerate(self.rows.levels) if levels <= WIDE)

    @cached_property
    def flagged(self) -> tuple[int, ...]:
        """The numbers that may be missing."""
        return tuple(i for i, has_gaps in enumerate(self.rows.number_gaps) if has_gaps)

    @property
    def dense(self) -> int:
        """Inputs before the values of narrow codes."""
        return self.rows.numbers + len(self.flagged) + EMBEDDING_DIM * len(self.wide)

    def values(self, code: int) -> int:
        """Returns how many values a code has in the input: one more where it may be missing."""
        return self.rows.levels[code] + self.rows.code_gaps[code]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where the values of each narrow code begin among the inputs, and where the last end."""
        return tuple(accumulate((self.values(c) for c in self.narrow), initial=self.dense))

    @property
    def inputs(self) -> int:
        """Inputs of an encoder."""
        return self.starts[-1]

    @cached_property
    def logits(self) -> tuple[int, ...]:
        """Where the logits of each narrow code begin among the outputs, and where the last end."""
        return tuple(
            accumulate((self.rows.levels[c] for c in self.narrow), initial=self.rows.numbers)
        )

    @property
    def outputs(self) -> int:
        """Outputs of a decoder."""
        return self.logits[-1] + EMBEDDING_DIM * len(self.wide)


class Tables(NamedTuple):
    """The weights of all embeddings of rows, a tensor for each wide code."""

    tables: list[Tensor]
    """Vectors of the K values, and a last one for `MISSING` where the code may be; `[K, 16]`."""

    biases: list[Tensor]
    """Biases of the K logits, `[K]`."""


class Embedding(nn.Module):
    """The values of a wide code as vectors, for encoder and decoder alike.

    Args:
        levels: K, values of the code without `MISSING`.
        has_gaps: whether the code may be missing; the table then has a last row for that.
        generator: source of the initial table, from U(−1/√16, 1/√16); biases start at 0.
    """

    def __init__(self, levels: int, *, has_gaps: bool, generator: torch.Generator):
        super().__init__()
        bound = EMBEDDING_DIM**-0.5
        self.table = nn.Parameter(torch.empty(levels + has_gaps, EMBEDDING_DIM))
        self.bias = nn.Parameter(torch.zeros(levels))
        nn.init.uniform_(self.table, -bound, bound, generator=generator)


class Embeddings(nn.Module):
    """The embeddings of all wide codes of rows; without any, nothing.

    Args:
        rows: what every row holds.
        generator: source of the initial tables.

    Example:
        >>> embeddings = Embeddings(RowSpec(2, (3, 5000)), generator=torch.Generator())
        >>> [tuple(table.shape) for table in embeddings().tables]
        [(5000, 16)]
    """

    def __init__(self, rows: RowSpec, *, generator: torch.Generator):
        super().__init__()
        self.layers = nn.ModuleList(
            Embedding(rows.levels[c], has_gaps=rows.code_gaps[c], generator=generator)
            for c in RowLayout(rows).wide
        )

    def forward(self) -> Tables:
        """Returns the weights of all of them."""
        tables: list[Tensor] = []
        biases: list[Tensor] = []
        for layer in self.layers:
            tables.append(layer.table)  # type: ignore[arg-type]
            biases.append(layer.bias)  # type: ignore[arg-type]
        return Tables(tables, biases)


class RowEncoder(MLP):
    """An MLP on rows: its first layer takes numbers, flags of missing cells, and codes.

    Of numbers alone it is `MLP((D, *dims))`.

    Args:
        rows: what every row holds.
        dims: sizes from the first layer's outputs on; without any, it gives the rows' inputs, codes
            as one-hot vectors.
        activate_last: whether ReLU follows the last layer too.
        gain: of the initial weights, as of `MLP`.
        generator: source of the initial weights.

    Example:
        >>> rows = RowSpec(numbers=2, levels=(3,))
        >>> encoder = RowEncoder(rows, (8, 4), generator=torch.Generator())
        >>> batch = Batch(torch.ones(5, 2), torch.zeros(5, 1, dtype=torch.int32))
        >>> tuple(encoder(batch, Embeddings(rows, generator=torch.Generator())()).shape)
        (5, 4)
    """

    has_layers: Final[bool]
    flagged: list[int]
    wide: list[int]
    narrow: list[int]
    levels: list[int]
    starts: list[int]

    def __init__(
        self,
        rows: RowSpec,
        dims: Sequence[int],
        *,
        activate_last: bool = False,
        gain: float = 1.0,
        generator: torch.Generator,
    ):
        layout = RowLayout(rows)
        super().__init__(
            (layout.inputs, *dims), activate_last=activate_last, gain=gain, generator=generator
        )
        self.has_layers = len(dims) > 0
        self.dense, self.inputs = layout.dense, layout.inputs
        self.flagged, self.wide, self.narrow = (
            list(each) for each in (layout.flagged, layout.wide, layout.narrow)
        )
        self.levels = [rows.levels[c] for c in layout.narrow]
        self.starts = list(layout.starts[:-1])

    def forward(self, batch: Batch, embeddings: Tables) -> Tensor:  # type: ignore[override]
        """Maps rows to `[B, dims[-1]]`."""
        if self.has_layers:
            return self.after_first(self.first(batch, embeddings))
        dense, codes = self._dense(batch, embeddings), batch.codes
        if codes is None or len(self.narrow) == 0:
            return dense
        return self._one_hot(dense, codes)

    def first(self, batch: Batch, embeddings: Tables) -> Tensor:
        """Maps rows to what the first layer gives, before its ReLU, `[B, dims[0]]`."""
        dense, codes = self._dense(batch, embeddings), batch.codes
        layer = self.layers[0]
        if codes is None or len(self.narrow) == 0:
            h: Tensor = layer(dense)
        else:
            h = self._look_up(dense, codes, layer.weight, layer.bias)  # type: ignore[arg-type]
        return h

    def _look_up(self, dense: Tensor, codes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Returns what the first layer gives for one-hot codes, `[B, dims[0]]`."""
        looked_up = weight.t().index_select(0, self._places(codes).flatten())
        h = looked_up.view(codes.size(0), len(self.narrow), len(bias)).sum(dim=1)
        if self.dense > 0:
            h = nn.functional.linear(dense, weight[:, : self.dense]) + h
        return h + bias

    def _dense(self, batch: Batch, embeddings: Tables) -> Tensor:
        """Returns the inputs that are no narrow codes, `[B, dense]`."""
        x, codes = batch.numbers, batch.codes
        parts = [x]
        if len(self.flagged) > 0:
            is_missing = torch.isnan(x)
            flagged = torch.tensor(self.flagged, device=x.device)
            flags = is_missing.index_select(1, flagged).to(x.dtype)
            parts = [x.masked_fill(is_missing, 0.0), flags]
        if codes is not None:
            for i, c in enumerate(self.wide):
                table = embeddings.tables[i]
                place = torch.where(codes[:, c] < 0, len(embeddings.biases[i]), codes[:, c])
                parts.append(table.index_select(0, place))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _places(self, codes: Tensor) -> Tensor:
        """Returns the kernel's row of each narrow code, `[B, C]`: `MISSING` is a code's last."""
        narrow, levels, starts = torch.tensor(
            [self.narrow, self.levels, self.starts], device=codes.device
        ).unbind()
        chosen = codes.index_select(1, narrow).long()
        return torch.where(chosen < 0, levels, chosen) + starts

    def _one_hot(self, dense: Tensor, codes: Tensor) -> Tensor:
        """Returns all inputs of the first layer, were there one, `[B, inputs]`."""
        values = torch.arange(self.dense, self.inputs, device=codes.device)
        is_value = (self._places(codes)[:, :, None] == values).any(dim=1)
        return torch.cat([dense, is_value.to(dense.dtype)], dim=1)


class RowDecoder(MLP):
    """An MLP whose outputs are those of `RowLayout`.

    Args:
        rows: what every row holds.
        dims: sizes from the input to the last hidden layer.
        gain: of the initial weights, as of `MLP`.
        generator: source of the initial weights.

    Example:
        >>> rows = RowSpec(numbers=2, levels=(3,))
        >>> decoder = RowDecoder(rows, (4, 8), generator=torch.Generator())
        >>> tuple(decoder(torch.ones(5, 4)).shape)
        (5, 5)
    """

    def __init__(
        self, rows: RowSpec, dims: Sequence[int], *, gain: float = 1.0, generator: torch.Generator
    ):
        super().__init__((*dims, RowLayout(rows).outputs), gain=gain, generator=generator)
