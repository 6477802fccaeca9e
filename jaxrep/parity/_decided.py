"""Which levels of categories, and which spikes, a decoder decides for, beyond doubt."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.special import expit, ndtr, softmax

from jaxrep.batch import Batch, RowSpec
from jaxrep.likelihoods import poisson
from jaxrep.methods import AnyMethod, abstract_network, members_of, split_members
from jaxrep.networks import EMBEDDING_DIM, RowLayout, with_weights
from jaxrep.parity._evaluate import compiled
from jaxrep.row_coding import spiked

# A lead below this is within the rounding of float32, where either level is right. It is relative
# to the logits where these are large.
MARGIN = 1e-4
_MOST_LOGITS = 1 << 22


def decided_cells(
    method: AnyMethod,
    rows: RowSpec,
    weights: Mapping[str, np.ndarray],
    given: Batch | np.ndarray,
    *,
    are_draws: bool = False,
) -> np.ndarray:
    """Returns where the likeliest level or spike that is decoded leads the next one clearly.

    Of draws it is where no probability up to a level, or up to a count, is nearly that of the draw.
    Computed in float64. A network that has no `decoder`, `embeddings` and `likelihood`, as those
    that reconstruct have, decides everywhere.

    Args:
        method: with its hyperparameters; of several members the first decodes.
        rows: what every row holds.
        weights: all weights of its network, by name.
        given: rows to be reconstructed, embeddings `[B, Z]` to be decoded, or draws `[B, G]`.
        are_draws: whether they are draws.

    Returns:
        Booleans `[B, D + C]`; true of every number that has no spikes and is no count or boolean.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> from jaxrep.networks import get_weights
        >>> method, rows = VAE(VAEHyperparameters(hidden_dims=(), latent_dim=1)), RowSpec(1, (3,))
        >>> shapes = get_weights(abstract_network(method, rows))
        >>> weights = {name: np.zeros(array.shape) for name, array in shapes.items()}
        >>> weights["decoder.0.bias"][2] = 1.0
        >>> decided_cells(method, rows, weights, np.zeros((1, 1)))
        array([[ True,  True]])
        >>> weights["decoder.0.bias"][3] = 1.0
        >>> decided_cells(method, rows, weights, np.zeros((1, 1)))
        array([[ True, False]])
        >>> decided_cells(method, rows, weights, np.array([[0.0, 0.0, 0.5]]), are_draws=True)
        array([[ True,  True]])
    """
    member = members_of(method)[0]
    own = split_members(weights, method.hyperparameters.members)[0]
    network: Any = abstract_network(member, rows)
    count = len(jax.tree.leaves(given)[0])
    if not all(hasattr(network, name) for name in ("decoder", "embeddings", "likelihood")):
        return np.ones((count, rows.columns), bool)

    def decode(weights: dict[str, jax.Array], given: Any) -> jax.Array:
        made: Any = with_weights(abstract_network(member, rows), weights)
        if are_draws:
            given = made.latents(given)
        outputs: jax.Array = made.decoder(made.embed(given) if isinstance(given, Batch) else given)
        return outputs

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        cast = {name: jnp.asarray(array, jnp.float64) for name, array in own.items()}
        outputs = np.asarray(compiled(decode, light=True)(cast, jax.tree.map(_wide, given)))
    inner: RowSpec = network.likelihood.layout.rows
    normal = np.asarray(given)[:, -inner.columns :] if are_draws else None
    codes = _decided_codes(network.likelihood.layout, own, outputs, normal)
    numbers = np.ones((count, rows.numbers), bool)
    if normal is not None:
        for i, kind in enumerate(inner.number_likelihoods):
            numbers[:, i] = _is_inside(kind, outputs[:, i], normal[:, i])
    places = list(spiked(rows))
    end = rows.codes + len(places)
    numbers[:, places] &= codes[:, rows.codes : end]
    found = np.concatenate([numbers, codes[:, : rows.codes]], axis=1)
    if are_draws and network.coding.flagged:
        found[:, list(network.coding.flagged)] &= codes[:, end:]
    return found


def _decided_codes(
    layout: RowLayout,
    weights: Mapping[str, np.ndarray],
    outputs: np.ndarray,
    normal: np.ndarray | None,
) -> np.ndarray:
    """Says of all codes `[B, C]` whether their level is clear: the likeliest, or the drawn one."""
    count, rows = len(outputs), layout.rows
    found = np.ones((count, rows.codes), bool)
    for i, c in enumerate(layout.narrow):
        logits = outputs[:, layout.logits[i] : layout.logits[i + 1]]
        of_code = None if normal is None else normal[:, rows.numbers + c]
        found[:, c] = _leads(logits) if of_code is None else _is_within(logits, of_code)
    for i, c in enumerate(layout.wide):
        first = layout.logits[-1] + i * EMBEDDING_DIM
        table = weights[f"embeddings.{i}.table"][: rows.levels[c]].astype(np.float64)
        bias = weights[f"embeddings.{i}.bias"].astype(np.float64)
        size = max(_MOST_LOGITS // len(table), 1)
        for start in range(0, count, size):
            piece = slice(start, start + size)
            query = outputs[piece, first : first + EMBEDDING_DIM]
            logits = query @ table.T + bias
            of_code = None if normal is None else normal[piece, rows.numbers + c]
            found[piece, c] = _leads(logits) if of_code is None else _is_within(logits, of_code)
    return found


def _wide(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array, jnp.float64 if np.asarray(array).dtype.kind == "f" else None)


def _leads(logits: np.ndarray) -> np.ndarray:
    """Says of logits `[B, K]` whether the largest, of 1 to K − 1, is clearly above the others."""
    if logits.shape[1] < 3:  # of "other", which is never decoded, and one level
        return np.ones(len(logits), bool)
    second, first = np.partition(logits[:, 1:], -2, axis=1)[:, -2:].T
    size = np.maximum(np.abs(logits).max(axis=1), 1)
    leads: np.ndarray = first - second > MARGIN * size
    return leads


def _is_within(logits: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Says of logits `[B, K]` whether Φ(ε) is clearly within a level's share."""
    ends = np.cumsum(softmax(logits[:, 1:], axis=1), axis=1)[:, :-1]
    found: np.ndarray = (np.abs(ends - ndtr(normal)[:, None]) > MARGIN).all(axis=1)
    return found


def _is_inside(kind: str, output: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Says of numbers `[B]` whether what is drawn is clear: all of them but for whole ones."""
    u = ndtr(normal)
    found: np.ndarray
    if kind == "bernoulli":
        found = np.abs(expit(output) - u) > MARGIN
        return found
    if kind != "poisson":
        return np.ones(len(output), bool)
    rate = np.exp(np.minimum(output, poisson.MOST))
    ends = stats.poisson.cdf(
        np.arange(poisson.COUNTS)[None], np.minimum(rate, poisson.EXACT)[:, None]
    )
    few = (np.abs(ends - u[:, None]) > MARGIN).all(axis=1)
    many = rate + normal * np.sqrt(rate) + (normal**2 - 1) / 6
    is_clear = np.abs(many - np.floor(many) - 0.5) > MARGIN * np.maximum(rate, 1)
    found = np.where(rate > poisson.EXACT, is_clear, few) & (
        np.abs(rate - poisson.EXACT) > MARGIN * poisson.EXACT
    )
    return found
