"""What a file of a trained model says of it, and the checks before anything is built from that."""

import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from torch_ref import methods
from torch_ref.batch import FIRST_SPIKE, RowSpec
from torch_ref.members import init_members
from torch_ref.networks import Network
from torch_ref.outputs import OUTPUTS
from torch_ref.weights import shapes

SCHEMA_VERSION = 1
_MAX_VALUES = 1 << 24  # golden rows of thousands of columns; together they take about 1 GB
_MAX = sys.float_info.max
_LONGEST_MESSAGE = 300
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_MAX_SIZE = 1 << 20  # of layers and the like
_MAX_COUNT = 1 << 32  # of epochs, rows and seeds
_MAX_ENTRIES = 64
_MAX_CLASSES = 1000
_MAX_QUANTILES, _MAX_SPIKES = 1000, 64

_T = TypeVar("_T")
_Plain = str | int | float | bool | None
_Value = _Plain | list[_Plain | list[_Plain]]
_Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]
_Scale = Annotated[float, Meta(gt=0, le=_MAX)]
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


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


class _Standard(
    msgspec.Struct, frozen=True, tag_field="kind", tag="standard", forbid_unknown_fields=True
):
    pass


class _Robust(
    msgspec.Struct, frozen=True, tag_field="kind", tag="robust", forbid_unknown_fields=True
):
    pass


class _Log1p(
    msgspec.Struct, frozen=True, tag_field="kind", tag="log1p", forbid_unknown_fields=True
):
    pass


_Knots = Annotated[list[_Finite], Meta(min_length=2, max_length=_MAX_QUANTILES)]


class _Quantile(msgspec.Struct, tag_field="kind", tag="quantile", forbid_unknown_fields=True):
    values: _Knots
    scores: _Knots
    is_complete: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != len(self.scores):
            raise ValueError("values and scores are not pairs")
        for knots in (self.values, self.scores):
            if any(not a < b for a, b in pairwise(knots)):
                raise ValueError("values or scores that do not ascend")


class _Spikes(_Quantile, kw_only=True, tag_field="kind", tag="spikes", forbid_unknown_fields=True):
    spikes: Annotated[list[_Finite], Meta(min_length=1, max_length=_MAX_SPIKES)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not a < b for a, b in pairwise(self.spikes)):
            raise ValueError("spikes that do not ascend")
        if not abs(self.scores[0]) < FIRST_SPIKE - 1 > abs(self.scores[-1]):
            raise ValueError("scores where spikes stand")


_Scaling = _Standard | _Robust | _Log1p | _Quantile | _Spikes


