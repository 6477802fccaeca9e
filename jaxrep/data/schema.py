"""What a model knows of a table's columns: which it learns from, their kinds and scales.

A schema is fitted once, by `jaxrep.data.fit`, and kept with the model. It turns every cell into a
number or a code, whether it comes from a file, an array or a DataFrame.
"""

import sys
from collections import Counter
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from jaxrep import strict_json
from jaxrep.errors import ModelFormatError

Kind = Literal["number", "count", "boolean", "category", "datetime", "duration"]
KINDS: tuple[Kind, ...] = ("number", "count", "boolean", "category", "datetime", "duration")
"""The kinds of columns that a model learns from."""

MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""The default missing-value markers: those of `pandas.read_csv`."""

MOST = 1_000_000
"""The most columns, and the most levels of categories in all, that a schema may have."""

MOST_QUANTILES = 1_000
"""The most quantiles of a column that a schema keeps."""

_MAX = sys.float_info.max
Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]
Scale = Annotated[float, Meta(gt=0, le=_MAX)]
Text = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]*$")]  # what can be written as UTF-8
_Markers = Annotated[tuple[Text, ...], Meta(max_length=MOST)]


class Standard(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="standard"
):
    """Numbers as they are, with their mean and population standard deviation.

    Example:
        >>> Standard().kind
        'standard'
    """

    kind: ClassVar[Literal["standard"]] = "standard"


class Robust(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="robust"
):
    """Numbers as they are, with their median and IQR / 1.349 in place of mean and deviation.

    The interquartile range of a normal distribution is 1.349 of its standard deviations.

    Example:
        >>> Robust().kind
        'robust'
    """

    kind: ClassVar[Literal["robust"]] = "robust"


class Log1p(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="log1p"):
    """sign(x) · log(1 + |x|) of numbers x, with the mean and deviation of that.

    Example:
        >>> Log1p().kind
        'log1p'
    """

    kind: ClassVar[Literal["log1p"]] = "log1p"


class Quantile(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="quantile"
):
    """Normal scores of numbers, with mean 0 and scale 1.

    Attributes:
        values: quantiles of the training rows, in the column's units, ascending.
        scores: for each the standard normal quantile of the middle of its rank range, ascending.

    Example:
        >>> Quantile((10.0, 20.0), (-0.5, 0.5)).kind
        'quantile'
    """

    values: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]
    scores: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]

    kind: ClassVar[Literal["quantile"]] = "quantile"

    def __post_init__(self) -> None:
        """Raises a ValueError unless values and scores are pairs that both ascend."""
        if len(self.values) != len(self.scores):
            raise ValueError(f"{len(self.values)} values and {len(self.scores)} scores")
        for name in ("values", "scores"):
            numbers = getattr(self, name)
            if any(not a < b for a, b in pairwise(numbers)):
                raise ValueError(f"{name} that do not ascend")


Scaling = Standard | Robust | Log1p | Quantile


class NumericColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column whose cells are numbers x, which become the one feature (t(x) − mean) / scale.

    Attributes:
        name: the column's name.
        mean: the mean of t(x) over the training rows, or what `scaling` has in its place.
        scale: the population standard deviation of t(x), or what `scaling` has in its place.
        fill: the value of a missing cell, in the column's units; None to refuse it.
        has_gaps: whether cells of the training rows were missing.
        why: why the column has its kind.
        stored: the name of the Arrow type of its cells in outputs.
        scaling: the function t, which is the identity by default, and what mean and scale are.

    Example:
        >>> Number("age", mean=40.0, scale=13.5, fill=None).kind
        'number'
    """

    name: Text
    mean: Finite
    scale: Scale
    fill: Finite | None
    has_gaps: bool = False
    why: Text = ""
    stored: Text = "double"
    scaling: Scaling = Standard()

    kind: ClassVar[Kind]
    width: ClassVar[int] = 1
    """The number of features."""


class Number(NumericColumn, frozen=True, tag_field="kind", tag="number"):
    """A column of numbers.

    Attributes:
        decimal: the decimal mark of cells of text.
        thousands: their thousands separator; empty for none.

    Example:
        >>> Number("price", mean=0.0, scale=1.0, fill=None, decimal=",", thousands=".").thousands
        '.'
    """

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""

    kind: ClassVar[Kind] = "number"


class Count(Number, frozen=True, tag_field="kind", tag="count"):
    """A column of whole numbers, none of them negative.

    Example:
        >>> Count("children", mean=1.5, scale=1.0, fill=None, stored="int64").kind
        'count'
    """

    kind: ClassVar[Kind] = "count"


class Boolean(NumericColumn, frozen=True, tag_field="kind", tag="boolean"):
    """A column of true and false, as 1 and 0.

    Example:
        >>> Boolean("member", mean=0.5, scale=0.5, fill=None, stored="bool").width
        1
    """

    kind: ClassVar[Kind] = "boolean"


class Datetime(NumericColumn, frozen=True, tag_field="kind", tag="datetime"):
    """A column of points in time, as seconds since 1970-01-01 UTC.

    Attributes:
        format: the `strptime` format of cells of text; None for ISO 8601.
        zoned: whether the training cells had a time zone; otherwise they count as UTC.

    Example:
        >>> Datetime("born", mean=0.0, scale=1e8, fill=None, stored="date32[day]").zoned
        False
    """

    format: Text | None = None
    zoned: bool = False

    kind: ClassVar[Kind] = "datetime"


