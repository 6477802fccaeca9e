"""The layers next to rows: numbers, missing cells and codes into a network, and out of it.

Codes are looked up: a code picks a row of the first layer's kernel, which is that layer on one-hot
codes, without their zeros. A code of more than `WIDE` values goes through an embedding of
`EMBEDDING_DIM` dimensions instead, which serves as input and, tied, as output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep.batch import Batch, RowSpec
from jaxrep.networks._initial import draw, filled
from jaxrep.networks._mlp import MLP
from jaxrep.networks._products import product_apart, product_with_codes

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


class Embedding(nnx.Module):
    """The values of a wide code as vectors, for encoder and decoder alike.

    Args:
        levels: K, values of the code without `MISSING`.
        has_gaps: whether the code may be missing; the table then has a last row for that.
        rngs: source of the initial table, from U(−1/√16, 1/√16); biases start at 0.
    """

    def __init__(self, levels: int, *, has_gaps: bool, rngs: nnx.Rngs):
        bound = EMBEDDING_DIM**-0.5
        drawn = draw(rngs, levels + has_gaps, EMBEDDING_DIM)
        self.levels = levels
        self.table = nnx.Param(drawn * np.float32(bound))
        self.bias = nnx.Param(filled(0, levels))

    def __call__(self, codes: Array) -> Array:
        """Maps codes `[B]` to vectors `[B, 16]`."""
        table = jnp.asarray(self.table[...])  # a run's weights are NumPy's, outside a program
        return table.at[_place(codes, self.levels)].get(mode="promise_in_bounds")

    def logits(self, query: Array) -> Array:
        """Maps queries `[B, 16]` to a logit for each value, `[B, K]`."""
        return query @ self.table[...][: self.levels].T + self.bias[...][None, :]


class Embeddings(nnx.Module):
    """The embeddings of all wide codes of rows; without any, nothing.

    Args:
        rows: what every row holds.
        rngs: source of the initial tables.
    """

    def __init__(self, rows: RowSpec, *, rngs: nnx.Rngs):
        self.layers = nnx.List(
            [
                Embedding(rows.levels[c], has_gaps=rows.code_gaps[c], rngs=rngs)
                for c in RowLayout(rows).wide
            ]
        )

    def __call__(self, codes: Array, wide: Sequence[int]) -> list[Array]:
        """Maps codes `[B, C]` to the vectors of those that have an embedding, `[B, 16]` each."""
        return [layer(codes[:, c]) for layer, c in zip(self.layers, wide, strict=True)]


class RowEncoder(MLP):
    """An MLP on rows: its first layer takes numbers, flags of missing cells, and codes.

    Of numbers alone it is `MLP((D, *dims))`.

    Args:
        rows: what every row holds.
        dims: sizes from the first layer's outputs on; without any, it gives the rows' inputs, codes
            as one-hot vectors.
        activate_last: whether ReLU follows the last layer too.
        gain: of the initial weights, as of `MLP`.
        rngs: source of the initial weights.

    Example:
        >>> rows = RowSpec(numbers=2, levels=(3,))
        >>> encoder = RowEncoder(rows, (8, 4), rngs=nnx.Rngs(0))
        >>> batch = Batch(jnp.ones((5, 2)), jnp.zeros((5, 1), jnp.int32))
        >>> encoder(batch, Embeddings(rows, rngs=nnx.Rngs(0))).shape
        (5, 4)
    """

    def __init__(
        self,
        rows: RowSpec,
        dims: Sequence[int],
        *,
        activate_last: bool = False,
        gain: float = 1.0,
        rngs: nnx.Rngs,
    ):
        self.layout = RowLayout(rows)
        super().__init__(
            (self.layout.inputs, *dims), activate_last=activate_last, gain=gain, rngs=rngs
        )

    def __call__(self, batch: Batch, embeddings: Embeddings) -> Array:  # type: ignore[override]
        """Maps rows to `[B, dims[-1]]`."""
        if not self.layers:
            return self._one_hot(self._dense(batch, embeddings), batch.codes)
        return self.after_first(self.first(batch, embeddings))

    def first(self, batch: Batch, embeddings: Embeddings) -> Array:
        """Maps rows to what the first layer gives, before its ReLU, `[B, dims[0]]`."""
        dense = self._dense(batch, embeddings)
        layer = self.layers[0]
        if not self.layout.narrow:
            return layer(dense)
        assert batch.codes is not None
        dtype = layer.dtype or jnp.result_type(dense, layer.kernel[...])
        kernel = jnp.asarray(layer.kernel[...], dtype)
        h = product_with_codes(kernel, dense.astype(dtype), self._places(batch.codes))
        assert layer.bias is not None
        return h + layer.bias[...].astype(dtype)[None, :]

    def _dense(self, batch: Batch, embeddings: Embeddings) -> Array:
        """Returns the inputs that are no narrow codes, `[B, dense]`."""
        x, parts = batch.numbers, []
        if flagged := self.layout.flagged:
            is_missing = jnp.isnan(x)
            x = jnp.where(is_missing, 0, x)
            flags = is_missing if len(flagged) == x.shape[1] else is_missing[:, np.array(flagged)]
            parts = [flags.astype(x.dtype)]
        if self.layout.wide:
            assert batch.codes is not None
            parts += embeddings(batch.codes, self.layout.wide)
        return jnp.concatenate([x, *parts], axis=1) if parts else x

    def _places(self, codes: Array) -> Array:
        """Returns the kernel's row of each narrow code, `[B, C]`."""
        narrow, starts = self.layout.narrow, self.layout.starts[:-1]
        levels = np.array([[self.layout.rows.levels[c] for c in narrow]], np.int32)
        chosen = codes if len(narrow) == codes.shape[1] else codes[:, np.array(narrow)]
        return _place(chosen, levels) + np.array([starts], np.int32)

    def _one_hot(self, dense: Array, codes: Array | None) -> Array:
        if codes is None or not self.layout.narrow:
            return dense
        places = self._places(codes)
        values = jnp.arange(self.layout.dense, self.layout.inputs)
        is_value = jnp.any(places[:, :, None] == values[None, None, :], axis=1)  # (B, values)
        return jnp.concatenate([dense, is_value.astype(dense.dtype)], axis=1)


