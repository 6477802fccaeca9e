"""Where jaxrep computes: JAX's settings are its own there, and a process after a fork is refused.

JAX has settings for a whole program, from the environment or from `jax.config`. A program that
needs float64 elsewhere, or other random numbers, still gets the same weights from jaxrep.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax

from jaxrep import compile_cache
from jaxrep.errors import ForkedProcessError

_is_forked = False


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Fixes the settings of JAX that numbers depend on, in this thread, as long as it is open.

    The settings are JAX's own defaults: float32 in the place of float64, Threefry random numbers
    that do not depend on the devices, NumPy's kind of type promotion, and products in the device's
    own precision, where a method asks for no other. Functions are decorated with it as well.
    Compiled programs are kept, for this process and others, as `compile_cache.decide` says.

    Raises:
        ForkedProcessError: JAX ran in the parent of this process, before it was forked.

    Example:
        >>> with jax.enable_x64(True), computing():
        ...     jax.numpy.ones(3).dtype
        dtype('float32')
    """
    refuse_forked_process()
    compile_cache.decide()
    with (
        jax.enable_x64(False),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.numpy_dtype_promotion("standard"),
        jax.default_matmul_precision(None),
    ):
        yield


def refuse_forked_process() -> None:
    """Raises an error in a process that was forked after JAX ran: JAX would wait there for ever.

    Raises:
        ForkedProcessError: it was.
    """
    if _is_forked:
        raise ForkedProcessError(
            f"process {os.getpid()} was forked after JAX had run in its parent, and JAX's threads "
            'do not survive a fork: it would hang. Start processes by "spawn" or "forkserver" '
            '(`multiprocessing.get_context("spawn")`; joblib\'s backend "loky"), or fork before '
            "the first computation"
        )


def _note_fork() -> None:
    """Notes in a child process whether JAX had started its threads, which the child is without."""
    global _is_forked
    bridge = sys.modules.get("jax._src.xla_bridge")  # JAX says it nowhere in public
    has_run = getattr(bridge, "backends_are_initialized", None)
    _is_forked = _is_forked or (has_run is not None and has_run())


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_note_fork)
