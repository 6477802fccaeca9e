"""A score of representations: how far the nearest of the training rows are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrep.networks._fitted import EmbeddingScore, FittedRows
from jaxrep.networks._initial import filled

NEIGHBOURS = 5
"""The neighbour whose distance counts, of the nearest ones."""

BANK_ROWS = 10_000
"""The most representations of training rows that are kept."""

_CANDIDATES = 16  # whose distances are computed anew, from differences
_SAME = 1e-10  # distance², as a share of ‖z‖², up to which two rows are the same but for rounding


class Neighbours(EmbeddingScore):
    """Distance / √Z to the fifth nearest representation in a bank of those of training rows.

    The bank holds them all, or 10,000 evenly spaced ones of more: `4 · rows · Z` bytes. A row that
    is in the bank is not counted as its own neighbour: of equal ones the first is passed over.
    Before `fit`, it is the root mean square of a representation.

    Candidates are found by ‖a‖² + ‖b‖² − 2ab, around the bank's mean, and the distances of the
    sixteen nearest computed from differences, which do not cancel. A row needs memory for a number
    for each row of the bank.

    Args:
        latent_dim: Z, size of the representation.

    References:
        Ramaswamy et al., Efficient Algorithms for Mining Outliers from Large Data Sets, 2000.

    Example:
        >>> print(Neighbours(2)(jnp.array([[3.0, 1.0]])).round(3))
        [2.236]
    """

    def __init__(self, latent_dim: int):
        self.bank = FittedRows(filled(0, 1, latent_dim))

    def __call__(self, z: Array) -> Array:
        """Maps representations `[B, Z]` to scores `[B]`; higher is more anomalous."""
        bank: Any = self.bank[...]
        z = z.astype(jnp.promote_types(z.dtype, bank.dtype))
        count = min(_CANDIDATES, len(bank))
        mean = bank.mean(axis=0, keepdims=True)
        apart = bank - mean
        nearness = 2 * (z - mean) @ apart.T - jnp.sum(apart**2, axis=-1)[None, :]
        _, places = jax.lax.top_k(nearness, count)  # (B, count)
        found = jnp.asarray(bank).at[places].get(mode="promise_in_bounds")
        square = jnp.sum((z[:, None, :] - found) ** 2, axis=-1)
        nearest = -jax.lax.top_k(-square, min(NEIGHBOURS + 1, count))[0]
        last = nearest.shape[1] - 1
        is_same = nearest[:, 0] <= _SAME * jnp.sum(z**2, axis=-1)
        kth = jnp.where(is_same, nearest[:, last], nearest[:, min(NEIGHBOURS - 1, last)])
        return jnp.sqrt(kth / z.shape[-1])

    @staticmethod
    def fit(z: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the bank of training rows, `[min(rows, 10,000), Z]`.

        Args:
            z: representations of training rows, `[rows, Z]`.
        """
        kept = np.unique(np.linspace(0, len(z) - 1, BANK_ROWS).astype(int))
        return {"bank": np.ascontiguousarray(z[kept], np.float32)}
