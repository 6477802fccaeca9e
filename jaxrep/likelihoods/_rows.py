"""The likelihood of whole rows: a term for each column, by the likelihood that it has."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import bernoulli, categorical, gaussian, poisson, squared
from jaxrep.networks import Embeddings, Frozen, RowLayout
from jaxrep.networks._initial import filled
from jaxrep.networks._rows import EMBEDDING_DIM, Embedding

_MOST_LOGITS = 1 << 22  # of a wide code at a time: 16 MiB in float32

_NATURAL = ("bernoulli", "poisson")  # whose numbers count in their own units


class RowLikelihood(nnx.Module):
    """−log p of rows by column, and the rows that a decoder's outputs stand for.

    Numbers have the likelihoods that `rows` names, codes the categorical one. What a Bernoulli or
    Poisson likelihood compares is a number in its own units, x · scale + mean.

    Args:
        rows: what every row holds.

    Example:
        >>> rows = RowSpec(numbers=1, levels=(3,), gaps=(True, False))
        >>> batch = Batch(jnp.array([[2.0], [jnp.nan]]), jnp.array([[1], [2]]))
        >>> outputs = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 9.0, 0.0]])
        >>> likelihood, embeddings = RowLikelihood(rows), Embeddings(rows, rngs=nnx.Rngs(0))
        >>> print(likelihood.terms(batch, outputs, embeddings).round(2))
        [[1.  1.1]
         [0.  9. ]]
        >>> print(likelihood.expectation(outputs, embeddings).codes.T)
        [[1 1]]
    """

    def __init__(self, rows: RowSpec):
        self.layout = RowLayout(rows)
        names = rows.number_likelihoods
        self.places = {
            name: tuple(i for i, other in enumerate(names) if other == name)
            for name in dict.fromkeys(names)
        }
        if learned := len(self.places.get("gaussian", ())):
            self.log_var = nnx.Param(filled(0, learned))
        if natural := len(self._natural):
            self.mean = Frozen(filled(0, natural))
            self.scale = Frozen(filled(1, natural))

    @property
    def _natural(self) -> tuple[int, ...]:
        return natural_numbers(self.layout.rows)

    def observed(self, batch: Batch) -> Array | None:
        """Returns which cells of rows are not missing, `[B, D + C]`; None where none can be."""
        if not any(self.layout.rows.gaps):
            return None
        parts = [~jnp.isnan(batch.numbers)]
        if batch.codes is not None:
            parts.append(batch.codes >= 0)
        return jnp.concatenate(parts, axis=1)

    def terms(
        self, batch: Batch, outputs: Array | tuple[Array, Array], embeddings: Embeddings
    ) -> Array:
        """Returns −log p of every cell, in nats, `[B, D + C]`; 0 where it is missing.

        Args:
            batch: rows.
            outputs: of the decoder, `[B, outputs]`, or apart, as of `RowDecoder.apart`.
            embeddings: of the wide codes.

        Returns:
            At least float32; a missing cell has no gradient.
        """
        count = self.layout.rows.numbers
        if isinstance(outputs, tuple):
            of_numbers, of_codes = outputs
        else:
            of_numbers, of_codes = outputs[:, :count], outputs[:, count:]
        wide = jnp.promote_types(of_numbers.dtype, jnp.float32)
        parts = []
        if count:
            parts.append(self._of_numbers(batch.numbers, of_numbers.astype(wide)))
        if batch.codes is not None:
            parts.append(self._of_codes(batch.codes, of_codes, embeddings).astype(wide))
        return jnp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def log_constant(self, batch: Batch) -> Array:
        """Returns what the terms of rows leave out of −log p, `[B]`: ½ log π of a squared error."""
        squared = np.array([name == "squared" for name in self.layout.rows.number_likelihoods])
        observed = ~jnp.isnan(batch.numbers) & squared[None, :]
        return 0.5 * math.log(math.pi) * jnp.sum(observed, axis=-1)

    def _of_numbers(self, x: Array, outputs: Array) -> Array:
        x = x.astype(outputs.dtype)
        is_observed = None
        if any(self.layout.rows.number_gaps):
            # Chosen before the term and after it: the other branch has then no gradient at all.
            is_observed = ~jnp.isnan(x)
            x, outputs = jnp.where(is_observed, x, 0), jnp.where(is_observed, outputs, 0)
        if tuple(self.places) == ("squared",):
            found = squared.terms(x, outputs)
        else:
            found = self._by_likelihood(x, outputs)
        return found if is_observed is None else jnp.where(is_observed, found, 0)

    def _by_likelihood(self, x: Array, outputs: Array) -> Array:
        parts = []
        for name, places in self.places.items():
            at = np.array(places)
            own, made = x[:, at], outputs[:, at]
            if name == "squared":
                parts.append(squared.terms(own, made))
            elif name == "gaussian":
                log_var = self.log_var[...].astype(made.dtype)
                parts.append(gaussian.terms(own, made, log_var[None, :]))
            else:
                natural = jnp.round(own * self._of("scale", places) + self._of("mean", places))
                terms = {"bernoulli": bernoulli.terms, "poisson": poisson.terms}[name]
                most = 1 if name == "bernoulli" else np.inf  # a number may stand for a boolean
                parts.append(terms(jnp.clip(natural, 0, most), made))
        return _in_order(parts, list(self.places.values()))

    def _of(self, name: str, places: tuple[int, ...]) -> Array:
        """Returns the mean or the scale of some of the numbers in their own units, `[1, …]`."""
        at = np.array([self._natural.index(i) for i in places])
        values: Array = getattr(self, name)[...][at][None, :]
        return values

    def _of_codes(self, codes: Array, outputs: Array, embeddings: Embeddings) -> Array:
        """Returns the terms of codes `[B, C]`, from the decoder's outputs for them."""
        layout = self.layout
        has_gaps = any(layout.rows.code_gaps)
        if has_gaps:
            is_observed = codes >= 0
            codes = jnp.maximum(codes, 0)
        parts, places = [], []
        for levels, group in _runs_of_levels(layout):
            # Neighbours of as many levels are computed together.
            first = layout.logits[group[0]] - layout.rows.numbers
            logits = outputs[:, first : first + levels * len(group)]
            places.append(tuple(layout.narrow[i] for i in group))
            all_of_them = len(group) == codes.shape[1]
            own = codes if all_of_them else codes[:, np.array(places[-1])]
            parts.append(categorical.terms(own, logits.reshape(-1, len(group), levels)))
        for i, (layer, c) in enumerate(zip(embeddings.layers, layout.wide, strict=True)):
            query = self._query(outputs, i)
            places.append((c,))
            parts.append(_wide_terms(layer, codes[:, c], query)[:, None])
        found = _in_order(parts, places)
        return jnp.where(is_observed, found, 0) if has_gaps else found

    def _query(self, outputs: Array, i: int) -> Array:
        """Returns the query of a wide code, from the decoder's outputs for codes."""
        first = self.layout.logits[-1] - self.layout.rows.numbers + i * EMBEDDING_DIM
        return outputs[:, first : first + EMBEDDING_DIM]

    def expectation(self, outputs: Array, embeddings: Embeddings) -> Batch:
        """Returns the rows that outputs stand for: means, scaled, and the likeliest levels.

        Args:
            outputs: of the decoder, `[B, outputs]`.
            embeddings: of the wide codes.
        """
        layout, count = self.layout, self.layout.rows.numbers
        numbers = self.means(outputs[:, :count])
        if not layout.rows.codes:
            return Batch(numbers)
        likeliest: dict[int, Array] = {}
        for i, c in enumerate(layout.narrow):
            logits = outputs[:, layout.logits[i] : layout.logits[i + 1]]
            likeliest[c] = categorical.expectation(logits)
        for i, (layer, c) in enumerate(zip(embeddings.layers, layout.wide, strict=True)):
            likeliest[c] = _wide_expectation(layer, self._query(outputs[:, count:], i))
        return Batch(numbers, jnp.stack([likeliest[c] for c in range(layout.rows.codes)], axis=1))

    def draw(self, outputs: Array, normal: Array, embeddings: Embeddings) -> Batch:
        """Returns rows drawn from the likelihoods that outputs stand for: scaled numbers, levels.

        Args:
            outputs: of the decoder, `[B, outputs]`.
            normal: draws from N(0, 1), one for each cell, `[B, D + C]`.
            embeddings: of the wide codes.
        """
        layout, count = self.layout, self.layout.rows.numbers
        numbers = outputs[:, :count]
        if count:
            numbers = self._draw_numbers(numbers, normal[:, :count])
        if not layout.rows.codes:
            return Batch(numbers)
        of_codes = normal[:, count:]
        drawn: dict[int, Array] = {}
        for i, c in enumerate(layout.narrow):
            logits = outputs[:, layout.logits[i] : layout.logits[i + 1]]
            drawn[c] = categorical.draw(logits, of_codes[:, c])
        for i, (layer, c) in enumerate(zip(embeddings.layers, layout.wide, strict=True)):
            drawn[c] = _wide_draw(layer, self._query(outputs[:, count:], i), of_codes[:, c])
        return Batch(numbers, jnp.stack([drawn[c] for c in range(layout.rows.codes)], axis=1))

    def _draw_numbers(self, outputs: Array, normal: Array) -> Array:
        parts = []
        for name, places in self.places.items():
            at = np.array(places)
            made, own = outputs[:, at], normal[:, at]
            if name == "squared":
                parts.append(squared.draw(made, own))
            elif name == "gaussian":
                log_var = self.log_var[...].astype(made.dtype)
                parts.append(gaussian.draw(made, log_var[None, :], own))
            else:
                natural = {"bernoulli": bernoulli, "poisson": poisson}[name].draw(made, own)
                parts.append((natural - self._of("mean", places)) / self._of("scale", places))
        return _in_order(parts, list(self.places.values()))

    def means(self, outputs: Array) -> Array:
        """Returns the numbers that the decoder's outputs for them stand for, scaled, `[B, D]`."""
        if not self._natural:
            return outputs
        parts = []
        for name, places in self.places.items():
            made = outputs[:, np.array(places)]
            if name in _NATURAL:
                natural = {"bernoulli": bernoulli, "poisson": poisson}[name].expectation(made)
                made = (natural - self._of("mean", places)) / self._of("scale", places)
            parts.append(made)
        return _in_order(parts, list(self.places.values()))


