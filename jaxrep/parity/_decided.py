"""Which levels of categories, and which spikes, a decoder decides for, beyond doubt."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import AnyMethod, abstract_network, members_of, split_members
from jaxrep.networks import EMBEDDING_DIM, with_weights
from jaxrep.parity._evaluate import compiled
from jaxrep.spikes import spiked

# A lead below this is within the rounding of float32, where either level is right. It is relative
# to the logits where these are large.
MARGIN = 1e-4
_MOST_LOGITS = 1 << 22


def decided_cells(
    method: AnyMethod, rows: RowSpec, weights: Mapping[str, np.ndarray], given: Batch | np.ndarray
) -> np.ndarray:
    """Returns where the likeliest level or spike that is decoded leads the next one clearly.

    Computed in float64. A network that has no `decoder`, `embeddings` and `likelihood`, as those
    that reconstruct have, decides everywhere.

    Args:
        method: with its hyperparameters; of several members the first decodes.
        rows: what every row holds.
        weights: all weights of its network, by name.
        given: rows to be reconstructed, or embeddings `[B, Z]` to be decoded.

    Returns:
        Booleans `[B, D + C]`; true of every number that has no spikes.

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
    """
    member = members_of(method)[0]
    own = split_members(weights, method.hyperparameters.members)[0]
    network: Any = abstract_network(member, rows)
    count = len(jax.tree.leaves(given)[0])
    if not all(hasattr(network, name) for name in ("decoder", "embeddings", "likelihood")):
        return np.ones((count, rows.columns), bool)
    layout = network.likelihood.layout
    inner = layout.rows

    def decode(weights: dict[str, jax.Array], given: Any) -> jax.Array:
        made: Any = with_weights(abstract_network(member, rows), weights)
        outputs: jax.Array = made.decoder(made.embed(given) if isinstance(given, Batch) else given)
        return outputs

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        cast = {name: jnp.asarray(array, jnp.float64) for name, array in own.items()}
        outputs = np.asarray(compiled(decode, light=True)(cast, jax.tree.map(_wide, given)))
    found = np.ones((count, inner.codes), bool)
    for i, c in enumerate(layout.narrow):
        found[:, c] = _leads(outputs[:, layout.logits[i] : layout.logits[i + 1]])
    for i, c in enumerate(layout.wide):
        first = layout.logits[-1] + i * EMBEDDING_DIM
        table = own[f"embeddings.{i}.table"][: inner.levels[c]].astype(np.float64)
        bias = own[f"embeddings.{i}.bias"].astype(np.float64)
        size = max(_MOST_LOGITS // len(table), 1)
        for start in range(0, count, size):
            piece = slice(start, start + size)
            query = outputs[piece, first : first + EMBEDDING_DIM]
            found[piece, c] = _leads(query @ table.T + bias)
    every_number = np.ones((count, rows.numbers), bool)
    every_number[:, list(spiked(rows))] = found[:, rows.codes :]
    return np.concatenate([every_number, found[:, : rows.codes]], axis=1)


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
