"""A training between two steps, and the part of it that is kept as JSON."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from jax import Array

from jaxrep import files, strict_json
from jaxrep.errors import InputError
from jaxrep.training.history import EpochMetrics, check_metrics
from jaxrep.training.manifest import DamagedError, first_line
from jaxrep.training.step import TrainState

FORMAT_VERSION = 2
PROGRESS, HISTORY = "progress.json", "history.jsonl"


@dataclass(frozen=True)
class Snapshot:
    """A training between two steps: all that it needs to continue as if never stopped.

    Every array has the members that train together along its first axis; a run alone is one.
    """

    step: int
    """Steps taken."""

    state: TrainState
    """After the last of them."""

    best: dict[str, Array] | None
    """The weights of the epochs with the lowest validation losses; None before there is one."""

    last: TrainState | None
    """The state of those members, among others that go on, whose patience has ended."""

    sums: Sequence[Mapping[str, float]]
    """Of the epoch under way, as of `EpochMeans`, for each member."""

    histories: Sequence[Sequence[EpochMetrics]]
    """The metrics of the finished epochs, for each member."""

    seconds: float
    """Time spent training."""

    def states(self) -> dict[str, Any]:
        """Returns the arrays that there are, by name."""
        named = {"state": self.state, "best": self.best, "last": self.last}
        return {name: tree for name, tree in named.items() if tree is not None}


class SavedProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `progress.json` says of a snapshot."""

    format_version: int
    step: int
    seconds: float
    sums: list[dict[str, float]]
    states: list[Literal["state", "best", "last"]]


def write_progress(folder: Path, snapshot: Snapshot) -> None:
    """Writes all of a snapshot but its arrays."""
    progress = {
        "format_version": FORMAT_VERSION,
        "step": snapshot.step,
        "seconds": snapshot.seconds,
        "sums": [dict(sums) for sums in snapshot.sums],
        "states": list(snapshot.states()),
    }
    files.write_text(folder / PROGRESS, strict_json.dumps(progress))
    epochs = itertools.zip_longest(*snapshot.histories)
    lines = (json.dumps(of_members, allow_nan=False) + "\n" for of_members in epochs)
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
    if "state" not in progress.states:
        raise DamagedError(f"{PROGRESS} names no state")
    return progress


def read_histories(folder: Path, members: int) -> list[list[EpochMetrics]]:
    """Reads the metrics of the finished epochs: a line an epoch, in it those of every member.

    Raises:
        DamagedError: a line is something else.
    """
    histories: list[list[EpochMetrics]] = [[] for _ in range(members)]
    try:
        text = strict_json.read_bytes(folder / HISTORY, strict_json.MAX_BYTES)
        for line in text.splitlines():
            of_members = strict_json.loads(line)
            strict_json.convert(of_members, list[dict[str, float] | None])
            for history, metrics in zip(histories, of_members, strict=True):
                if metrics is not None:
                    history.append(check_metrics(metrics))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{HISTORY} cannot be read ({first_line(error)})") from error
    return histories
