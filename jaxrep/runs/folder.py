"""A run's folder: what it holds, when it counts as finished, and reading it back with suspicion.

`manifest.json` holds the digests of the other files and is written last: a folder without it is
unfinished. Nothing in a folder executes when it is read, and what is read is checked against its
digest, its schema and the shapes that its hyperparameters imply.
"""

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from msgspec import UNSET, UnsetType

from jaxrep import files, strict_json
from jaxrep.batch import Batch, RowSpec
from jaxrep.data.schema import Schema
from jaxrep.data.store.row_file import is_prepared
from jaxrep.data.targets import Target, target_from_json
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.inference import map_rows
from jaxrep.methods import AnyMethod, abstract_network, make
from jaxrep.networks import shapes_like
from jaxrep.reasons import shapes as reasons_shapes
from jaxrep.runs.configuration import CONFIG as CONFIG
from jaxrep.runs.configuration import SCHEMA_VERSION as SCHEMA_VERSION
from jaxrep.runs.configuration import read_config, read_hyperparameters, read_object
from jaxrep.runs.rows import row_spec
from jaxrep.training import EpochMetrics, checkpoint
from jaxrep.training.history import read_metrics

SCHEMA, MODEL, METRICS = "schema.json", "model.safetensors", "metrics.jsonl"
REASONS = "reasons.safetensors"  # what explanations need to know of the training rows
LAST = "last.safetensors"  # the weights after the last step, where MODEL holds an earlier epoch's
CONTENT = (CONFIG, SCHEMA, MODEL, METRICS)
MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"
PLOTS = LOSS_PLOT, EMBEDDING_PLOT = "plots/loss.png", "plots/embedding.png"
REPORT = "report.html"
KEPT_SCORES = ("score_quantiles", "calibration_scores")  # in CONFIG, of the weights that it serves
SWEEP_TABLE, MEMBERS = "sweep.parquet", "members"  # of a sweep, whose best run the folder holds
MAX_METRICS_BYTES = 1 << 27  # a million epochs and more

State = Literal["absent", "unrecognised", "unfinished", "finished"]


class _Digests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    config: str = msgspec.field(name=CONFIG)
    schema: str = msgspec.field(name=SCHEMA)
    model: str = msgspec.field(name=MODEL)
    metrics: str = msgspec.field(name=METRICS)
    last: str | UnsetType = msgspec.field(name=LAST, default=UNSET)
    reasons: str | UnsetType = msgspec.field(name=REASONS, default=UNSET)


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    sha256: _Digests


