"""Jobs of several processes: who started them, how they find each other, and what they agree on.

Slurm and Open MPI say in the environment which process of how many this is; elsewhere flags do.
Where no one does, the process is alone. `detect` only reads, `join` connects the processes, and
`lead` has process 0 do what must be done once.
"""

import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jaxrep import errors
from jaxrep.errors import InputError

if TYPE_CHECKING:
    from jax import Array

    from jaxrep.training.devices import Devices

Launcher = Literal["slurm", "open mpi", "flags", "none"]

_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
_OPEN_MPI_ADDRESS = "OMPI_MCA_orte_hnp_uri"  # of Open MPI 4; version 5 names no address
_JAX_NAMES: dict[Launcher, str] = {"slurm": "slurm", "open mpi": "ompi"}

HEARTBEAT_SECONDS = 100
_PATIENCE_SECONDS = 24 * 3600  # for what process 0 does alone, such as writing a large table's rows

T = TypeVar("T")


@dataclass(frozen=True)
class Flags:
    """What a user says of a job that no launcher describes."""

    coordinator: str | None = None
    """Address of process 0, HOST:PORT, the same in all processes."""

    num_processes: int | None = None
    """Processes in the job."""

    process_id: int | None = None
    """Which of them this is, from 0."""


@dataclass(frozen=True)
class Topology:
    """The job that a process belongs to.

    Example:
        >>> detect({}).processes, detect({}).launcher
        (1, 'none')
    """

    launcher: Launcher
    """Who said so."""

    processes: int
    """Processes in the job."""

    process: int
    """Which of them this is, from 0."""

    coordinator: str | None
    """Address of process 0; None where JAX takes it from the launcher, or there is one process."""

    remark: str
    """What was found, as a line for the user."""


def detect(environ: Mapping[str, str], flags: Flags = Flags()) -> Topology:
    """Says from the environment and the flags which job this process belongs to.

    Nothing is started or connected, and JAX is not loaded.

    Args:
        environ: variables of the environment, such as `os.environ`.
        flags: what the user says; it goes before what a launcher says.

    Raises:
        InputError: the flags are incomplete or contradict each other, a launcher's variables are no
            numbers, or Open MPI started several processes and no one says where process 0 is.

    Example:
        >>> of_slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2",
        ...     "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
        >>> topology = detect(of_slurm)
        >>> topology.launcher, topology.processes, topology.process
        ('slurm', 2, 1)
    """
    if flags != Flags():
        return _from_flags(environ, flags)
    if all(name in environ for name in _SLURM):
        return _from_launcher("slurm", "Slurm", environ, "SLURM_NTASKS", "SLURM_PROCID")
    if "SLURM_JOB_ID" in environ:
        missing = ", ".join(name for name in _SLURM if name not in environ)
        return _alone(
            f"in a Slurm job, but not started by srun ({missing} not set): one process, alone"
        )
    if all(name in environ for name in _OPEN_MPI):
        found = _from_launcher("open mpi", "Open MPI", environ, *_OPEN_MPI[:2])
        if found.processes > 1 and _OPEN_MPI_ADDRESS not in environ:
            raise InputError(
                f"Open MPI started {found.processes} processes and does not say where process 0 "
                "is, as versions from 5 on; give --coordinator HOST:PORT"
            )
        return found
    return _alone("one process, alone: neither Slurm, nor Open MPI, nor flags say otherwise")


def _from_launcher(
    launcher: Launcher, name: str, environ: Mapping[str, str], count: str, number: str
) -> Topology:
    processes, process = _number(environ, count), _number(environ, number)
    if processes == 1:
        return _alone(f"one process, started alone by {name}")
    _check_number(process, processes, number)
    remark = f"process {process} of {processes}, started by {name}"
    return Topology(launcher, processes, process, None, remark)