class RowDecoder(MLP):
    """An MLP whose outputs are those of `RowLayout`.

    Args:
        rows: what every row holds.
        dims: sizes from the input to the last hidden layer.
        gain: of the initial weights, as of `MLP`.
        rngs: source of the initial weights.

    Example:
        >>> decoder = RowDecoder(RowSpec(numbers=2, levels=(3,)), (4, 8), rngs=nnx.Rngs(0))
        >>> numbers, codes = decoder.apart(jnp.ones((5, 4)))
        >>> decoder(jnp.ones((5, 4))).shape, numbers.shape, codes.shape
        ((5, 5), (5, 2), (5, 3))
    """

    def __init__(self, rows: RowSpec, dims: Sequence[int], *, gain: float = 1.0, rngs: nnx.Rngs):
        layout = RowLayout(rows)
        self.numbers, self.codes = rows.numbers, layout.outputs - rows.numbers
        super().__init__((*dims, layout.outputs), gain=gain, rngs=rngs)

    def apart(self, z: Array) -> tuple[Array, Array]:
        """Maps `[B, dims[0]]` to the outputs of numbers and to those of codes.

        Each is a product of its own where there are both.
        """
        if not self.codes or not self.numbers:
            outputs = self(z)
            return outputs[:, : self.numbers], outputs[:, self.numbers :]
        h, layer = self.before_last(z), self.layers[-1]
        assert layer.bias is not None
        dtype = layer.dtype or jnp.result_type(h, layer.kernel[...])
        h, kernel, bias = (part.astype(dtype) for part in (h, layer.kernel[...], layer.bias[...]))
        numbers, codes = product_apart(h, kernel, bias, self.numbers)
        return numbers, codes


def _place(codes: Array, levels: int | np.ndarray) -> Array:
    """Returns where codes stand among their values: `MISSING` last."""
    return jnp.where(codes < 0, levels, codes)
