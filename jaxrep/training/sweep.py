"""Sweeps: many training runs in one compiled program, mapped over their methods and their seeds.

Numbers such as the learning rate or β are traced, so runs that differ in them alone share a
program. They train in parts that fill a cache or a device's memory, on all devices at once. Each
run sees the rows, the noise and the steps that it would see in `fit`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrep.batch import Batch, RowSpec, as_batch
from jaxrep.dispatch import computing
from jaxrep.hyperparameters import check
from jaxrep.methods._method import AnyMethod
from jaxrep.training import members
from jaxrep.training.callbacks import Callback, Progress
from jaxrep.training.devices import Devices
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.training.loop import Loop
from jaxrep.training.program import abstract_state
from jaxrep.training.row_store import Resident, check_data, put_padded, spec_of
from jaxrep.training.sizes import program_batch_size
from jaxrep.training.trained import Trained


@dataclass(frozen=True)
class Sweep:
    """A finished sweep."""

    members: list[Trained]
    """In the order of the methods. What new rows are drawn from, which takes long to fit, they are
    without; `with_prior` gives it to those that are kept."""

    compiles: int
    """Training programs that it takes: one for each shape among the members."""

    seconds: float
    """Time spent training, until the last weights were ready; compilation is not in it."""

    compile_seconds: float
    """Time to trace and compile; next to nothing where the same shapes were trained before."""

    rows_per_second: float
    """Rows trained on, summed over the members, / `seconds`."""


@computing()
def sweep(
    methods: Sequence[AnyMethod],
    x: np.ndarray | Array | Batch,
    *,
    validation: np.ndarray | Array | Batch | None = None,
    spec: RowSpec | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Sweep:
    """Trains many methods on the same rows; each ends as `fit` of it alone would.

    Methods share a program if they are of one kind, one shape and one number of epochs. They may
    differ in `seed` and in every number that shapes nothing: learning rate, β, noise levels, ….

    Args:
        methods: of `jaxrep.methods`, or your own.
        x: training rows, standardised, `[rows, D]`; or a batch of them, in memory.
        spec: what every row holds, as of `fit`.
        validation: rows held out, as x; their loss is computed after every epoch.
        weights: initial weights by name, the same for all; those not named are drawn by the seeds.
        on_progress: called after each chunk of steps, with the mean loss of the members that it
            trained and the rows of all members.

    Returns:
        The weights and the history of every method, and how long it took. A method whose loss
        becomes infinite or NaN is marked as diverged and changes no other.

    Raises:
        ValueError: no methods, a hyperparameter out of its range, a method of several members, or
            rows that are no matrix of finite floats.

    Example:
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
        >>> small = {"hidden_dims": (8,), "epochs": 3, "steps": 0}
        >>> methods = [VAE(VAEHyperparameters(beta=beta, **small)) for beta in (0.0, 1.0, 4.0)]
        >>> result = sweep(methods, x)
        >>> result.compiles, [len(member.history) for member in result.members]
        (1, [3, 3, 3])
    """
    if not methods:
        raise ValueError("there are no methods to train")
    for method in methods:
        check(method.hyperparameters)
        if method.hyperparameters.members > 1:
            raise ValueError(
                f"members is {method.hyperparameters.members}; the methods of a sweep have 1 each: "
                "sweep several seeds, or fit the best setting with members"
            )
    data, held_out = as_batch(x), None if validation is None else as_batch(validation)
    spec = spec_of(data, spec)
    check_data(data, held_out, spec)
    devices = members.share_out_devices(len(methods))
    rows = Resident(data, devices)
    validation_rows = None if held_out is None else put_padded(held_out, devices)
    groups = [
        _Group(at, [methods[i] for i in at], data, spec, devices) for at in members.alike(methods)
    ]
    parts = [part for group in groups for part in group.parts()]
    steps = sum(part.steps for part in parts)
    done, seconds, compile_seconds = 0, 0.0, 0.0
    trained: dict[int, Trained] = {}
    for part in parts:
        loop = Loop(
            part.methods,
            rows,
            validation_rows,
            spec,
            devices,
            weights=weights,
            stops_on_divergence=False,
            fits_priors=False,
        )
        loop.train([_PartOfSweep(part, on_progress, done, steps)])
        trained.update(zip(part.at, loop.results(), strict=False))  # without the copies
        done += part.steps
        seconds += loop.seconds
        compile_seconds += loop.compile_seconds
    trained_rows = sum(member.rows for member in trained.values())
    return Sweep(
        members=[trained[i] for i in range(len(methods))],
        compiles=len({program for group in groups for program in group.programs()}),
        seconds=seconds,
        compile_seconds=compile_seconds,
        rows_per_second=trained_rows / max(seconds, 1e-9),
    )


@dataclass(frozen=True)
class _Part:
    """Members that train at the same time."""

    at: list[int]
    """Their positions among the methods of the sweep."""

    methods: list[AnyMethod]
    """They, and copies of the last one that fill the part up."""

    steps: int
    """Steps that each takes."""


class _PartOfSweep(Callback):
    """Takes the progress of a part, and tells that of the sweep."""

    def __init__(self, part: _Part, on_progress: Callable[[Progress], None], done: int, steps: int):
        self._share = len(part.at) / len(part.methods)  # of the rows; the rest are copies'
        self._on_progress, self._done, self._steps = on_progress, done, steps

    def on_progress(self, progress: Progress) -> None:
        step, rate = self._done + progress.step, progress.rows_per_second * self._share
        self._on_progress(Progress(step, self._steps, progress.loss, rate))


class _Group:
    """Methods that are alike, and how many of them one program trains at a time."""

    def __init__(
        self,
        at: list[int],
        methods: list[AnyMethod],
        x: Batch,
        spec: RowSpec,
        devices: Devices,
    ):
        self.at, self.methods = at, methods
        hp = methods[0].hyperparameters
        rows = len(x.numbers)
        self.batch_size = program_batch_size(hp.batch_size, rows)
        in_a_batch = min(hp.batch_size, rows)
        self.steps = EpochPlan(rows, in_a_batch, hp.epochs, limit=hp.steps).steps
        self.at_once = members.members_at_once(
            len(methods),
            abstract_state(methods[0], spec),
            spec,
            self.batch_size,
            list(devices.mesh.devices.flat),
        )

    def programs(self) -> Iterator[tuple[Any, ...]]:
        """Yields what tells the parts' training programs from others over the same rows.

        A member that trains alone has the program of its lone run, without terms that are 0.
        """
        for part in self.parts():
            structure = jax.tree.structure(members.stack(part.methods))
            yield structure, self.batch_size, self.at_once

    def parts(self) -> Iterator[_Part]:
        """Yields parts of one shape: copies of the last member fill up the last one."""
        for start in range(0, len(self.at), self.at_once):
            part = slice(start, start + self.at_once)
            methods = self.methods[part]
            copies = [methods[-1]] * (self.at_once - len(methods))
            yield _Part(self.at[part], [*methods, *copies], self.steps)
