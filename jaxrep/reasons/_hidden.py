"""Programs that hide cells from a network and look at what it says of them.

Numbers are Student-t around their prediction, codes have the network's probabilities. Shape
letters: B rows, D numbers, C codes, n = D + C columns, H cells of a row that are hidden together.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, logsumexp

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.methods import AnyMethod, abstract_network, members_of
from jaxrep.networks import Network, with_weights

Arrays = dict[str, Any]

_LEAST_SHARE = 1e-3  # of a code's own frequencies in its probabilities, which may come out as 0


class Expected(NamedTuple):
    """What a network expects of a hidden cell."""

    number: Array
    """Of a number, on the column's scale."""

    code: Array
    """Of a code, the likeliest but 0."""

    probability: Array
    """Its probability."""


def can_explain(method: AnyMethod, rows: RowSpec) -> bool:
    """Says whether a method's network predicts every cell of rows from the others.

    Args:
        method: of one member or several.
        rows: what every row of the table holds.
    """
    if not {"decode", "score_by_column"} <= set(method.network_type.outputs):
        return False
    network: Any = abstract_network(members_of(method)[0], rows)
    return hasattr(network, "likelihood") and all(network.likelihood.layout.rows.gaps or (False,))


@functools.partial(jax.jit, static_argnames=("rows",))
def log_p(
    method: AnyMethod,
    weights: Arrays,
    statistics: Arrays,
    batch: Batch,
    columns: Array,
    *,
    rows: RowSpec,
) -> Array:
    """Returns log p of cells that are hidden together, from the other cells of their rows.

    Args:
        method: of one member.
        weights: of its network.
        statistics: from `jaxrep.reasons.fit`.
        batch: B rows.
        columns: which cells of each row are hidden, in each of P passes, `[P, B, H]`.
        rows: what every row holds.

    Returns:
        `[P, B, H]`; 0 where a cell is missing in the batch.
    """
    network = _network(method, weights, rows)

    def look(hidden: Array) -> Array:
        outputs = _outputs(network, _hide(batch, hidden))
        found = _log_density(network, statistics, batch, outputs)
        return jnp.take_along_axis(found, hidden, axis=1)

    with method.matmul_precision():
        made: Array = jax.lax.map(look, columns)
    return made


@functools.partial(jax.jit, static_argnames=("rows",))
def expected(
    method: AnyMethod, weights: Arrays, batch: Batch, columns: Array, *, rows: RowSpec
) -> Expected:
    """Returns what is expected of single cells, each hidden alone; arguments as of `log_p`.

    Args:
        method: of one member.
        weights: of its network.
        batch: B rows.
        columns: the cell of each row, in each of P passes, `[P, B]`.
        rows: what every row holds.

    Returns:
        Arrays `[P, B]`; of a number its code and probability, and of a code its number, say
        nothing.
    """
    network: Any = _network(method, weights, rows)

    def look(column: Array) -> Expected:
        outputs = _outputs(network, _hide(batch, column[:, None]))
        made = network.likelihood.expectation(jnp.concatenate(outputs, axis=1), network.embeddings)
        terms = network.likelihood.terms(made, outputs, network.embeddings)

        def of_columns(array: Array, first: int) -> Array:
            if not array.shape[1]:
                return jnp.zeros(len(array), array.dtype)
            at = jnp.clip(column - first, 0, array.shape[1] - 1)
            return jnp.take_along_axis(array, at[:, None], axis=1)[:, 0]

        codes = jnp.zeros((len(column), 0), jnp.int32) if made.codes is None else made.codes
        return Expected(
            of_columns(made.numbers, 0),
            of_columns(codes, rows.numbers),
            jnp.exp(-of_columns(terms, 0)),
        )

    with method.matmul_precision():
        found: Expected = jax.lax.map(look, columns)
    return found


@functools.partial(jax.jit, static_argnames=("rows",))
def log_share(statistics: Arrays, batch: Batch, *, rows: RowSpec) -> Array:
    """Returns the logarithm of how common the cells of rows are in their columns, `[B, n]`.

    Of a number it is its mean density around the predictions for training rows, of a code the
    logarithm of its frequency. A value that training did not know, code 0, has the 0 of a
    certainty: that it is rare is no excuse. It is 0 where a cell is missing, too.
    """
    parts = []
    if rows.numbers:
        x = batch.numbers
        apart = jnp.where(jnp.isnan(x), 0, x)[:, :, None] - statistics["predictions"][None]
        scale, df = (statistics[name][None, :, None] for name in ("scale", "df"))
        density = logsumexp(_log_t(apart / scale, df) - jnp.log(scale), axis=2)
        parts.append(jnp.where(jnp.isnan(x), 0, density - np.log(apart.shape[2])))
    if rows.codes:
        codes: Any = batch.codes
        shares = statistics["shares"][_place(codes, rows)]
        parts.append(jnp.where(codes > 0, jnp.log(shares), 0))
    return jnp.concatenate(parts, axis=1)


def _log_density(
    network: Any, statistics: Arrays, batch: Batch, outputs: tuple[Array, Array]
) -> Array:
    """Returns log p of all cells of rows under outputs of the decoder, `[B, n]`."""
    rows, parts = network.likelihood.layout.rows, []
    if rows.numbers:
        apart = batch.numbers - network.likelihood.means(outputs[0])
        scale, df = (statistics[name][None, :] for name in ("scale", "df"))
        is_missing = jnp.isnan(apart)
        density = _log_t(jnp.where(is_missing, 0, apart) / scale, df) - jnp.log(scale)
        parts.append(jnp.where(is_missing, 0, density))
    if rows.codes:
        codes: Any = batch.codes
        terms = network.likelihood.terms(batch, outputs, network.embeddings)[:, rows.numbers :]
        shares = statistics["shares"][_place(codes, rows)]
        p = (1 - _LEAST_SHARE) * jnp.exp(-terms) + _LEAST_SHARE * shares
        parts.append(jnp.where(codes >= 0, jnp.log(p), 0))
    return jnp.concatenate(parts, axis=1)


def _log_t(x: Array, df: Array) -> Array:
    """Returns the logarithm of the density of Student's t with `df` degrees of freedom."""
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * jnp.log(df * np.pi)
    return constant - (df + 1) / 2 * jnp.log1p(x**2 / df)


def _place(codes: Array, rows: RowSpec) -> Array:
    """Returns where the values of codes stand among those of all codes, one after the other."""
    starts = np.concatenate([[0], np.cumsum(rows.levels)[:-1]]).astype(np.int32)
    return jnp.maximum(codes, 0) + starts[None, :]


def _hide(batch: Batch, hidden: Array) -> Batch:
    """Returns rows without the cells of the given columns, `[B, H]`."""
    count = batch.numbers.shape[1]
    columns = count + (0 if batch.codes is None else batch.codes.shape[1])
    is_hidden = jnp.any(hidden[:, :, None] == np.arange(columns)[None, None, :], axis=1)
    numbers = jnp.where(is_hidden[:, :count], jnp.nan, batch.numbers)
    if batch.codes is None:
        return Batch(numbers)
    return Batch(numbers, jnp.where(is_hidden[:, count:], MISSING, batch.codes))


def _outputs(network: Any, batch: Batch) -> tuple[Array, Array]:
    outputs: tuple[Array, Array] = network.decoder.apart(network.embed(batch))
    return outputs


def _network(method: AnyMethod, weights: Arrays, rows: RowSpec) -> Network:
    return with_weights(abstract_network(method, rows), weights)
