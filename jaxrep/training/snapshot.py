"""A training run between two steps, and the part of it that is kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jaxrep import files, strict_json
from jaxrep.errors import InputError
from jaxrep.training.history import EpochMetrics, read_metrics
from jaxrep.training.manifest import DamagedError, first_line
from jaxrep.training.program import Best
from jaxrep.training.step import TrainState

FORMAT_VERSION = 1
PROGRESS, HISTORY = "progress.json", "history.jsonl"


@dataclass(frozen=True)
class Snapshot:
    """A training run between two steps: all that it needs to continue as if never stopped."""

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


class SavedProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `progress.json` says of a snapshot."""

    format_version: int
    step: int
    seconds: float
    sums: dict[str, float]
    best: _BestEpoch | None


def write_progress(folder: Path, snapshot: Snapshot) -> None:
    """Writes all of a snapshot but its arrays."""
    best = snapshot.best and _BestEpoch(float(snapshot.best.loss), int(snapshot.best.epoch))
    progress = SavedProgress(
        FORMAT_VERSION, snapshot.step, snapshot.seconds, dict(snapshot.sums), best
    )
    files.write_text(folder / PROGRESS, strict_json.dumps(msgspec.to_builtins(progress)))
    lines = (json.dumps(metrics, allow_nan=False) + "\n" for metrics in snapshot.history)
    files.write_text(folder / HISTORY, "".join(lines))


def read_progress(folder: Path, step: int) -> SavedProgress:
    """Reads where a run stands after a step.

    Raises:
        DamagedError: the file is not what `write_progress` writes for this step.
        InputError: it is of another version of the format.
    """
    try:
        data = strict_json.read(folder / PROGRESS)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{PROGRESS} cannot be read ({first_line(error)})") from error
    version = data.get("format_version") if isinstance(data, dict) else FORMAT_VERSION
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder / PROGRESS}: format_version is {version!r:.80}; this jaxrep reads "
            f"{FORMAT_VERSION}. Continue with the jaxrep that wrote it, or train anew elsewhere"
        )
    try:
        progress = strict_json.convert(data, SavedProgress)
    except ValueError as error:
        raise DamagedError(f"{PROGRESS} is not as it was written ({error})") from None
    if progress.step != step:
        raise DamagedError(f"{PROGRESS} is of step {progress.step}")
    return progress


def read_history(folder: Path) -> list[EpochMetrics]:
    """Reads the metrics of the finished epochs.

    Raises:
        DamagedError: a line is not the metrics of an epoch.
    """
    try:
        text = strict_json.read_bytes(folder / HISTORY, strict_json.MAX_BYTES)
        return [read_metrics(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise DamagedError(f"{HISTORY} cannot be read ({first_line(error)})") from error
