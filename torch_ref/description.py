"""What a file of a trained model says of it, and the checks before anything is built from that."""

import io
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from torch_ref.hyperparameters import BY_METHOD, TrainingHyperparameters, check
from torch_ref.methods import METHODS
from torch_ref.weights import shapes

SCHEMA_VERSION = 1
_MAX_VALUES = 1 << 24  # golden rows of thousands of columns; together they take about 1 GB
_MAX = sys.float_info.max
_LONGEST_MESSAGE = 300

_T = TypeVar("_T")
_Plain = str | int | float | bool | None
_Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]


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


class _Numeric(msgspec.Struct, tag_field="kind", tag="numeric", forbid_unknown_fields=True):
    name: str
    mean: _Finite
    scale: Annotated[float, Meta(gt=0, le=_MAX)]
    fill: _Finite | None


class _Categorical(msgspec.Struct, tag_field="kind", tag="categorical", forbid_unknown_fields=True):
    name: str
    categories: Annotated[list[str], Meta(min_length=1)]
    impute: bool

    def __post_init__(self) -> None:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category stands there twice")


class _Preprocessing(msgspec.Struct, forbid_unknown_fields=True):
    columns: Annotated[list[_Numeric | _Categorical], Meta(min_length=1)]
    # What follows is for `jaxrep import`, which needs all of it.
    schema_version: Literal[1] = 1
    label: str | None = None
    id_column: str | None = None
    na_values: list[str] = []


class _Quantiles(msgspec.Struct, forbid_unknown_fields=True):
    levels: list[float]
    scores: list[float]


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """What a file may say of its model; of a model trained here, `history` and so on are absent."""

    schema_version: Literal[1]
    method: str
    hyperparameters: dict[str, _Plain | list[_Plain | list[_Plain]]]  # a message may quote these
    preprocessing: dict[str, Any]
    tensors: dict[str, str] = {}
    sha256: dict[str, str] = {}
    history: list[dict[str, float]] = []
    versions: dict[str, str] = {}
    run: str = ""
    outputs: list[str] = []
    golden: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    score_quantiles: _Quantiles | msgspec.UnsetType = msgspec.UNSET
    score_threshold: float | msgspec.UnsetType = msgspec.UNSET
    jax_errors: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


def read_description(data: bytes | str) -> dict[str, Any]:
    """Returns what a file says of its model.

    Args:
        data: JSON, as `meta.json` has it.

    Raises:
        FileFormatError: it describes no file of ours, or one of another version, or no model; the
            message names the key.
    """
    try:
        meta: dict[str, Any] = read_json(data)
        _convert(meta, _Description)
    except ValueError as error:
        raise FileFormatError(
            f"the description is not one that this version of jaxrep writes: {error}; export the "
            "model again"
        ) from error
    check_description(meta)
    return meta


def read_json(data: bytes | str) -> Any:
    """Returns what JSON from an untrusted file says.

    Raises:
        ValueError: it is not JSON in UTF-8, holds NaN or a number beyond float64, is nested more
            deeply than can be followed, or has more than 2²⁴ commas and brackets.
    """
    text = data.encode("utf-8") if isinstance(data, str) else data
    if sum(map(text.count, b",[{")) > _MAX_VALUES:
        raise ValueError(f"it holds more than {_MAX_VALUES} values")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("it has too many levels of arrays and objects") from None


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
    try:
        _convert(description.get("preprocessing"), _Preprocessing)
    except ValueError as error:
        raise FileFormatError(f"preprocessing: {error}") from error


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


def _convert(data: Any, kind: type[_T]) -> _T:
    """Returns plain data as a type of msgspec, or raises a ValueError of bounded length."""
    try:
        return msgspec.convert(data, kind)
    except ValueError as error:
        message = str(error)
    if len(message) > _LONGEST_MESSAGE:  # it quotes names and values, and ends with the place
        message = f"{message[: _LONGEST_MESSAGE // 2]} … {message[-_LONGEST_MESSAGE // 2 :]}"
    raise ValueError(message)


def _is_held(tensor: Tensor) -> bool:
    """Says whether a tensor has memory of its own for all that it promises."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
