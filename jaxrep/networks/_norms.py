"""Normalisation: by statistics of the batch, and of the row."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrep.networks._initial import filled


class BatchNorm(nnx.Module):
    """Batch normalisation: (x − mean) / √(var + ε) · scale + bias, feature by feature.

    While the network trains, mean and var are those of the batch, rows weighted, over all devices:
    mean = Σ wᵢxᵢ / Σ wᵢ and var = Σ wᵢ(xᵢ − mean)² / Σ wᵢ. The network keeps running ones for its
    outputs: running ← 0.9 · running + 0.1 · batch, var divided by 1 − Σ wᵢ² / (Σ wᵢ)² before, which
    makes it unbiased. A batch of a single row leaves them as they are. With equal weights this is
    PyTorch's `BatchNorm1d`.

    The network decides which by `train()` and `eval()`, as Flax's own does.

    Args:
        width: features of x, F.

    References:
        Ioffe and Szegedy, Batch Normalization, 2015.

    Example:
        >>> norm = BatchNorm(1)
        >>> norm.train()
        >>> norm(jnp.array([[1.0], [3.0], [100.0]]), jnp.array([1.0, 1.0, 0.0])).round(2)[:2]
        Array([[-1.],
               [ 1.]], dtype=float32)
        >>> [round(float(kept[0]), 2) for kept in (norm.mean, norm.var)]
        [0.2, 1.1]
    """

    momentum = 0.1
    epsilon = 1e-5

    def __init__(self, width: int):
        self.scale = nnx.Param(filled(1, width))
        self.bias = nnx.Param(filled(0, width))
        self.mean = nnx.BatchStat(filled(0, width))
        self.var = nnx.BatchStat(filled(1, width))
        self.use_running_average = True

    def __call__(self, x: Array, weights: Array | None = None) -> Array:
        """Maps `[B, F]` to `[B, F]`.

        Args:
            x: rows.
            weights: of the rows, `[B]`; by default all alike. Only training reads them.
        """
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # bfloat16 has too few digits
        mean, var = self.mean[...], self.var[...]
        if not self.use_running_average:
            mean, var = self._of_batch(wide, weights)
        factor = self.scale[...] * jax.lax.rsqrt(var + self.epsilon)
        return ((wide - mean[None, :]) * factor[None, :] + self.bias[...][None, :]).astype(x.dtype)

    def _of_batch(self, x: Array, weights: Array | None) -> tuple[Array, Array]:
        """Returns mean and variance of a batch, and takes them into the running ones."""
        w = jnp.ones(len(x), x.dtype) if weights is None else weights.astype(x.dtype)
        total = jnp.sum(w)
        share = w / jnp.where(total > 0, total, 1)
        mean = jnp.sum(share[:, None] * x, axis=0)
        var = jnp.sum(share[:, None] * (x - mean[None, :]) ** 2, axis=0)
        freedom = 1 - jnp.sum(share**2)
        # A single row leaves 1 − 1, which rounding may turn into any tiny number.
        several = jnp.sum(w > 0) > 1
        step = jnp.where(several, self.momentum, 0.0)
        unbiased = var / jnp.where(several, freedom, 1)
        for running, new in ((self.mean, mean), (self.var, unbiased)):
            old = running[...]
            running.set_value(jax.lax.stop_gradient(old + step * (new - old)).astype(old.dtype))
        return mean, var


class LayerNorm(nnx.Module):
    """Layer normalisation: (x − mean) / √(var + ε) · scale + bias, row by row, ε = 1e-5.

    Mean and variance are those of a row's features, the variance computed from the deviations:
    PyTorch's `LayerNorm`, and Flax's with `epsilon=1e-5` and `use_fast_variance=False`.

    Args:
        width: features of x, F.

    References:
        Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> LayerNorm(2)(jnp.array([[1000.0, 1002.0]])).round(3)
        Array([[-1.,  1.]], dtype=float32)
    """

    epsilon = 1e-5

    def __init__(self, width: int):
        self.scale = nnx.Param(filled(1, width))
        self.bias = nnx.Param(filled(0, width))

    def __call__(self, x: Array) -> Array:
        """Maps `[B, F]` to `[B, F]`."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        var = jnp.mean(centred**2, axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(var + self.epsilon)
        return (normal * self.scale[...][None, :] + self.bias[...][None, :]).astype(x.dtype)