def natural_numbers(rows: RowSpec) -> tuple[int, ...]:
    """Returns the numbers whose likelihood takes them in their own units.

    Example:
        >>> natural_numbers(RowSpec(3, likelihoods=("squared", "poisson", "bernoulli")))
        (1, 2)
    """
    return tuple(i for i, name in enumerate(rows.number_likelihoods) if name in _NATURAL)


def _runs_of_levels(layout: RowLayout) -> list[tuple[int, list[int]]]:
    """Returns the narrow codes, by position, that follow each other with as many levels."""
    runs: list[tuple[int, list[int]]] = []
    for i, c in enumerate(layout.narrow):
        levels = layout.rows.levels[c]
        if runs and runs[-1][0] == levels:
            runs[-1][1].append(i)
        else:
            runs.append((levels, [i]))
    return runs


def _in_order(parts: list[Array], places: list[tuple[int, ...]]) -> Array:
    """Joins columns `[B, …]`, and puts each where it belongs."""
    joined = jnp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    order = np.argsort([place for group in places for place in group])
    return joined if (order == np.arange(len(order))).all() else joined[:, order]


def _wide_terms(layer: Embedding, codes: Array, query: Array) -> Array:
    return _in_pieces(
        lambda codes, query: categorical.terms(codes, layer.logits(query)),
        layer.levels,
        codes,
        query,
    )


