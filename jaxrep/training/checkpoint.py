"""Checkpoints: all of a training run's state on disk, whole or not at all, and checked when read.

Orbax writes the arrays. It does not notice a flipped bit when it reads them, and takes any folder
with a number for a checkpoint; so every checkpoint has a manifest of ours, written last, with the
digests of all its files. Reading goes from the newest to the oldest that is intact.

In a job of several processes all write and read the arrays, by one path that they share; process 0
alone does the rest, and which devices or how many processes go on with a checkpoint is open.

    checkpoints/00000120/last/…          the state after step 120
    checkpoints/00000120/best/…          the state at the epoch of the least validation loss
    checkpoints/00000120/progress.json   where the run stands
    checkpoints/00000120/history.jsonl   the metrics of every finished epoch
    checkpoints/00000120/manifest.json   the digests of all these files
"""

import contextlib
import json
import math
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
from jax import Array

from jaxrep import files, strict_json
from jaxrep.errors import InputError
from jaxrep.methods._method import AnyMethod
from jaxrep.training.devices import Devices
from jaxrep.training.distributed import is_leader, lead
from jaxrep.training.history import EpochMetrics, read_metrics
from jaxrep.training.program import Best, abstract_state
from jaxrep.training.step import TrainState

FORMAT_VERSION = 1
MANIFEST, PROGRESS, HISTORY = "manifest.json", "progress.json", "history.jsonl"
_NAME = re.compile(r"[0-9]{8,}")
_Arrays = dict[str, np.ndarray | Array]


@dataclass(frozen=True)
class Snapshot:
    """A training run between two steps: all that it takes to go on as if it had never stopped."""

    step: int
    """Steps taken."""

    state: TrainState
    """After the last of them."""

    best: Best | None
    """Where rows are held out."""

    sums: Mapping[str, float]
    """Of the epoch under way, as of `EpochMeans`."""

    history: list[EpochMetrics]
    """The metrics of the finished epochs."""

    seconds: float
    """Time spent training."""


class _BestEpoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    loss: float
    epoch: int


