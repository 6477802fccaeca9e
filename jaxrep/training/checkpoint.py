"""Checkpoints: all of a training run's state on disk, whole or not at all, and checked when read.

Orbax writes and rotates the arrays (`saved_states.py`); a manifest of ours, written last, has the
digests of all files (`manifest.py`). Reading goes from the newest to the oldest that is intact.

In a job of several processes all write and read the arrays, by one path that they share; process 0
alone does the rest, and which devices or how many processes continue with a checkpoint is open.

    checkpoints/00000120/state/…         the state after step 120
    checkpoints/00000120/best/…          the weights of the epoch of the lowest validation loss
    checkpoints/00000120/last/…          of several members, the state of those that have stopped
    checkpoints/00000120/progress.json   where the run stands
    checkpoints/00000120/history.jsonl   the metrics of every finished epoch
    checkpoints/00000120/manifest.json   the digests of all these files
"""

import contextlib
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxrep.batch import RowSpec
from jaxrep.dispatch import computing
from jaxrep.errors import InputError
from jaxrep.methods._method import AnyMethod
from jaxrep.training.devices import Devices
from jaxrep.training.distributed import is_main, run_on_main
from jaxrep.training.manifest import DamagedError, check, first_line, is_sealed, seal
from jaxrep.training.program import abstract_state
from jaxrep.training.saved_states import NAME_DIGITS, SavedStates, SealedOnly, placed
from jaxrep.training.snapshot import Snapshot, read_histories, read_progress, write_progress
from jaxrep.training.step import TrainState

_NAME = re.compile(rf"[0-9]{{{NAME_DIGITS},}}")


@dataclass(frozen=True)
class Every:
    """How often to save: every so many epochs, or every so many seconds."""

    epochs: int | None = None
    """Epochs from one checkpoint to the next."""

    seconds: float | None = 60.0
    """Seconds from one checkpoint to the next, where `epochs` is None."""

    @classmethod
    def parse(cls, text: str) -> "Every":
        """Reads `100` as epochs and `60s` as seconds.

        Raises:
            InputError: it is neither.

        Example:
            >>> Every.parse("100"), Every.parse("2.5s")
            (Every(epochs=100, seconds=None), Every(epochs=None, seconds=2.5))
        """
        with contextlib.suppress(ValueError):
            if text.endswith("s") and 0 <= (seconds := float(text[:-1])) < math.inf:
                return cls(None, seconds)
            if not text.endswith("s") and (epochs := int(text)) > 0:
                return cls(epochs, None)
        raise InputError(
            f"--checkpoint-every {text}: neither epochs, such as 100, nor a time, such as 60s"
        )


