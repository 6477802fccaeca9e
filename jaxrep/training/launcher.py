"""Which job of several processes this one belongs to: what a launcher or a user says of it.

Slurm and Open MPI say in the environment which process of how many this is; elsewhere flags do.
Where no one does, the process is alone. JAX detects the same launchers, but only as it connects,
without a check of what it finds; here nothing is connected, so that what is wrong can be said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxrep.errors import InputError

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
