"""What all tests share: strict rank promotion, and float64 where a test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
import torch

jax.config.update("jax_numpy_rank_promotion", "raise")
# What one worker has compiled, the other need not; nothing here measures compilation.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
torch.set_num_threads(1)  # the models are too small for more


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 in JAX, for the time of one test."""
    with jax.enable_x64(True):
        yield
