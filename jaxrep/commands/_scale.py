"""What `train` and `resume` are told of devices and of jobs of several processes."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxrep.commands._command import Command, note
from jaxrep.errors import InputError

if TYPE_CHECKING:
    from jax.sharding import Mesh


@dataclass(kw_only=True)
class Scaling(Command):
    """Devices that train together, of this process or of a whole job."""

    devices: int | Literal["all"] | None = None
    """How many devices train together, each on its part of every batch. By default one; in a job of
    several processes all of them."""

    shard_parameters: bool = False
    """Part weights and the optimiser's state among the devices as well, for wide models."""

    coordinator: str | None = None
    """HOST:PORT of process 0, in a job that neither Slurm nor Open MPI started."""

    num_processes: int | None = None
    """Processes in such a job."""

    process_id: int | None = None
    """Which of them this is, from 0."""

    heartbeat_timeout: int = 100
    """Seconds after which a process that is not heard of ends the job."""

    def initialize(self) -> bool:
        """Finds out which job this process belongs to, says so if there is one, and joins it."""
        from jaxrep.training import distributed, launcher

        flags = launcher.Flags(self.coordinator, self.num_processes, self.process_id)
        found = launcher.detect(os.environ, flags)
        if found.launcher != "none" or "SLURM_JOB_ID" in os.environ:
            note(found.remark)
        return distributed.initialize(found, heartbeat_seconds=self.heartbeat_timeout).process == 0

    def mesh_settings(self) -> dict[str, Any]:
        """Returns the arguments of `train` and `resume` that say which devices train."""
        return {"mesh": self._mesh(), "shard_parameters": self.shard_parameters}

    def _mesh(self) -> "Mesh":
        import jax

        from jaxrep.training import mesh_of

        chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
        there = jax.devices() if chosen is None else jax.devices(chosen.platform)
        together = jax.process_count() > 1
        count = ("all" if together else 1) if self.devices is None else self.devices
        if count == "all":
            count = len(there)
        if not 1 <= count <= len(there):
            raise InputError(f"--devices {count}: JAX sees {len(there)}; give 1 to {len(there)}")
        if together and count != len(there):
            raise InputError(
                f"--devices {count}: the {jax.process_count()} processes have {len(there)} devices "
                "in all, which all train; leave --devices out"
            )
        return mesh_of(there[:count])
