"""What a file of a trained model says of it, and the checks before anything is built from that."""

import io
import json
import math
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref.hyperparameters import BY_METHOD, TrainingHyperparameters, check
from torch_ref.methods import METHODS
from torch_ref.weights import shapes

SCHEMA_VERSION = 1
_MAX_DEPTH = 64
_MAX_VALUES = 1 << 24  # golden rows of thousands of columns; together they take about 1 GB
_KINDS: dict[str, type] = {
    "tensors": dict,
    "sha256": dict,
    "history": list,
    "versions": dict,
    "score_quantiles": dict,
}


class FileFormatError(ValueError):
    """A file is not one of ours, or not what it says it is."""


@dataclass(frozen=True)
class Contents:
    """A file that was read, and whose digests hold."""

    module: Any
    """A served model; of a graph, a function from rows to outputs by name."""

    meta: dict[str, Any]
    """The description."""

    golden: dict[str, Tensor]
    """Rows and expected outputs by name; empty where a file carries none."""

    is_graph: bool = False
    """Whether the file holds one function of rows that gives all outputs."""


def read_description(data: bytes | str) -> dict[str, Any]:
    """Returns what a file says of its model.

    Args:
        data: JSON, as `meta.json` has it.

    Raises:
        FileFormatError: it describes no file of ours, or one of another version, or no model.
    """
    try:
        meta = read_json(data)
    except ValueError as error:
        raise FileFormatError(f"the description is not one of jaxrep's: {error}") from error
    version = meta.get("schema_version") if isinstance(meta, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"the description is of schema_version {version!r:.40}; this reads {SCHEMA_VERSION}"
        )
    for key, kind in _KINDS.items():
        if not isinstance(meta.get(key, kind()), kind):
            raise FileFormatError(f"the description's {key} is no {kind.__name__}")
    check_description(meta)
    return dict(meta)


def read_json(data: bytes | str) -> Any:
    """Returns what JSON from a stranger says.

    Raises:
        ValueError: it is no JSON, holds NaN or a number beyond float64, more than 64 levels of
            arrays and objects, or more than 2²⁴ commas and brackets.
    """
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    if sum(map(text.count, ",[{")) > _MAX_VALUES:
        raise ValueError(f"it holds more than {_MAX_VALUES} values")
    try:
        made = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_number, parse_int=_whole
        )
    except RecursionError:
        raise ValueError(f"it has more than {_MAX_DEPTH} levels") from None
    level = [made]
    for _ in range(_MAX_DEPTH + 1):
        nested = [value for value in level if isinstance(value, dict | list)]
        level = [v for x in nested for v in (x.values() if isinstance(x, dict) else x)]
    if level:
        raise ValueError(f"it has more than {_MAX_DEPTH} levels")
    return made


def check_description(description: Mapping[str, Any]) -> None:
    """Checks that a model can be built from a description.

    Raises:
        FileFormatError: names the first of method, hyperparameters and columns that cannot be.

    Example:
        >>> check_description({"method": "pca"})
        Traceback (most recent call last):
        ...
        torch_ref.description.FileFormatError: method is 'pca', not autoencoder, vae, simclr
    """
    read_hyperparameters(description)
    preprocessing = description.get("preprocessing")
    columns = preprocessing.get("columns") if isinstance(preprocessing, Mapping) else None
    if not isinstance(columns, list) or not columns:
        raise FileFormatError("preprocessing.columns is no list of columns")
    for i, column in enumerate(columns):
        _check_column(column, f"preprocessing.columns[{i}]")


def read_hyperparameters(description: Mapping[str, Any]) -> TrainingHyperparameters:
    """Returns the hyperparameters that a description holds, and the defaults of all others.

    Files are older than hyperparameters that came later, so one that is absent is no error.

    Raises:
        FileFormatError: one is unknown or out of its range.
    """
    method, values = description.get("method"), description.get("hyperparameters")
    if not isinstance(method, str) or method not in BY_METHOD:
        raise FileFormatError(f"method is {method!r:.40}, not {', '.join(BY_METHOD)}")
    if not isinstance(values, Mapping):
        raise FileFormatError("hyperparameters are missing, or no object")
    names = {field.name for field in fields(BY_METHOD[method])}
    if unknown := [name for name in values if name not in names]:
        raise FileFormatError(f"hyperparameters.{unknown[0]:.40} is not known")
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value  # JSON has no tuples
        for name, value in values.items()
    }
    made = BY_METHOD[method](**given)
    try:
        check(made)
    except (ValueError, OverflowError) as error:
        raise FileFormatError(f"hyperparameters: {error!s:.200}") from error
    return made