@dataclass(frozen=True)
class Run:
    """A finished run, read and verified."""

    path: Path
    """The folder."""

    method: AnyMethod
    """The method with its hyperparameters."""

    weights: dict[str, np.ndarray]
    """All weights of the method's network, by name."""

    schema: Schema
    """From table to features and back."""

    config: dict[str, Any]
    """What `config.json` says: data, versions, device, results."""

    history: list[EpochMetrics]
    """The metrics of every epoch."""

    last_weights: dict[str, np.ndarray] | None = None
    """Those after the last step, where `weights` are of an earlier epoch."""

    target: Target | None = None
    """What the network predicts, where it does."""

    reasons: dict[str, np.ndarray] | None = None
    """What `jaxrep.reasons` needs to know of the training rows, where the network can be asked for
    reasons; of an imported run nothing is known. Of the weights that the run serves."""

    @property
    def rows(self) -> RowSpec:
        """What every row of features holds."""
        return row_spec(self.schema, self.method.hyperparameters)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all that the network can be asked for, of `jaxrep.outputs.OUTPUTS`."""
        return self.method.network_type.outputs

    def map(self, output: str, x: np.ndarray | Batch, *, part: int = 0) -> Any:
        """Computes an output of the trained network.

        Args:
            output: its name, of `outputs`.
            x: rows of features, of which those of numbers alone may be a matrix; or embeddings or
                draws, as the output takes them, `[N, ...]`.
            part: which of the output's arrays comes back.

        Returns:
            One result for each row, a NumPy array; of outputs that give rows, a batch of them. A
            score that float32 cannot hold is infinite, never NaN.
        """
        made = map_rows(self.method, output, self.weights, x, self.rows, part=part)
        if output == "score":  # ∞ − ∞, of a row too far away: NaN would count as normal
            made[np.isnan(made)] = np.inf
        return made


def state(path: Path) -> State:
    """Says what a path holds: nothing, someone else's files, or a run and how far it got.

    Args:
        path: of the folder.

    Example:
        >>> import tempfile
        >>> state(Path(tempfile.mkdtemp()))
        'absent'
    """
    if not os.path.exists(path):  # False, unlike Path.exists, where the name is too long
        return "absent"
    if not path.is_dir():
        return "unrecognised"
    if not (_is_ours(path / MANIFEST, "sha256") or _is_ours(path / CONFIG, "hyperparameters")):
        # A run that was killed before it began may have left a large table's rows.
        others = [entry for entry in path.iterdir() if not is_prepared(entry)]
        return "unrecognised" if others else "absent"
    return "finished" if (path / MANIFEST).exists() else "unfinished"


def begin(path: Path, config: Mapping[str, Any], schema: Schema) -> None:
    """Makes the folder, or empties it of an earlier run, and writes what is known before training.

    Args:
        path: of the folder; its parents are made too.
        config: everything but the results.
        schema: fitted on the training rows.

    Raises:
        InputError: the folder cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # In this order the folder is at no moment a finished run, nor someone else's.
        (path / MANIFEST).unlink(missing_ok=True)
        checkpoint.remove(path / CHECKPOINTS)
        files.write_text(path / CONFIG, strict_json.dumps(config))
        for name in (MODEL, LAST, REASONS, *PLOTS, REPORT, SWEEP_TABLE):
            (path / name).unlink(missing_ok=True)
        _remove_members(path / MEMBERS)
        files.write_text(path / SCHEMA, strict_json.dumps(schema.to_json()))
        write_metrics(path, [])
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Makes the folder where there is none, and holds it for one process.

    Raises:
        InputError: the folder cannot be made, or another process is training into it.
    """
    is_new = not os.path.exists(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error
    try:
        with files.locked(path, f"--out {path}: another process is training into this folder"):
            yield
    finally:
        if is_new:
            _remove_if_empty(path)


def ask_for_more(path: Path, **length: int) -> None:
    """Makes a run unfinished again, with more epochs or steps to train.

    Args:
        path: of the folder of a run, finished or not.
        **length: `epochs` or `steps` in all, those that are done included.
    """
    config = read_config(path)
    config["hyperparameters"] |= length
    for key in ("result", *KEPT_SCORES, "last"):
        config.pop(key, None)
    (path / MANIFEST).unlink(missing_ok=True)
    files.write_text(path / CONFIG, strict_json.dumps(config))


def write_metrics(path: Path, epochs: Iterable[EpochMetrics]) -> None:
    """Writes `metrics.jsonl` anew."""
    files.write_text(path / METRICS, "".join(map(_line, epochs)))


def append_metrics(path: Path, *epochs: EpochMetrics) -> None:
    """Adds epochs to `metrics.jsonl`."""
    with (path / METRICS).open("a", encoding="utf-8") as file:
        file.writelines(map(_line, epochs))


def finish(
    path: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    last_weights: Mapping[str, np.ndarray] | None = None,
    reasons: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes the weights and the results, and last the manifest that makes the run finished.

    Args:
        path: of the folder.
        config: with the results.
        weights: all weights of the model, by name.
        last_weights: those after the last step, where they are others.
        reasons: as of `Run.reasons`.
    """
    for name in (LAST, REASONS):
        (path / name).unlink(missing_ok=True)
    arrays_of = {MODEL: weights, LAST: last_weights, REASONS: reasons}
    written = {name: arrays for name, arrays in arrays_of.items() if arrays is not None}
    for name, arrays in written.items():
        # safetensors 0.8.0 writes an array that is not in C order with wrong values.
        ordered = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        with files.replacing(path / name) as temporary:
            safetensors.numpy.save_file(ordered, temporary)
    files.write_text(path / CONFIG, strict_json.dumps(config))
    names = dict.fromkeys((*CONTENT, *written))
    digests = {name: files.sha256(path / name) for name in names}
    manifest = {"schema_version": SCHEMA_VERSION, "sha256": digests}
    files.write_text(path / MANIFEST, strict_json.dumps(manifest))