class _Numeric(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    mean: _Finite
    scale: _Scale
    fill: _Finite | None
    has_gaps: bool = False
    why: str = ""
    stored: str = "double"
    refuses: bool = False
    likelihood: Literal["squared", "gaussian", "bernoulli", "poisson"] | None = None
    scaling: _Scaling = _Standard()

    def __post_init__(self) -> None:
        kind = type(self)
        if self.likelihood == "bernoulli" and kind is not _Boolean:
            raise ValueError("bernoulli is for booleans")
        is_standard = isinstance(self.scaling, _Standard)
        if self.likelihood == "poisson" and not (kind is _Count and is_standard):
            raise ValueError("poisson is for counts on the scale standard")
        if kind is _Boolean and not is_standard:
            raise ValueError("a boolean is always standard")


class _Number(_Numeric, tag_field="kind", tag="number"):
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""


class _Count(_Number, tag_field="kind", tag="count"):
    pass


class _Boolean(_Numeric, tag_field="kind", tag="boolean"):
    pass


class _Datetime(_Numeric, tag_field="kind", tag="datetime"):
    format: str | None = None
    zoned: bool = False


class _Duration(_Numeric, tag_field="kind", tag="duration"):
    pass


class _Category(msgspec.Struct, tag_field="kind", tag="category", forbid_unknown_fields=True):
    name: str
    levels: Annotated[list[str], Meta(min_length=1)]
    has_gaps: bool
    fill: str | None = None
    why: str = ""
    stored: str = "string"
    refuses: bool = False
    merged: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if len(set(self.levels)) < len(self.levels):
            raise ValueError("a level stands there twice")
        if self.fill is not None and self.fill not in self.levels:
            raise ValueError("what fills gaps is no level")


class _LeftOut(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: Literal["id", "text", "constant", "dropped"]
    why: str
    value: _Finite | None = None


_Column = _Number | _Count | _Boolean | _Datetime | _Duration | _Category


class _Schema(msgspec.Struct, forbid_unknown_fields=True):
    columns: Annotated[list[_Column], Meta(min_length=1)]
    # What follows is for `jaxrep import`, which needs all of it.
    schema_version: Literal[3] = 3
    left_out: list[_LeftOut] = []
    label: str | None = None
    missing: list[str] = []
    marks: list[str] = []


class _Classes(msgspec.Struct, tag_field="kind", tag="classes", forbid_unknown_fields=True):
    name: str
    labels: Annotated[
        list[str | bool | _Int64 | _Finite], Meta(min_length=2, max_length=_MAX_CLASSES)
    ]

    def __post_init__(self) -> None:
        if len({type(label) for label in self.labels}) > 1:
            raise ValueError("labels of more than one type")
        if any(not a < b for a, b in zip(self.labels, self.labels[1:], strict=False)):  # type: ignore[operator]
            raise ValueError("labels that are not in ascending order")


class _Numbers(msgspec.Struct, tag_field="kind", tag="numbers", forbid_unknown_fields=True):
    name: str
    mean: _Finite
    scale: _Scale


class _Predicting(msgspec.Struct):
    target: _Classes | _Numbers


class _Quantiles(msgspec.Struct, forbid_unknown_fields=True):
    levels: list[float]
    scores: list[float]


class _Method(msgspec.Struct, forbid_unknown_fields=True):
    """A method as a hyperparameter of another."""

    method: str
    hyperparameters: dict[str, _Value]


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """What a file may say of its model; of a model trained here, `history` and so on are absent."""

    schema_version: Literal[1]
    method: str
    hyperparameters: dict[str, _Value | _Method]  # a message may quote these
    schema: dict[str, Any]
    target: _Classes | _Numbers | msgspec.UnsetType = msgspec.UNSET
    tensors: dict[str, str] = {}
    sha256: dict[str, str] = {}
    history: list[dict[str, float]] = []
    versions: dict[str, str] = {}
    run: str = ""
    outputs: list[str] | msgspec.UnsetType = msgspec.UNSET
    golden: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    score_quantiles: _Quantiles | msgspec.UnsetType = msgspec.UNSET
    calibration_scores: list[float] | msgspec.UnsetType = msgspec.UNSET
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
            deeply than can be followed, or has more than 2²⁴ commas and brackets outside of
            strings.
    """
    text = data.encode("utf-8") if isinstance(data, str) else data
    if _count_values(text) > _MAX_VALUES and _count_values(_STRING.sub(b"", text)) > _MAX_VALUES:
        raise ValueError(f"it holds more than {_MAX_VALUES} values")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("it has too many levels of arrays and objects") from None


def _count_values(text: bytes) -> int:
    return sum(map(text.count, b",[{"))


def check_description(description: Mapping[str, Any]) -> None:
    """Checks what a description says of its network, as far as its method is known here.

    Args:
        description: plain data; `method`, `hyperparameters` and `schema` at least.

    Raises:
        FileFormatError: names the first of hyperparameters, outputs, target and columns that cannot
            be.

    Example:
        >>> check_description({"method": "pca", "hyperparameters": {"epochs": 1 << 40}})
        Traceback (most recent call last):
        ...
        torch_ref.description.FileFormatError: hyperparameters.epochs is beyond 4294967296
    """
    method = description.get("method")
    if not isinstance(method, str):
        raise FileFormatError(f"method is {method!r:.40}; it must be a name")
    _check_bounds(description.get("hyperparameters"))
    if method in methods.names():
        _check_hyperparameters(method, description["hyperparameters"])
    if "outputs" in description:
        _check_target(description, check_outputs(description["outputs"]))
    try:
        _convert(description.get("schema"), _Schema)
    except ValueError as error:
        raise FileFormatError(f"schema: {error}") from error


def check_outputs(outputs: object) -> tuple[str, ...]:
    """Returns the outputs that a file declares, all of which are in the vocabulary.

    Raises:
        FileFormatError: one is unknown or there twice, or `embed` or `score` is missing.

    Example:
        >>> check_outputs(["embed", "score", "project"])
        ('embed', 'score', 'project')
    """
    if not isinstance(outputs, list):
        raise FileFormatError("the description does not say which outputs there are")
    for i, name in enumerate(outputs):
        if name not in OUTPUTS or name in outputs[:i]:
            raise FileFormatError(
                f"outputs[{i}] is {name!r:.40}; it must be one of {', '.join(OUTPUTS)}, each once"
            )
    for name in ("embed", "score"):
        if name not in outputs:
            raise FileFormatError(f"outputs must have {name} among them")
    return tuple(outputs)


def described_network(description: Mapping[str, Any]) -> Network:
    """Returns the network that a description speaks of, on the device `meta`.

    It has shapes and no memory, since a description may speak of more than any memory holds.

    Raises:
        FileFormatError: as `check_description`; or the method is not known here, or its network
            cannot be built or has other outputs.
    """
    check_description(description)
    rows = row_spec(
        description["schema"]["columns"], likelihood=_likelihood(description["hyperparameters"])
    )
    try:
        methods.get(description["method"])
    except ValueError as error:
        raise FileFormatError(str(error)) from error
    try:
        method = methods.make(description["method"], description["hyperparameters"])
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # layers without units, for one: an error will follow
            network = init_members(method, rows, torch.Generator())
    except Exception as error:  # also of code that is not ours
        raise FileFormatError(f"the network that is described cannot be built: {error}") from error
    if tuple(description.get("outputs", network.outputs)) != network.outputs:
        raise FileFormatError(
            f"outputs are not those of the network that is described: {', '.join(network.outputs)}"
        )
    _check_target(description, network.outputs)
    return network


def row_spec(
    columns: Sequence[Mapping[str, Any]], *, likelihood: str | None = "squared"
) -> RowSpec:
    """Returns what every row of a table holds.

    Args:
        columns: of its schema, as JSON has them.
        likelihood: of the numbers whose columns name none: `squared`, or `by_kind`, which is
            `bernoulli` of a boolean and `gaussian` of any other number. None for a method that
            compares no numbers, whose rows name no likelihoods.

    Example:
        >>> age = {"kind": "number", "has_gaps": True, "fill": None}
        >>> sex = {"kind": "category", "levels": ["f", "m"], "has_gaps": False}
        >>> row_spec([sex, age])
        RowSpec(numbers=1, levels=(3,), gaps=(True, False), likelihoods=(), spikes=())
    """
    numeric = [column for column in columns if column["kind"] != "category"]
    categorical = [column for column in columns if column["kind"] == "category"]
    gaps = tuple(has_gaps(column) for column in numeric + categorical)
    likelihoods = tuple(_likelihood_of(column, likelihood) for column in numeric)
    spikes = tuple(len(column.get("scaling", {}).get("spikes", ())) for column in numeric)
    return RowSpec(
        numbers=len(numeric),
        levels=tuple(len(column["levels"]) + 1 for column in categorical),
        gaps=gaps if any(gaps) else (),
        likelihoods=likelihoods if set(likelihoods) - {"squared"} else (),
        spikes=spikes if any(spikes) else (),
    )


def has_gaps(column: Mapping[str, Any]) -> bool:
    """Says whether missing cells of a column stay missing: none of them is filled or refused.

    Args:
        column: of a schema, as JSON has it.
    """
    is_filled = column.get("fill") is not None
    return bool(column.get("has_gaps")) and not is_filled and not column.get("refuses")


def _likelihood(hyperparameters: Mapping[str, Any]) -> str | None:
    """Returns the hyperparameter of a method that reconstructs, or of the one below it."""
    if "backbone" in hyperparameters:
        return _likelihood(hyperparameters["backbone"]["hyperparameters"])
    return hyperparameters.get("likelihood")


def _likelihood_of(column: Mapping[str, Any], asked: str | None) -> str:
    """Returns the likelihood of a number: its column's own, or what a method gives its kind."""
    if asked is None:
        return "squared"
    if column.get("likelihood") is not None:
        return str(column["likelihood"])
    if asked == "squared":
        return asked
    return "bernoulli" if column["kind"] == "boolean" else "gaussian"


def check_weights(network: Network, weights: Mapping[str, np.ndarray]) -> None:
    """Checks that weights by jaxrep's names are all those of a network, in float32.

    Args:
        network: from `described_network`.
        weights: by jaxrep's names.

    Raises:
        FileFormatError: names the first that is missing, unknown, or of another shape or dtype.
    """
    expected = shapes(network, {name: array.shape for name, array in weights.items()})
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise FileFormatError(f"the weight {name} is missing")
        if name not in expected:
            raise FileFormatError(f"{name:.80} is not a weight of the network that is described")
        found = weights[name]
        if found.shape != expected[name] or found.dtype != np.float32:
            raise FileFormatError(
                f"{name} is {found.dtype} of shape {found.shape}; the network that is described "
                f"has float32 of shape {expected[name]}"
            )


def _convert(data: Any, kind: type[_T]) -> _T:
    """Returns plain data as a type of msgspec, or raises a ValueError of bounded length."""
    try:
        return msgspec.convert(data, kind)
    except ValueError as error:
        message = str(error)
    if len(message) > _LONGEST_MESSAGE:  # it quotes names and values, and ends with the place
        message = f"{message[: _LONGEST_MESSAGE // 2]} … {message[-_LONGEST_MESSAGE // 2 :]}"
    raise ValueError(message)


def _check_bounds(hyperparameters: object) -> None:
    """Checks that no value, whatever its method, asks for more work than any model needs."""
    if not isinstance(hyperparameters, Mapping):
        raise FileFormatError("hyperparameters are missing, or not an object")
    for name, value in hyperparameters.items():
        if isinstance(value, Mapping):  # of a method below this one, which has none below it
            nested = value.get("hyperparameters")
            if any(isinstance(each, Mapping) for each in getattr(nested, "values", list)()):
                raise FileFormatError(f"hyperparameters.{name:.40}: too many levels of methods")
            _check_bounds(nested)
            continue
        entries = value if isinstance(value, list | tuple) else (value,)
        if len(entries) > _MAX_ENTRIES:
            raise FileFormatError(
                f"hyperparameters.{name:.40} has {len(entries)} entries; it must have at most "
                f"{_MAX_ENTRIES}"
            )
        _check_at_most(name, entries, _MAX_COUNT)


def _check_hyperparameters(method: str, values: Mapping[str, Any]) -> None:
    """Checks names and types against a method's own; ranges are jaxrep's to check."""
    kind = methods.get(method).hyperparameters_type
    names = {field.name for field in fields(kind)}
    if unknown := [name for name in values if name not in names]:
        raise FileFormatError(f"hyperparameters.{unknown[0]:.40} is not known")
    try:
        made = _convert(values, kind)
    except ValueError as error:
        raise FileFormatError(f"hyperparameters: {error}") from error
    for name, declared in get_type_hints(kind, include_extras=True).items():
        value = getattr(made, name)
        if isinstance(value, methods.Backbone):
            if value.method not in methods.names():
                raise FileFormatError(f"hyperparameters.{name}: no method {value.method!r:.40}")
            _check_hyperparameters(value.method, value.hyperparameters)
        elif declared is not methods.Count:
            _check_at_most(name, value if isinstance(value, tuple) else (value,), _MAX_SIZE)


def _check_target(description: Mapping[str, Any], outputs: Sequence[str]) -> None:
    """Checks that there is a target where one is predicted, and as many classes as that."""
    if ("target" in description) != ("predict" in outputs):
        raise FileFormatError("target is missing, or there is one and no output that predicts it")
    if "target" not in description:
        return
    try:
        target = _convert(description, _Predicting).target
    except ValueError as error:
        raise FileFormatError(f"target: {error}") from error
    classes = description["hyperparameters"].get("classes")
    if classes != (len(target.labels) if isinstance(target, _Classes) else None):
        raise FileFormatError(f"target is not what a network of {classes!r:.40} classes predicts")


def _check_at_most(name: str, values: Iterable[object], most: int) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > most:
            raise FileFormatError(f"hyperparameters.{name:.40} is beyond {most}")
