"""What the tests of all estimators share."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture
def compiled_fast() -> Iterator[None]:
    """Programs that compile in two thirds of the time, and run slower."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