def _wide_expectation(layer: Embedding, query: Array) -> Array:
    return _in_pieces(
        lambda _, query: categorical.expectation(layer.logits(query)),
        layer.levels,
        jnp.zeros(len(query), jnp.int32),
        query,
    )


def _wide_draw(layer: Embedding, query: Array, normal: Array) -> Array:
    return _in_pieces(
        lambda normal, query: categorical.draw(layer.logits(query), normal),
        layer.levels,
        normal,
        query,
    )


def _in_pieces(
    compute: Callable[[Array, Array], Array], levels: int, codes: Array, query: Array
) -> Array:
    """Computes something of all logits of a wide code, for as many rows at a time as fit memory."""
    size = max(_MOST_LOGITS // levels, 1)
    count = len(codes)
    if count <= size:
        return compute(codes, query)
    pieces = -(-count // size)
    size = -(-count // pieces)  # of equal length, so that little is padded
    pad = pieces * size - count
    codes = jnp.pad(codes, (0, pad)).reshape(pieces, size)
    query = jnp.pad(query, ((0, pad), (0, 0))).reshape(pieces, size, -1)
    # What a piece computes is computed again for its gradient; in a loop nothing is shared.
    piece = jax.checkpoint(lambda given: compute(*given), prevent_cse=False)
    found: Array = jax.lax.map(piece, (codes, query)).reshape(-1)[:count]
    return found
