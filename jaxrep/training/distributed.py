"""Jobs of several processes: how they are connected, and what they agree on.

`launcher.detect` says which job this process belongs to; `initialize` connects its processes, and
`run_on_main` has process 0, the main process, do what must be done once.
"""

import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from jaxrep import errors
from jaxrep.errors import InputError
from jaxrep.training.launcher import Launcher, Topology

if TYPE_CHECKING:
    from jax import Array

    from jaxrep.training.devices import Devices

_JAX_NAMES: dict[Launcher, str] = {"slurm": "slurm", "open mpi": "ompi"}

HEARTBEAT_SECONDS = 100
_PATIENCE_SECONDS = 24 * 3600  # for what process 0 does alone, such as writing a large table's rows

T = TypeVar("T")


def initialize(topology: Topology, *, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> Topology:
    """Connects the processes of a job; must come before JAX computes anything.

    Where they are connected already, as under Ray, nothing happens.

    Args:
        topology: from `detect`.
        heartbeat_seconds: after which a process that is not heard of counts as dead, and all others
            end too.

    Returns:
        The job as it is: of processes that were connected already, theirs.

    Raises:
        InputError: JAX has computed something before, or process 0 is not reached.
    """
    import jax

    if jax.distributed.is_initialized():
        count, number = jax.process_count(), jax.process_index()
        remark = f"process {number} of {count}, connected before"
        return dataclasses.replace(topology, processes=count, process=number, remark=remark)
    if topology.processes == 1:
        return topology
    # Else its handler swallows SIGTERM until a training listens.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            topology.coordinator,
            topology.processes,
            topology.process,
            cluster_detection_method=_JAX_NAMES.get(topology.launcher),
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=_PATIENCE_SECONDS,
        )
    except RuntimeError as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(f"{topology.remark}: cannot be connected ({first})") from error
    return topology


def is_main() -> bool:
    """Says whether this is process 0, which alone writes a run's files."""
    import jax

    return jax.process_index() == 0


def abort(code: int) -> None:
    """Ends a process of a job that failed, at once; alone, it returns.

    An orderly end would wait for the other processes, which may wait for this one.
    """
    import jax

    if jax.distributed.is_initialized() and jax.process_count() > 1:
        if is_main():
            time.sleep(1)  # they, too, may be about to say why
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class AnyProcess:
    """Flags on which all processes of a job agree: up if one of them raises it.

    In a job of several processes the answer is that to the question before, so that no process
    waits for its devices to get it.

    Args:
        devices: that train together.

    Example:
        >>> from jaxrep.training import Devices
        >>> AnyProcess(Devices())(True, False)
        (True, False)
    """

    def __init__(self, devices: "Devices"):
        self._devices = devices
        self._asked: Array | None = None

    def __call__(self, *flags: bool) -> tuple[bool, ...]:
        """Asks the other processes, and returns what all know."""
        import jax

        if jax.process_count() == 1:
            return flags
        before, self._asked = self._asked, self._devices.any(*flags)
        if before is None:
            return (False,) * len(flags)
        return tuple(bool(flag) for flag in np.asarray(before))


def run_on_main(function: Callable[[], T]) -> T:
    """Calls a function in process 0 alone, and returns its result or raises its error in all.

    All processes must come here in the same order, and wait for one another. In a job of one
    process it is a plain call.

    Args:
        function: gives what JSON can hold.
    """
    import jax

    if jax.process_count() == 1:
        return function()
    told, raised = "", None
    if is_main():
        try:
            told = json.dumps({"result": function()})
        except Exception as error:
            told = json.dumps({"error": type(error).__name__, "text": f"{error}"})
            raised = error
    answer = json.loads(_told_by_main(told))
    if raised is not None:
        raise raised
    if "error" in answer:
        raise _ERRORS.get(answer["error"], RuntimeError)(answer["text"])
    found: T = answer["result"]
    return found


_turns = itertools.count()


def _told_by_main(text: str) -> str:
    """Returns in all processes the text of process 0, once it has come here, too."""
    from jax.experimental import multihost_utils
    from orbax.checkpoint import multihost

    # It waits as long as it takes, where the collectives below would give up.
    barrier = multihost.get_barrier_sync_fn()
    barrier(key=f"jaxrep/main/{next(_turns)}", timeout_ms=_PATIENCE_SECONDS * 1000)
    data = text.encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    # Of few sizes, each of which is compiled once.
    padded = np.zeros(1 << max(size - 1, 1).bit_length(), np.uint8)
    padded[: len(data)] = list(data)
    told = multihost_utils.broadcast_one_to_all(padded)
    return bytes(np.asarray(told)[:size]).decode()


_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        InputError,
        errors.ModelFormatError,
        errors.MissingPackageError,
        ValueError,
        OSError,
        MemoryError,
    )
}