def _from_flags(environ: Mapping[str, str], flags: Flags) -> Topology:
    """Takes the flags, and from a launcher what they leave out."""
    processes, process = flags.num_processes, flags.process_id
    for count, number in (("SLURM_NTASKS", "SLURM_PROCID"), _OPEN_MPI[:2]):
        if count in environ and number in environ and processes is process is None:
            processes, process = _number(environ, count), _number(environ, number)
    if flags.coordinator is None or processes is None or process is None:
        raise InputError(
            "--coordinator, --num-processes and --process-id go together: give all three, or none"
        )
    host, _, port = flags.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator {flags.coordinator}: no HOST:PORT")
    if processes < 1:
        raise InputError(f"--num-processes {processes}: at least 1")
    _check_number(process, processes, "--process-id")
    remark = f"process {process} of {processes}, process 0 at {flags.coordinator}"
    return Topology("flags", processes, process, flags.coordinator, remark)


def _alone(remark: str) -> Topology:
    return Topology("none", 1, 0, None, remark)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name]
    if not text.isdecimal():
        raise InputError(f"{name} is {text!r} in the environment: no number")
    return int(text)


def _check_number(process: int, processes: int, name: str) -> None:
    if not 0 <= process < processes:
        raise InputError(f"{name} {process}: the {processes} processes count from 0")


def join(topology: Topology, *, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> Topology:
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
    own = {"num_processes": topology.processes, "process_id": topology.process}
    known: dict[str, Any] = (
        {"cluster_detection_method": _JAX_NAMES[topology.launcher]}
        if topology.coordinator is None
        else {"coordinator_address": topology.coordinator, **own}
    )
    try:
        jax.distributed.initialize(
            **known,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=_PATIENCE_SECONDS,
        )
    except RuntimeError as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(f"{topology.remark}: cannot be connected ({first})") from error
    return topology


def is_leader() -> bool:
    """Says whether this is process 0, which alone writes a run's files."""
    import jax

    return jax.process_index() == 0


def leave(code: int) -> None:
    """Ends a process of a job that failed, at once; alone, it returns.

    An orderly end would wait for the other processes, which may wait for this one.
    """
    import jax

    if jax.distributed.is_initialized() and jax.process_count() > 1:
        if is_leader():
            time.sleep(1)  # they, too, may be about to say why
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Agreement:
    """Flags on which all processes of a job agree: up if one of them raises it.

    In a job of several processes the answer is that to the question before, so that no process
    waits for its devices to get it.

    Args:
        devices: that train together; None is the one there is.

    Example:
        >>> Agreement(None)(True, False)
        (True, False)
    """

    def __init__(self, devices: "Devices | None"):
        self._devices = devices
        self._asked: Array | None = None

    def __call__(self, *flags: bool) -> tuple[bool, ...]:
        """Asks the other processes, and returns what all know."""
        import jax
        import numpy as np

        if self._devices is None or jax.process_count() == 1:
            return flags
        before, self._asked = self._asked, self._devices.any(*flags)
        if before is None:
            return (False,) * len(flags)
        return tuple(bool(flag) for flag in np.asarray(before))


_turns = itertools.count()


def lead(function: Callable[[], T]) -> T:
    """Calls a function in process 0 alone, and returns its result or raises its error in all.

    All processes must come here in the same order. In a job of one process it is a plain call.

    Args:
        function: gives what JSON can hold.
    """
    import jax

    if jax.process_count() == 1:
        return function()
    # The service that the processes were connected by: public names for it are not there yet. It
    # waits as long as it takes, where a collective of the devices would give up.
    from jax._src import distributed

    client: Any = distributed.global_state.client
    key = f"jaxrep/lead/{next(_turns)}"
    if is_leader():
        try:
            result = function()
        except Exception as error:
            client.key_value_set(
                key, json.dumps({"error": type(error).__name__, "text": f"{error}"})
            )
            raise
        client.key_value_set(key, json.dumps({"result": result}))
        return result
    told = json.loads(client.blocking_key_value_get(key, _PATIENCE_SECONDS * 1000))
    if "error" in told:
        raise _ERRORS.get(told["error"], RuntimeError)(told["text"])
    found: T = told["result"]
    return found


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