def load(path: Path) -> Run:
    """Reads a finished run.

    Args:
        path: of the folder.

    Returns:
        The run; its weights have the names and shapes that its hyperparameters imply.

    Raises:
        ModelFormatError: there is no finished run, a file is missing or changed, or what it says
            cannot be.
    """
    match state(path):
        case "absent" | "unrecognised":
            raise ModelFormatError(
                f"{path}: not a run folder; `jaxrep train … --out RUN` makes one"
            )
        case "unfinished":
            raise ModelFormatError(
                f"{path}: the training has not finished; the same `jaxrep train` or `jaxrep sweep` "
                "command continues it, and `jaxrep resume RUN --finish-now` makes a run of what "
                "there is"
            )
    verified = _verify(path)
    config = read_config(path, finished=True)
    if ("last" in config) != (LAST in verified):
        raise ModelFormatError(f"{path / LAST}: {CONFIG} and {MANIFEST} differ in whether it is")
    method = make(read_hyperparameters(config, path))
    schema = Schema.from_json(read_object(path / SCHEMA))
    rows = row_spec(schema, method.hyperparameters)
    weights = _read_weights(path / MODEL, method, rows)
    last = _read_weights(path / LAST, method, rows) if "last" in config else None
    history = _read_history(path / METRICS, may_be_empty="imported" in config)
    target = target_from_json(config["target"]) if "target" in config else None
    known = _read_reasons(path / REASONS, rows) if REASONS in verified else None
    return Run(path, method, weights, schema, config, history, last, target, known)


def _remove_members(path: Path) -> None:
    """Removes the runs that an earlier sweep has saved, and nothing else."""
    for member in path.glob("[0-9]*"):
        if state(member) in ("finished", "unfinished"):
            for name in (MANIFEST, MODEL, LAST, REASONS, METRICS, SCHEMA, *PLOTS, REPORT, CONFIG):
                (member / name).unlink(missing_ok=True)
            for folder in (member / "plots", member):
                _remove_if_empty(folder)
    _remove_if_empty(path)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _verify(path: Path) -> set[str]:
    """Checks the digests of a run's files, and returns their names."""
    data = read_object(path / MANIFEST)
    try:
        manifest = strict_json.convert(data, _Manifest)
    except ValueError as error:
        raise ModelFormatError(
            f"{path / MANIFEST}: {error}; not what this version of jaxrep writes: train again"
        ) from None
    digests: dict[str, str] = msgspec.to_builtins(manifest.sha256)
    for name, digest in digests.items():
        if not (path / name).is_file():
            raise ModelFormatError(f"{path / name}: the file is missing")
        if files.sha256(path / name) != digest:
            raise ModelFormatError(
                f"{path / name}: the file is not what the manifest says; damaged?"
            )
    return set(digests)


def _read_weights(path: Path, method: AnyMethod, rows: RowSpec) -> dict[str, np.ndarray]:
    network = abstract_network(method, rows)
    return _read_arrays(path, lambda found: shapes_like(network, found))


def _read_reasons(path: Path, rows: RowSpec) -> dict[str, np.ndarray]:
    arrays = _read_arrays(path, lambda _: reasons_shapes(rows))
    for name in arrays.keys() & {"df", "scale", "shares"}:
        if not (arrays[name] > 0).all():
            raise ModelFormatError(f"{path}: {name} holds numbers that are not above 0; damaged?")
    return arrays


def _read_arrays(
    path: Path, shapes: Callable[[dict[str, tuple[int, ...]]], dict[str, tuple[int, ...]]]
) -> dict[str, np.ndarray]:
    """Reads finite float32 arrays, of the shapes that those found there ought to have."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (s.get_dtype(), *s.get_shape()) for name, s in slices.items()}
            asked = shapes({name: each[1:] for name, each in found.items()})
            expected = {name: ("F32", *shape) for name, shape in asked.items()}
            if found != expected:
                odd = sorted(n for n in found | expected if found.get(n) != expected.get(n))
                raise ModelFormatError(
                    f"{path}: other arrays than the configuration implies: {', '.join(odd):.500}"
                )
            arrays = {name: file.get_tensor(name) for name in expected}
    except safetensors.SafetensorError as error:
        raise ModelFormatError(f"{path}: not a safetensors file ({error!s:.200})") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelFormatError(f"{path}: {name} holds numbers that are not finite; damaged?")
    return arrays


def _read_history(path: Path, *, may_be_empty: bool) -> list[EpochMetrics]:
    try:
        lines = strict_json.read_bytes(path, MAX_METRICS_BYTES)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from None
    history = []
    for number, line in enumerate(io.BytesIO(lines), start=1):
        try:
            history.append(read_metrics(line))
        except ValueError as error:
            raise ModelFormatError(
                f"{path}: line {number} is not the metrics of an epoch: {error}"
            ) from None
    if not history and not may_be_empty:
        raise ModelFormatError(f"{path}: there are no metrics in it")
    return history


def _is_ours(path: Path, key: str) -> bool:
    """Says whether a JSON file looks like one that a run has, and no one else."""
    try:
        return {"schema_version", key} <= read_object(path).keys()
    except ModelFormatError:
        return False


def _line(metrics: EpochMetrics) -> str:
    return json.dumps(metrics, allow_nan=False) + "\n"