EVERY_MINUTE = Every()


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Args:
        path: of the folder; it is made with the first checkpoint.
        every: how often `fit` saves.
        keep: how many to keep, the newest ones; the one before the newest is kept in any case.
        note: called with a remark for every checkpoint that is passed over.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
        >>> from jaxrep.training import fit
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()), Every(epochs=2))
        >>> short = Autoencoder(AutoencoderHyperparameters(epochs=3))
        >>> _ = fit(short, x, checkpoints=checkpoints)
        >>> longer = Autoencoder(AutoencoderHyperparameters(epochs=5))
        >>> start = checkpoints.newest(longer, RowSpec(4))
        >>> resumed = fit(longer, x, start=start, checkpoints=checkpoints)
        >>> resumed.resumed_from_step, resumed.history == fit(longer, x).history
        (3, True)
    """

    def __init__(
        self,
        path: Path,
        every: Every = EVERY_MINUTE,
        *,
        keep: int = 2,
        note: Callable[[str], None] = lambda message: None,
    ):
        check_keep(keep)
        self.path, self.every, self._note = path, every, note
        self._states = SavedStates(path, SealedOnly(keep, lambda s: is_sealed(self._folder(s))))
        self._saved = time.monotonic()

    def is_due(self) -> bool:
        """Says whether it is time for the next checkpoint; those by epochs are not asked for."""
        seconds = self.every.seconds
        return seconds is not None and time.monotonic() - self._saved >= seconds

    def save(self, snapshot: Snapshot) -> Path:
        """Writes a checkpoint, in whose course orbax removes those that are too many.

        Returns:
            Its folder.

        Raises:
            OSError: it cannot be written; the newest of the earlier ones stay as they are.
        """
        folder = self._folder(snapshot.step)
        try:
            run_on_main(lambda: self._make_way_for(folder))
            self._write(folder, snapshot)
        except (OSError, ValueError, RuntimeError) as error:  # orbax raises what tensorstore does
            # A sealed one is whole, even if another process is lost before it hears of it.
            if is_main() and not is_sealed(folder):
                for left in self.path.glob(f"{folder.name}*"):  # orbax's temporary folder, too
                    shutil.rmtree(left, ignore_errors=True)
            raise OSError(
                f"{folder}: the checkpoint cannot be written ({first_line(error)}); "
                f"{self._standing()}. Make room and run the same command again"
            ) from error
        self._saved = time.monotonic()
        return folder

    @computing()
    def newest(
        self,
        method: AnyMethod,
        spec: RowSpec,
        devices: Devices | None = None,
        *,
        members: int | None = None,
    ) -> Snapshot | None:
        """Reads the newest checkpoint that is intact; those passed over are remarked on.

        Args:
            method: that is trained.
            spec: what every row holds.
            devices: that go on, whichever and in however many processes they were that saved it; by
                default the one that JAX computes on.
            members: that train together; by default the method's own.

        Returns:
            The snapshot, or None if there is none.

        Raises:
            InputError: a checkpoint is of another version of the format.
        """
        members = members or method.hyperparameters.members
        passed_over: list[str] = []
        while name := run_on_main(lambda: self._newest_intact(passed_over)):
            try:
                shapes = abstract_state(method, spec)
                template = placed(shapes, members, devices or Devices())
                return self._read(self.path / name, template, members)
            except DamagedError as error:
                self._pass_over(name, error, passed_over)
        return None

    def _newest_intact(self, passed_over: list[str]) -> str | None:
        """Returns the name of the newest checkpoint that is whole and not passed over already."""
        for folder in self._folders():
            if folder.name not in passed_over:
                try:
                    check(folder)
                    return folder.name
                except DamagedError as error:
                    self._pass_over(folder.name, error, passed_over)
        return None

    def _pass_over(self, name: str, error: DamagedError, passed_over: list[str]) -> None:
        self._note(f"warning: {self.path / name}: {error}; this checkpoint is passed over")
        passed_over.append(name)

    def _make_way_for(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # one that was found damaged
        self.path.mkdir(parents=True, exist_ok=True)

    def _write(self, folder: Path, snapshot: Snapshot) -> None:
        self._states.write(snapshot.step, snapshot.states())
        run_on_main(lambda: self._complete(folder, snapshot))

    def _complete(self, folder: Path, snapshot: Snapshot) -> None:
        write_progress(folder, snapshot)
        seal(folder)

    def _read(self, folder: Path, template: TrainState, members: int) -> Snapshot:
        step = int(folder.name)
        progress, histories = read_progress(folder, step), read_histories(folder, members)
        templates = {"state": template, "best": template.weights, "last": template}
        found = self._states.read(step, {name: templates[name] for name in progress.states})
        return Snapshot(
            step=step,
            state=found["state"],
            best=found.get("best"),
            last=found.get("last"),
            sums=progress.sums,
            histories=histories,
            seconds=progress.seconds,
        )

    def _folder(self, step: int) -> Path:
        return self.path / f"{step:0{NAME_DIGITS}d}"

    def _folders(self) -> list[Path]:
        """Returns the folders of checkpoints, finished or not, the newest first."""
        if not self.path.is_dir():
            return []
        found = (path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
        return sorted(found, key=lambda path: int(path.name), reverse=True)

    def _standing(self) -> str:
        sealed = [folder.name for folder in self._folders() if is_sealed(folder)]
        return (
            f"the one of step {int(sealed[0])} is intact" if sealed else "there is no earlier one"
        )


def check_keep(keep: int) -> None:
    """Raises an InputError for a number of checkpoints that would keep none."""
    if keep < 1:
        raise InputError(f"--keep {keep}: at least 1 checkpoint must be kept")


def remove(path: Path) -> None:
    """Removes all checkpoints of a run, and nothing else that may be in their folder."""
    if path.is_dir():
        for folder in path.iterdir():
            if _NAME.match(folder.name):
                shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            path.rmdir()
