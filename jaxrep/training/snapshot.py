"""A training run between two steps, and the part of it that is kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxrep import files, strict_json
from jaxrep.errors import InputError
from jaxrep.training.history import EpochMetrics, is_metrics
from jaxrep.training.manifest import DamagedError, first_line
from jaxrep.training.program import Best
from jaxrep.training.step import TrainState

FORMAT_VERSION = 1
PROGRESS, HISTORY = "progress.json", "history.jsonl"


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


def write_progress(folder: Path, snapshot: Snapshot) -> None:
    """Writes all of a snapshot but its arrays."""
    progress = {
        "format_version": FORMAT_VERSION,
        "step": snapshot.step,
        "seconds": snapshot.seconds,
        "sums": dict(snapshot.sums),
        "best": snapshot.best
        and {"loss": float(snapshot.best.loss), "epoch": int(snapshot.best.epoch)},
    }
    files.write_text(folder / PROGRESS, json.dumps(progress, allow_nan=False) + "\n")
    lines = (json.dumps(metrics, allow_nan=False) + "\n" for metrics in snapshot.history)
    files.write_text(folder / HISTORY, "".join(lines))


def read_progress(folder: Path, step: int) -> dict[str, Any]:
    """Reads where a run stands after a step.

    Raises:
        DamagedError: the file is not what `write_progress` writes for this step.
        InputError: it is of another version of the format.
    """
    try:
        progress = strict_json.read(folder / PROGRESS)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{PROGRESS} cannot be read ({first_line(error)})") from error
    if not isinstance(progress, dict):
        raise DamagedError(f"{PROGRESS} is no JSON object")
    version = progress.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder / PROGRESS}: format_version is {version!r:.80}; this jaxrep reads "
            f"{FORMAT_VERSION}. Go on with the jaxrep that wrote it, or train anew elsewhere"
        )
    if not _is_progress(progress, step):
        raise DamagedError(f"{PROGRESS} does not say where a run stands after this step")
    return progress


def _is_progress(progress: dict[str, Any], step: int) -> bool:
    """Says whether JSON is what `write_progress` writes; a stranger's may have fitting digests."""
    best, sums = progress.get("best"), progress.get("sums")
    is_best = best is None or (
        isinstance(best, dict) and best.keys() == {"loss", "epoch"} and is_metrics(best)
    )
    is_sums = isinstance(sums, dict) and all(type(value) in (int, float) for value in sums.values())
    is_time = type(progress.get("seconds")) in (int, float)
    return is_best and is_sums and is_time and progress.get("step") == step


def read_history(folder: Path) -> list[EpochMetrics]:
    """Reads the metrics of the finished epochs.

    Raises:
        DamagedError: a line is not the metrics of an epoch.
    """
    try:
        text = strict_json.read_bytes(folder / HISTORY, strict_json.MAX_BYTES)
        history = [strict_json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise DamagedError(f"{HISTORY} cannot be read ({first_line(error)})") from error
    if not all(map(is_metrics, history)):
        raise DamagedError(f"{HISTORY} has a line that is not the metrics of an epoch")
    return history
