"""What a model knows of a table's columns: which it learns from, their kinds and scales.

A schema is fitted once, by `jaxrep.data.fit`, and kept with the model. It turns every cell into a
number or a code, whether it comes from a file, an array or a DataFrame. A missing cell of a column
that had some in training stays missing; what else can become of it stands with the columns.
"""

import sys
from collections import Counter
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from jaxrep import strict_json
from jaxrep.batch import FIRST_SPIKE, RowSpec
from jaxrep.errors import ModelFormatError

Kind = Literal["number", "count", "boolean", "category", "datetime", "duration"]
KINDS: tuple[Kind, ...] = ("number", "count", "boolean", "category", "datetime", "duration")
"""The kinds of columns that a model learns from."""

Likelihood = Literal["squared", "gaussian", "bernoulli", "poisson"]
LIKELIHOODS: tuple[Likelihood, ...] = ("squared", "gaussian", "bernoulli", "poisson")
"""The likelihoods that a column of numbers can have."""

MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""The default missing-value markers: those of `pandas.read_csv`."""

MOST = 1_000_000
"""The most columns, and the most levels of categories in all, that a schema may have."""

MOST_QUANTILES = 1_000
"""The most quantiles of a column that a schema keeps."""

MOST_SPIKES = 64
"""The most spikes of a column."""

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
        is_complete: whether `values` are all the values that the training rows have.

    Example:
        >>> Quantile((10.0, 20.0), (-0.5, 0.5)).kind
        'quantile'
    """

    values: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]
    scores: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]
    is_complete: bool = False

    kind: ClassVar[Literal["quantile"]] = "quantile"

    def __post_init__(self) -> None:
        """Raises a ValueError unless values and scores are pairs that both ascend."""
        _check_scores(self.values, self.scores)


class Spikes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="spikes"
):
    """Normal scores of numbers beside values that many rows share, which are levels of their own.

    Such a value, a spike, becomes the feature `FIRST_SPIKE`, the next one that and 1, and so on,
    beyond all scores; the other numbers have the scores that they have among themselves.

    Attributes:
        values: of the other numbers, as of `Quantile`.
        scores: of those, as of `Quantile`.
        spikes: the shared values, in the column's units, ascending.
        is_complete: as of `Quantile`.

    Example:
        >>> Spikes((10.0, 20.0), (-0.5, 0.5), (0.0,)).kind
        'spikes'
    """

    values: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]
    scores: Annotated[tuple[Finite, ...], Meta(min_length=2, max_length=MOST_QUANTILES)]
    spikes: Annotated[tuple[Finite, ...], Meta(min_length=1, max_length=MOST_SPIKES)]
    is_complete: bool = False

    kind: ClassVar[Literal["spikes"]] = "spikes"

    def __post_init__(self) -> None:
        """Raises a ValueError unless values, scores and spikes ascend, and scores are no spikes."""
        _check_scores(self.values, self.scores)
        if any(not a < b for a, b in pairwise(self.spikes)):
            raise ValueError("spikes that do not ascend")
        if not abs(self.scores[0]) < FIRST_SPIKE - 1 > abs(self.scores[-1]):
            raise ValueError(f"scores of {FIRST_SPIKE - 1:g} or more beside spikes")


def _check_scores(values: tuple[float, ...], scores: tuple[float, ...]) -> None:
    if len(values) != len(scores):
        raise ValueError(f"{len(values)} values and {len(scores)} scores")
    for name, numbers in (("values", values), ("scores", scores)):
        if any(not a < b for a, b in pairwise(numbers)):
            raise ValueError(f"{name} that do not ascend")


Scaling = Standard | Robust | Log1p | Quantile | Spikes


class NumericColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column whose cells are numbers x, which become the numbers (t(x) − mean) / scale.

    A missing cell is refused if the column refuses it, becomes `fill` if there is one, stays
    missing if the column had gaps in training, and else becomes 0 on the column's scale: the mean,
    or what `scaling` has in its place.

    Attributes:
        name: the column's name.
        mean: the mean of t(x) over the training rows, or what `scaling` has in its place; missing
            cells count as `fill`, or not at all.
        scale: the population standard deviation of t(x), or what `scaling` has in its place.
        fill: the value to impute, in the column's units; None to impute none.
        has_gaps: whether cells of the training rows were missing.
        why: why the column has its kind.
        stored: the name of the Arrow type of its cells in outputs.
        refuses: whether missing cells are refused.
        likelihood: by which a reconstruction of its cells is judged, where the user said so; None
            leaves that to the method.
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
    refuses: bool = False
    likelihood: Likelihood | None = None
    scaling: Scaling = Standard()

    kind: ClassVar[Kind]

    @property
    def keeps_gaps(self) -> bool:
        """Whether missing cells stay missing, so that the model sees them as such."""
        return self.has_gaps and self.fill is None and not self.refuses

    def likelihood_problem(self) -> str | None:
        """Says what a column with this likelihood must be; None if it is that.

        Example:
            >>> Number("age", 40.0, 13.5, None, likelihood="poisson").likelihood_problem()
            'poisson is for counts'
        """
        if self.likelihood == "bernoulli" and not isinstance(self, Boolean):
            return "bernoulli is for booleans"
        if self.likelihood == "poisson" and not isinstance(self, Count):
            return "poisson is for counts"
        if self.likelihood == "poisson" and not isinstance(self.scaling, Standard):
            return "poisson is for counts on the scale standard"  # natural units: x · scale + mean
        return None


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
        >>> Boolean("member", mean=0.5, scale=0.5, fill=None, stored="bool").keeps_gaps
        False
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
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    weakref=True,
    tag_field="kind",
    tag="category",
):
    """A column of categories, which become codes: i + 1 of level i, and 0 of any other category.

    A missing cell is refused if the column refuses it, becomes `fill` if there is one, stays
    missing if the column had gaps in training, and else has the code 0.

    Attributes:
        name: the column's name.
        levels: the categories of the training rows, sorted, without those that were merged.
        has_gaps: whether cells of the training rows were missing.
        fill: the level to impute; None to impute none.
        why: why the column is categorical.
        stored: the name of the Arrow type of its cells in outputs.
        refuses: whether missing cells are refused.
        merged: how many more categories there were, each in one training row alone, which count as
            unknown.

    Example:
        >>> CategoricalColumn("sex", ("Female", "Male"), has_gaps=True).keeps_gaps
        True
    """

    name: Text
    levels: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST)]
    has_gaps: bool
    fill: Text | None = None
    why: Text = ""
    stored: Text = "string"
    refuses: bool = False
    merged: Annotated[int, Meta(ge=0)] = 0

    kind: ClassVar[Kind] = "category"

    @property
    def keeps_gaps(self) -> bool:
        """Whether missing cells stay missing, so that the model sees them as such."""
        return self.has_gaps and self.fill is None and not self.refuses


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
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema_version", tag=3
):
    """How the cells of a table become numbers and codes, and back.

    Attributes:
        columns: the columns that are learned from, in the table's order.
        left_out: the others, but for the label.
        label: the column that is kept for its labels, if any.
        missing: the missing-value markers: cells of text that mean "missing".
        marks: those of them that the user set; a number equal to one is missing too.

    Example:
        >>> age = Number("age", mean=40.0, scale=13.5, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), has_gaps=False)
        >>> people = Schema((age, sex), label="income")
        >>> people.kinds()
        {'age': 'number', 'sex': 'category'}
        >>> people.row_spec().numbers, people.row_spec().levels
        (1, (3,))
        >>> Schema.from_json(people.to_json()) == people
        True
    """

    columns: Annotated[tuple[_AnyColumn, ...], Meta(min_length=1, max_length=MOST)]
    left_out: Annotated[tuple[LeftOut, ...], Meta(max_length=MOST)] = ()
    label: Text | None = None
    missing: _Markers = MISSING
    marks: _Markers = ()

    @property
    def numeric(self) -> tuple[NumericColumn, ...]:
        """The columns of numbers, in their order."""
        return tuple(column for column in self.columns if isinstance(column, NumericColumn))

    @property
    def categorical(self) -> tuple[CategoricalColumn, ...]:
        """The columns of categories, in their order."""
        return tuple(column for column in self.columns if isinstance(column, CategoricalColumn))

    @property
    def column_order(self) -> tuple[int, ...]:
        """For each number of a row and then each code, the index of its column in `columns`.

        Example:
            >>> sex = CategoricalColumn("sex", ("f", "m"), has_gaps=False)
            >>> Schema((sex, Number("age", 40.0, 13.5, None))).column_order
            (1, 0)
        """
        is_code = [isinstance(column, CategoricalColumn) for column in self.columns]
        return tuple(sorted(range(len(is_code)), key=is_code.__getitem__))

    def row_spec(self) -> RowSpec:
        """Returns what every row holds once its cells are numbers and codes."""
        features: tuple[Column, ...] = (*self.numeric, *self.categorical)
        gaps = tuple(column.keeps_gaps for column in features)
        spikes = tuple(
            len(column.scaling.spikes) if isinstance(column.scaling, Spikes) else 0
            for column in self.numeric
        )
        return RowSpec(
            numbers=len(self.numeric),
            levels=tuple(len(column.levels) + 1 for column in self.categorical),
            gaps=gaps if any(gaps) else (),
            spikes=spikes if any(spikes) else (),
        )

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
            >>> Schema.from_json({"schema_version": 3})
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
    if sum(len(column.levels) for column in made.categorical) > MOST:
        raise ValueError(f"more than {MOST} levels in all - at `$.columns`")
    # What is left out may be called like the label, which a table is fine-tuned on later.
    others = [column.name for column in made.left_out]
    label = [made.label] if made.label is not None else []
    _check_distinct((*made.names, *others), "$.columns")
    _check_distinct((*made.names, *label), "$.columns")
    for i, column in enumerate(made.columns):
        if isinstance(column, Number) and column.thousands == column.decimal:
            raise ValueError(f"it is the decimal mark as well - at `$.columns[{i}].thousands`")
        if isinstance(column, NumericColumn) and (problem := column.likelihood_problem()):
            raise ValueError(f"{problem} - at `$.columns[{i}].likelihood`")
        if isinstance(column, Boolean) and not isinstance(column.scaling, Standard):
            raise ValueError(f"a boolean is always standard - at `$.columns[{i}].scaling`")
        if isinstance(column, CategoricalColumn):
            _check_distinct(column.levels, f"$.columns[{i}].levels")
            if column.fill is not None and column.fill not in column.levels:
                raise ValueError(f"{column.fill[:100]!r} is not a level - at `$.columns[{i}].fill`")


def _check_distinct(names: tuple[str, ...], place: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{twice[:100]!r} stands there twice - at `{place}`")
