"""The head whose output a contrastive loss compares."""

from flax import nnx
from jax import Array

from jaxrep.losses import l2_normalize
from jaxrep.networks._mlp import MLP


class ProjectionHead(nnx.Module):
    """Maps representations onto the unit sphere in which SimCLR's loss compares them.

    Args:
        input_dim: size of the representation, and of the hidden layer.
        proj_dim: P, size of the projection.
        rngs: source of the initial weights.

    Example:
        >>> import jax.numpy as jnp
        >>> head = ProjectionHead(8, 32, rngs=nnx.Rngs(0))
        >>> jnp.linalg.norm(head(jnp.ones((3, 8))), axis=-1).round(3).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, input_dim: int, proj_dim: int, *, rngs: nnx.Rngs):
        self.net = MLP((input_dim, input_dim, proj_dim), rngs=rngs)

    def __call__(self, h: Array) -> Array:
        """Maps representations `[B, Z]` to projections `[B, P]` of length 1."""
        return l2_normalize(self.net(h))
