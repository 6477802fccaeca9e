"""What all tests share: rank promotion is refused, float64 on request, programs compiled once."""

import os
from collections.abc import Iterator
from pathlib import Path

# Two workers on two cores: a second thread of either's BLAS waits for the other worker, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Of what is compiled, the programs that are worth it are kept from one run of the tests to the
# next. JAX looks at every entry each time that it adds one, so that few are better than all.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(1 << 30))

import jax
import pytest
import torch

from jaxrep import compile_cache
from jaxrep.methods import _method
from jaxrep.training import program

jax.config.update("jax_numpy_rank_promotion", "raise")
torch.set_num_threads(1)  # the models are too small for more


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 in JAX, for the time of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled_fast() -> Iterator[None]:
    """Programs that compile in two thirds of the time, and run slower."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


_MANY_MAPS = 20_000

# XLA's CPU backend without its fusion emitters generates other code, in three quarters of the time.
# What is run from end to end, and `jaxrep parity`, is compiled as it is for users.
_QUICKER_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"


@pytest.hookimpl(tryfirst=True)  # before what is slow is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the regressor slow where tests go over all methods: the classifier stands for it."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if any(isinstance(value, str) and value == "regressor" for value in params.values()):
            item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    """Gives all tests one compilation cache: this run and the next, its workers and commands."""
    if "not end_to_end" in config.option.markexpr:  # before the first computation, which reads it
        os.environ.setdefault("XLA_FLAGS", _QUICKER_TO_COMPILE)
    if "JAXREP_CACHE_DIR" not in os.environ:  # the workers of pytest-xdist inherit it
        os.environ["JAXREP_CACHE_DIR"] = str(config.rootpath / ".pytest_cache" / "xla")
    if not compile_cache.is_off():
        compile_cache.switch_on(Path(os.environ["JAXREP_CACHE_DIR"]))


@pytest.fixture(autouse=True)
def shapes_of_what_is_patched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forgets the shapes of networks where a test replaces functions that they may follow from."""
    caches = [_method._abstract, program._abstract] if "monkeypatch" in request.fixturenames else []
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> None:
    """Forgets all programs where they are too many: each takes maps, of which Linux gives 65,530.

    Where there are no more, XLA ends the process.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MANY_MAPS:
        jax.clear_caches()  # type: ignore[no-untyped-call]