class Duration(NumericColumn, frozen=True, tag_field="kind", tag="duration"):
    """A column of durations, or of times of day, as seconds.

    Example:
        >>> Duration("wait", mean=60.0, scale=10.0, fill=None, stored="duration[us]").kind
        'duration'
    """

    kind: ClassVar[Kind] = "duration"


class CategoricalColumn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="category"
):
    """A column of categories, which becomes one feature per level and one for all other cells.

    Attributes:
        name: the column's name.
        levels: the categories of the training rows, sorted.
        has_gaps: whether cells of the training rows were missing.
        fills: whether a missing cell counts as one without a level; otherwise it is refused.
        why: why the column is categorical.
        stored: the name of the Arrow type of its cells in outputs.

    Example:
        >>> CategoricalColumn("sex", ("Female", "Male"), has_gaps=False).width
        3
    """

    name: Text
    levels: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST)]
    has_gaps: bool
    fills: bool = True
    why: Text = ""
    stored: Text = "string"

    kind: ClassVar[Kind] = "category"

    @property
    def width(self) -> int:
        """The number of features: the levels, and one for cells of none of them."""
        return len(self.levels) + 1


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column that is not learned from.

    Attributes:
        name: the column's name.
        kind: an id, which outputs carry along; free text; a constant; or dropped by the user.
        why: the reason.
        value: the value of a constant number.

    Example:
        >>> LeftOut("row", "id", "whole numbers that count up").kind
        'id'
    """

    name: Text
    kind: Literal["id", "text", "constant", "dropped"]
    why: Text
    value: Finite | None = None


Column = NumericColumn | CategoricalColumn
_AnyColumn = Number | Count | Boolean | Datetime | Duration | CategoricalColumn


class Schema(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema_version", tag=2
):
    """How the cells of a table become a matrix of features, and back.

    Attributes:
        columns: the columns that are learned from, in the order of their features.
        left_out: the others, but for the label.
        label: the column that is kept for its labels, if any.
        missing: the missing-value markers: cells of text that mean "missing".
        marks: those of them that the user set; a number equal to one is missing too.

    Example:
        >>> age = Number("age", mean=40.0, scale=13.5, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> people = Schema((age, sex), label="income")
        >>> people.width, people.kinds()
        (4, {'age': 'number', 'sex': 'category'})
        >>> Schema.from_json(people.to_json()) == people
        True
    """

    columns: Annotated[tuple[_AnyColumn, ...], Meta(min_length=1, max_length=MOST)]
    left_out: Annotated[tuple[LeftOut, ...], Meta(max_length=MOST)] = ()
    label: Text | None = None
    missing: _Markers = MISSING
    marks: _Markers = ()

    @property
    def width(self) -> int:
        """The number of features: 1 per numeric column, levels + 1 per categorical one."""
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are learned from."""
        return tuple(column.name for column in self.columns)

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that outputs carry along."""
        return tuple(column.name for column in self.left_out if column.kind == "id")

    @property
    def ignored(self) -> tuple[str, ...]:
        """The columns that a table may have but that become no feature."""
        label = () if self.label is None else (self.label,)
        return (*label, *(column.name for column in self.left_out))

    def kinds(self) -> dict[str, str]:
        """Returns the kind of every column but the label, those left out included."""
        return {column.name: column.kind for column in (*self.columns, *self.left_out)}

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that JSON can hold, from which `from_json` rebuilds it."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))  # lists, not tuples
        return plain

    @classmethod
    def from_json(cls, data: Any) -> "Schema":
        """Returns the schema that `to_json` described, trusting nothing in it.

        Raises:
            ModelFormatError: a key is missing, unknown, or has a value that cannot be; the
                message names the key.

        Example:
            >>> Schema.from_json({"schema_version": 2})
            Traceback (most recent call last):
            ...
            jaxrep.errors.ModelFormatError: schema: Object missing required field `columns`
        """
        try:
            if isinstance(data, dict) and "schema_version" not in data:  # a tag may be left out
                raise ValueError("Object missing required field `schema_version`")
            made = strict_json.convert(data, cls)
            _check_relations(made)
        except ValueError as error:
            raise ModelFormatError(f"schema: {error}") from None
        return made


def _check_relations(made: Schema) -> None:
    """Raises a ValueError for what no type can say of columns and levels."""
    if made.width - len(made.columns) > MOST:
        raise ValueError(f"more than {MOST} levels in all - at `$.columns`")
    # What is left out may be called like the label, which a table is fine-tuned on later.
    others = [column.name for column in made.left_out]
    label = [made.label] if made.label is not None else []
    _check_distinct((*made.names, *others), "$.columns")
    _check_distinct((*made.names, *label), "$.columns")
    for i, column in enumerate(made.columns):
        if isinstance(column, Number) and column.thousands == column.decimal:
            raise ValueError(f"it is the decimal mark as well - at `$.columns[{i}].thousands`")
        if isinstance(column, Boolean) and not isinstance(column.scaling, Standard):
            raise ValueError(f"a boolean is always standard - at `$.columns[{i}].scaling`")
        if isinstance(column, CategoricalColumn):
            _check_distinct(column.levels, f"$.columns[{i}].levels")


def _check_distinct(names: tuple[str, ...], place: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{twice[:100]!r} stands there twice - at `{place}`")
