"""What all tests share: strict rank promotion, and float64 where a test asks for it."""

from collections.abc import Iterator

import jax
import pytest
import torch

jax.config.update("jax_numpy_rank_promotion", "raise")
torch.set_num_threads(1)  # the models are too small for more


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 in JAX, for the time of one test."""
    with jax.enable_x64(True):
        yield