def described_model(description: Mapping[str, Any]) -> nn.Module:
    """Returns the network that a description speaks of, on the device `meta`.

    It has shapes and no memory, since a description may speak of more than any memory holds.

    Raises:
        FileFormatError: as `check_description`.
    """
    check_description(description)
    columns = description["preprocessing"]["columns"]
    width = sum(1 if c["kind"] == "numeric" else len(c["categories"]) + 1 for c in columns)
    method = METHODS[description["method"]](read_hyperparameters(description))
    with torch.device("meta"):
        model: nn.Module = method.init_model(width, torch.Generator())
    return model


def check_weights(model: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Checks that weights by jaxrep's names are all those of a model, in float32.

    Args:
        model: from `described_model`.
        weights: by jaxrep's names.

    Raises:
        FileFormatError: names the first that is missing, unknown, or of another shape or dtype.
    """
    expected = shapes(model)
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise FileFormatError(f"the weight {name} is missing")
        if name not in expected:
            raise FileFormatError(f"{name:.80} is no weight of the model that is described")
        found = weights[name]
        if found.shape != expected[name] or found.dtype != np.float32:
            raise FileFormatError(
                f"{name} is {found.dtype} of shape {found.shape}; the model that is described has "
                f"float32 of shape {expected[name]}"
            )


def read_golden(golden: Any) -> dict[str, Tensor]:
    """Returns golden rows and outputs as tensors of float64.

    Args:
        golden: nested lists of numbers by name, as JSON has them; null is NaN.

    Raises:
        FileFormatError: names what is no array of numbers.
    """
    if not isinstance(golden, dict):
        raise FileFormatError("the golden rows are no object")
    tensors = {}
    for name, values in golden.items():
        try:
            tensors[name] = torch.from_numpy(np.array(values, np.float64))
        except (ValueError, TypeError, OverflowError) as error:
            raise FileFormatError(f"golden {name!r:.40} is no array of numbers") from error
    return tensors


def read_tensors(data: bytes) -> dict[str, Any]:
    """Returns tensors by name as torch.save writes them; nothing in the data is run.

    Raises:
        FileFormatError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, warnings.catch_warnings():
            size = sum(info.file_size for info in archive.infolist())
            warnings.simplefilter("ignore")  # what they warn of, the error says
            # A file of torch.save compresses nothing: one that does could fill any memory.
            tensors = torch.load(io.BytesIO(data), weights_only=True) if size <= len(data) else None
    except Exception as error:  # pickle, zipfile and torch raise half a dozen kinds
        raise FileFormatError("not tensors as torch.save writes them, or damaged") from error
    if not isinstance(tensors, dict):
        raise FileFormatError("no dictionary of tensors")
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not _is_held(tensor):
            raise FileFormatError(f"{name!r:.40} promises more than the file holds")
    return tensors


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which JSON has not")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds a number beyond float64: {text:.40}")
    return value


def _whole(text: str) -> int:
    _number(text)  # before int(), which takes time that grows with the square of the digits
    return int(text)


def _is_held(tensor: Tensor) -> bool:
    """Says whether a tensor has memory of its own for all that it promises."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _check_column(column: Any, place: str) -> None:
    kind = column.get("kind") if isinstance(column, Mapping) else None
    if not isinstance(kind, str) or kind not in _COLUMNS:
        raise FileFormatError(f"{place}.kind is {kind!r:.40}, not {' or '.join(_COLUMNS)}")
    for key, (is_right, wanted) in _COLUMNS[kind].items():
        if key not in column:
            raise FileFormatError(f"{place}.{key} is missing")
        if not is_right(column[key]):
            raise FileFormatError(f"{place}.{key} is {column[key]!r:.40}; it must be {wanted}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # false for NaN, and no overflow for 10⁴⁰⁰


def _are_categories(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(map(_is_text, value)):
        return False
    return len(set(value)) == len(value)


_COLUMNS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "numeric": {
        "name": (_is_text, "a text"),
        "mean": (_is_number, "a finite number"),
        "scale": (lambda value: _is_number(value) and value > 0, "a finite number above 0"),
        "fill": (lambda value: value is None or _is_number(value), "a finite number or null"),
    },
    "categorical": {
        "name": (_is_text, "a text"),
        "categories": (_are_categories, "a list of different texts"),
        "impute": (lambda value: isinstance(value, bool), "true or false"),
    },
}
