"""What a run's `config.json` says: its keys, what each must be, and reading it with suspicion.

A key that is missing, unknown or of another type is refused by name. There is one version of the
format, so nothing is filled in and nothing converted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from jaxrep import strict_json
from jaxrep.data.columns import Columns
from jaxrep.data.targets import Classes, target_from_json
from jaxrep.errors import ModelFormatError
from jaxrep.hyperparameters import TrainingHyperparameters, check
from jaxrep.methods import hyperparameters_of, names
from jaxrep.runs.results import SweepResult, TrainResult

CONFIG = "config.json"
SCHEMA_VERSION = 1

_T = TypeVar("_T")
_Plain = str | float | bool | None


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with these keys and no others."""


class _Data(_Part, frozen=True):
    source: str
    sha256: str | None
    columns: dict[str, Any]  # of Columns
    streamed: bool = False


class _Device(_Part, frozen=True):
    platform: str
    kind: str
    count: int
    threads: int | UnsetType = UNSET  # of a CPU


class _Quantiles(_Part, frozen=True):
    levels: list[float]
    scores: list[float]


class _Last(_Part, frozen=True):
    epoch: int | list[int]
    loss: float
    validation_loss: float | None
    score_quantiles: _Quantiles
    calibration_scores: list[float] | UnsetType = UNSET


class _Sweep(_Part, frozen=True):
    hyperparameters: dict[str, Any]  # of the method's
    grid: dict[str, list[_Plain | list[_Plain]]]
    select: str
    save_all: bool
    member: int | UnsetType = UNSET  # this and what follows once it has finished
    result: dict[str, Any] | UnsetType = UNSET  # of SweepResult
    sha256: str | UnsetType = UNSET


class _Member(_Part, frozen=True):
    sweep: str
    member: int


class _Imported(_Part, frozen=True):
    file: str
    run: str | None


class _FineTuned(_Part, frozen=True):
    run: str | None  # the folder of the backbone's run; None where it was in memory
    model: str  # digest of its weights


class _Seen(_Part, frozen=True):
    levels: dict[str, dict[str, float]]
    ranges: dict[str, list[float]]


class _Config(_Part, frozen=True):
    schema_version: Literal[1]
    method: str
    hyperparameters: dict[str, Any]  # of the method's
    data: _Data
    versions: dict[str, str]
    recipe: str | UnsetType = UNSET  # that the hyperparameters began with, where that is known
    device: _Device | UnsetType = UNSET
    result: dict[str, Any] | UnsetType = UNSET  # of TrainResult; once the run has finished
    score_quantiles: _Quantiles | UnsetType = UNSET
    calibration_scores: list[float] | UnsetType = UNSET  # where rows were set apart, ascending
    seen: _Seen | UnsetType = UNSET  # of the training rows, of a run that makes new ones
    last: _Last | UnsetType = UNSET  # where the run serves an earlier epoch
    sweep: _Sweep | UnsetType = UNSET
    member_of: _Member | UnsetType = UNSET
    imported: _Imported | UnsetType = UNSET
    finetuned: _FineTuned | UnsetType = UNSET
    target: dict[str, Any] | UnsetType = UNSET  # of Target, where labels are predicted
    estimator: dict[str, _Plain | list[str | float]] | UnsetType = UNSET


def read_config(path: Path, *, finished: bool = False) -> dict[str, Any]:
    """Reads a run's `config.json` and checks all that it says.

    Args:
        path: of the run's folder.
        finished: whether the results of a finished run must be there.

    Raises:
        ModelFormatError: it is missing, not JSON, of another version of the format, names no known
            method, or says something that cannot be; the message names the key.
    """
    config = read_object(path / CONFIG)
    try:
        _check(config, finished)
    except ValueError as error:
        raise _refused(path, error) from None
    return config


def read_hyperparameters(config: Mapping[str, Any], path: Path) -> TrainingHyperparameters:
    """Returns the hyperparameters that a config holds.

    Raises:
        ModelFormatError: one is missing, unknown or out of its range.
    """
    try:
        return _hyperparameters(config["hyperparameters"], config["method"])
    except ValueError as error:
        raise _refused(path, error) from None


def read_columns(config: Mapping[str, Any]) -> Columns:
    """Returns what a config from `read_config` says of the table's columns."""
    return strict_json.convert_fields(config["data"]["columns"], Columns)


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file of a run's folder that holds one object.

    Raises:
        ModelFormatError: it is missing, cannot be read, or is something else.
    """
    try:
        data = strict_json.read(path)
    except FileNotFoundError as error:
        raise ModelFormatError(f"{path}: the file is missing") from error
    except (ValueError, OSError) as error:
        raise ModelFormatError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(data, dict):
        raise ModelFormatError(f"{path}: not a JSON object")
    return data


def _check(config: dict[str, Any], finished: bool) -> None:
    said = strict_json.convert(config, _Config)
    if said.method not in names():
        raise ValueError(
            f"method is {said.method!r:.80}, not one of {', '.join(names())}; a method of another "
            "package comes with that package, installed here, or with --use FILE.py"
        )
    hyperparameters = _hyperparameters(said.hyperparameters, said.method)
    _target(said.target, hyperparameters)
    _fields(said.data.columns, Columns, "data.columns")
    _results(said.result, TrainResult, "result", finished and said.imported is UNSET)
    if isinstance(said.sweep, _Sweep):
        _hyperparameters(said.sweep.hyperparameters, said.method, "sweep.hyperparameters")
        _results(said.sweep.result, SweepResult, "sweep.result", finished)


def _target(values: dict[str, Any] | UnsetType, hyperparameters: TrainingHyperparameters) -> None:
    """Checks that there is a target where one is predicted, and of that kind."""
    if (values is UNSET) != (hyperparameters.predicts is None):
        raise ValueError(f"target: missing, or too many for {hyperparameters.name}")
    if values is UNSET:
        return
    target = target_from_json(values)
    labels = len(target.labels) if isinstance(target, Classes) else None
    predicted = "numbers" if labels is None else "classes"
    if predicted != hyperparameters.predicts or labels != getattr(hyperparameters, "classes", None):
        raise ValueError(f"target: not what {hyperparameters.name} of these classes predicts")


def _results(values: Any, kind: type, place: str, needed: bool) -> None:
    if values is not UNSET:
        _fields(values, kind, place)
    elif needed:
        raise ValueError(f"Object missing required field `{place}`")


def _hyperparameters(
    values: Any, method: str, place: str = "hyperparameters"
) -> TrainingHyperparameters:
    made = _fields(values, hyperparameters_of(method), place)
    try:
        check(made)
    except ValueError as error:
        raise ValueError(f"{place}: {error!s:.200}") from None
    return made


def _fields(values: Any, kind: type[_T], place: str) -> _T:
    try:
        return strict_json.convert_fields(values, kind)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _refused(path: Path, error: ValueError) -> ModelFormatError:
    return ModelFormatError(
        f"{path / CONFIG}: {error}; not what this version of jaxrep writes: train, or import, again"
    )