class _Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `progress.json` says of a snapshot."""

    format_version: int
    step: int
    seconds: float
    sums: dict[str, float]
    best: _BestEpoch | None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: dict[str, str]


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
        keep: how many to keep, the newest ones.
        note: called with a remark for every checkpoint that is passed over.

    Example:
        >>> import tempfile
        >>> from jaxrep.methods import VAE, VAEHyperparameters
        >>> from jaxrep.training import fit
        >>> x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()), Every(epochs=2))
        >>> short = fit(VAE(VAEHyperparameters(epochs=3)), x, checkpoints=checkpoints)
        >>> longer = VAE(VAEHyperparameters(epochs=5))
        >>> start = checkpoints.newest(longer, 4)
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
        self.path, self.every, self.keep, self._note = path, every, keep, note
        self._saved = time.monotonic()
        # It takes a quarter of a second, which compilation leaves over on another core.
        self._orbax = threading.Thread(target=_import_orbax, daemon=True)
        self._orbax.start()

    def is_due(self) -> bool:
        """Says whether it is time for the next checkpoint; those by epochs are not asked for."""
        seconds = self.every.seconds
        return seconds is not None and time.monotonic() - self._saved >= seconds

    def save(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint, and then removes those that are too many.

        Raises:
            OSError: it cannot be written; the earlier ones stay as they are.
        """
        folder = self.path / f"{snapshot.step:08d}"
        try:
            lead(lambda: self._make_way_for(folder))
            self._write(folder, snapshot)
        except (OSError, ValueError, RuntimeError) as error:  # orbax raises what tensorstore does
            if is_leader():
                shutil.rmtree(folder, ignore_errors=True)
            raise OSError(
                f"{folder}: the checkpoint cannot be written ({_first_line(error)}); "
                f"{self._standing()}. Make room and run the same command again"
            ) from error
        lead(self._remove_all_but_newest)
        self._saved = time.monotonic()

    def newest(
        self, method: AnyMethod, input_dim: int, devices: Devices | None = None
    ) -> Snapshot | None:
        """Reads the newest checkpoint that is intact; those passed over are remarked on.

        Args:
            method: that is trained.
            input_dim: D, features of a row.
            devices: that go on, whichever and in however many processes they were that saved it.

        Returns:
            The snapshot, or None if there is none.

        Raises:
            InputError: a checkpoint is of another version of the format.
        """
        passed_over: list[str] = []
        while name := lead(lambda: self._newest_intact(passed_over)):
            try:
                template = _placed(abstract_state(method, input_dim), devices)
                return self._read(self.path / name, template)
            except _DamagedError as error:
                self._pass_over(name, error, passed_over)
        return None

    def _newest_intact(self, passed_over: list[str]) -> str | None:
        """Returns the name of the newest checkpoint that is whole and not passed over already."""
        for folder in self._folders():
            if folder.name not in passed_over:
                try:
                    _check(folder)
                    return folder.name
                except _DamagedError as error:
                    self._pass_over(folder.name, error, passed_over)
        return None

    def _pass_over(self, name: str, error: "_DamagedError", passed_over: list[str]) -> None:
        self._note(f"warning: {self.path / name}: {error}; this checkpoint is passed over")
        passed_over.append(name)

    def _make_way_for(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # one that was found damaged
        self.path.mkdir(parents=True, exist_ok=True)

    def _write(self, folder: Path, snapshot: Snapshot) -> None:
        ocp = self._ready_orbax()
        items = {"last": _flat(snapshot.state)}
        if snapshot.best is not None:
            items["best"] = _flat(snapshot.best.state)
        with self._manager() as manager:
            composite = {name: ocp.args.StandardSave(item) for name, item in items.items()}
            manager.save(snapshot.step, args=ocp.args.Composite(**composite), force=True)
            manager.wait_until_finished()
        lead(lambda: self._write_progress(folder, snapshot))

    def _write_progress(self, folder: Path, snapshot: Snapshot) -> None:
        best = snapshot.best and _BestEpoch(float(snapshot.best.loss), int(snapshot.best.epoch))
        progress = _Progress(
            FORMAT_VERSION, snapshot.step, snapshot.seconds, dict(snapshot.sums), best
        )
        files.write_text(folder / PROGRESS, strict_json.dumps(msgspec.to_builtins(progress)))
        lines = (json.dumps(metrics, allow_nan=False) + "\n" for metrics in snapshot.history)
        files.write_text(folder / HISTORY, "".join(lines))
        self._seal(folder)

    def _seal(self, folder: Path) -> None:
        """Writes the manifest, once everything else is on the disk."""
        names = _contents(folder)
        for name in names:
            files.flush_to_disk(folder / name)
        digests = {name: files.sha256(folder / name) for name in names}
        files.write_text(folder / MANIFEST, strict_json.dumps({"sha256": digests}))
        files.flush_to_disk(folder)
        files.flush_to_disk(self.path)

    def _read(self, folder: Path, template: TrainState) -> Snapshot:
        progress, history = _read_progress(folder), _read_history(folder)
        ocp = self._ready_orbax()
        abstract = _flat(template)
        names = ("last",) if progress.best is None else ("last", "best")
        restore = {name: ocp.args.StandardRestore(abstract) for name in names}
        with self._manager() as manager:
            try:
                restored = manager.restore(int(folder.name), args=ocp.args.Composite(**restore))
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise _DamagedError(f"cannot be read ({_first_line(error)})") from error
        states = {name: _unflat(restored[name], template) for name in names}
        told = progress.best
        best = None if told is None else Best(states["best"], told.loss, told.epoch)
        return Snapshot(
            progress.step, states["last"], best, progress.sums, history, progress.seconds
        )

    def _ready_orbax(self) -> Any:
        self._orbax.join()
        return _import_orbax()

    @contextlib.contextmanager
    def _manager(self) -> Iterator[Any]:
        ocp = self._ready_orbax()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None,  # ours go once the manifest of the next one is written
            enable_async_checkpointing=False,
            step_format_fixed_length=8,
        )
        with (
            _as_text(self.path.resolve()) as path,
            ocp.CheckpointManager(path, options=options) as manager,
        ):
            yield manager

    def _folders(self) -> list[Path]:
        """Returns the folders of checkpoints, finished or not, the newest first."""
        if not self.path.is_dir():
            return []
        found = (path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
        return sorted(found, key=lambda path: int(path.name), reverse=True)

    def _remove_all_but_newest(self) -> None:
        whole = [folder for folder in self._folders() if (folder / MANIFEST).is_file()]
        for folder in self.path.iterdir():  # among them what orbax names while it writes
            if folder not in whole[: self.keep] and (_NAME.match(folder.name)):
                with contextlib.suppress(FileNotFoundError):
                    (folder / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)

    def _standing(self) -> str:
        whole = [folder.name for folder in self._folders() if (folder / MANIFEST).is_file()]
        return f"the one of step {int(whole[0])} is intact" if whole else "there is no earlier one"


def check_keep(keep: int) -> None:
    """Raises an InputError for a number of checkpoints that would keep none."""
    if keep < 1:
        raise InputError(f"--keep {keep}: at least 1 checkpoint has to be kept")


class _DamagedError(Exception):
    """A checkpoint is not what it was when it was written."""


def _placed(template: TrainState, devices: Devices | None) -> TrainState:
    """Returns a state's shapes with the devices that its arrays are to be read to."""
    chosen = jax.config.jax_default_device or jax.local_devices()[0]  # type: ignore[attr-defined]
    alone = jax.sharding.SingleDeviceSharding(chosen)

    def place(leaf: Any) -> Any:
        sharding = alone if devices is None else devices.of_state(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # type: ignore[no-untyped-call]

    placed: TrainState = jax.tree.map(place, template)
    return placed


def remove(path: Path) -> None:
    """Removes all checkpoints of a run, and nothing else that may be in their folder."""
    if path.is_dir():
        for folder in path.iterdir():
            if _NAME.match(folder.name):
                shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            path.rmdir()


@contextlib.contextmanager
def _as_text(path: Path) -> Iterator[Path]:
    """Yields a path to the same folder that is valid text, as tensorstore has it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "checkpoints"
            link.symlink_to(path)
            yield link
    else:
        yield path


def _import_orbax() -> Any:
    import orbax.checkpoint as ocp

    return ocp


def _check(folder: Path) -> None:
    """Raises an error if a checkpoint is not whole, to the bit."""
    try:
        text = strict_json.read_bytes(folder / MANIFEST, strict_json.MAX_BYTES).decode("utf-8")
        manifest = strict_json.convert(strict_json.loads(text), _Manifest)
    except FileNotFoundError:
        raise _DamagedError("has no manifest; its saving was interrupted") from None
    except (OSError, ValueError) as error:
        raise _DamagedError(f"{MANIFEST} cannot be read ({_first_line(error)})") from error
    if text != strict_json.dumps(msgspec.to_builtins(manifest)):
        raise _DamagedError(f"{MANIFEST} is not as it was written")
    digests = manifest.sha256
    found = set(_contents(folder))
    for name in sorted(found | set(digests)):
        if name not in digests or name not in found:
            raise _DamagedError(f"{name} is {'missing' if name in digests else 'too many'}")
        if files.sha256(folder / name) != digests[name]:
            raise _DamagedError(f"{name} has changed since it was written")


def _read_progress(folder: Path) -> _Progress:
    try:
        data = strict_json.read(folder / PROGRESS)
    except (OSError, ValueError) as error:
        raise _DamagedError(f"{PROGRESS} cannot be read ({_first_line(error)})") from error
    version = data.get("format_version") if isinstance(data, dict) else FORMAT_VERSION
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder / PROGRESS}: format_version is {version!r:.80}; this jaxrep reads "
            f"{FORMAT_VERSION}. Go on with the jaxrep that wrote it, or train anew elsewhere"
        )
    try:
        progress = strict_json.convert(data, _Progress)
    except ValueError as error:
        raise _DamagedError(f"{PROGRESS} is not as it was written ({error})") from None
    if progress.step != int(folder.name):
        raise _DamagedError(f"{PROGRESS} is of step {progress.step}")
    return progress


def _read_history(folder: Path) -> list[EpochMetrics]:
    try:
        text = strict_json.read_bytes(folder / HISTORY, strict_json.MAX_BYTES)
        return [read_metrics(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise _DamagedError(f"{HISTORY} cannot be read ({_first_line(error)})") from error


def _contents(folder: Path) -> list[str]:
    """Returns the files in a checkpoint's folder by their path in it, without the manifest."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != MANIFEST)


def _named(state: TrainState) -> list[tuple[str, Any]]:
    """Returns a state's arrays with their names: plain ones, whatever classes optax has."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), a) for path, a in leaves]


def _flat(state: TrainState) -> _Arrays:
    return dict(_named(state))


def _unflat(arrays: _Arrays, template: TrainState) -> TrainState:
    leaves = [arrays[name] for name, _ in _named(template)]
    state: TrainState = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
