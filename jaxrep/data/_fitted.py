"""What preprocessing learns from a training table, and its JSON form."""

import sys
from collections import Counter
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jaxrep import strict_json
from jaxrep.errors import ModelFormatError

MOST = 1_000_000
"""The most columns, and the most categories in all, that a preprocessing may have."""

_MAX = sys.float_info.max
Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]
Scale = Annotated[float, Meta(gt=0, le=_MAX)]
Text = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]*$")]  # what can be written as UTF-8


class NumericColumn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="numeric"
):
    """A numeric column x, which becomes the one feature (x − mean) / scale.

    Attributes:
        name: the column's name.
        mean: the mean of the training rows, in the column's units.
        scale: their population standard deviation; 1 where the column is constant.
        fill: what a missing value becomes, in the column's units; None: it is refused.

    Example:
        >>> NumericColumn("age", mean=40.0, scale=13.5, fill=None).scale
        13.5
    """

    name: Text
    mean: Finite
    scale: Scale
    fill: Finite | None

    @property
    def width(self) -> int:
        """The number of features: 1."""
        return 1


class CategoricalColumn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="categorical"
):
    """A text column, which becomes one feature a category and a last one for unknown values.

    Attributes:
        name: the column's name.
        categories: the values of the training rows, sorted.
        impute: whether a missing value counts as unknown; otherwise it is refused.

    Example:
        >>> CategoricalColumn("sex", ("Female", "Male"), impute=False).width
        3
    """

    name: Text
    categories: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST)]
    impute: bool

    @property
    def width(self) -> int:
        """The number of features: the categories and the bucket of unknown values."""
        return len(self.categories) + 1


class Preprocessing(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema_version", tag=1
):
    """How a table becomes a matrix of standardised features, and back.

    Attributes:
        columns: the feature columns, in the order of their features.
        label: the column kept out of training, if any.
        id_column: the column that is only passed through, if any.
        na_values: the further cells that mean "missing", for `read_table`.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=13.5, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"), impute=False)
        >>> people = Preprocessing((age, sex), label="income", id_column=None, na_values=("?",))
        >>> people.width, people.text_columns
        (4, ('sex', 'income'))
        >>> Preprocessing.from_json(people.to_json()) == people
        True
    """

    columns: Annotated[
        tuple[NumericColumn | CategoricalColumn, ...], Meta(min_length=1, max_length=MOST)
    ]
    label: Text | None
    id_column: Text | None
    na_values: Annotated[tuple[Text, ...], Meta(max_length=MOST)]

    @property
    def width(self) -> int:
        """The number of features: 1 a numeric column, categories + 1 a categorical one."""
        return sum(column.width for column in self.columns)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that `read_table` has to read as text: categorical, label and id."""
        categorical = [c.name for c in self.columns if isinstance(c, CategoricalColumn)]
        return (*categorical, *self.ignored)

    @property
    def numeric_columns(self) -> tuple[str, ...]:
        """The numeric columns, for `read_table` where label or id may be absent."""
        return tuple(c.name for c in self.columns if isinstance(c, NumericColumn))

    @property
    def ignored(self) -> tuple[str, ...]:
        """The columns that a table may have but that become no feature: label and id."""
        return tuple(name for name in (self.label, self.id_column) if name is not None)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that JSON can hold, from which `from_json` rebuilds it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_json(cls, data: Any) -> "Preprocessing":
        """Returns the preprocessing that `to_json` described, trusting nothing in it.

        Raises:
            ModelFormatError: a key is missing, unknown, or has a value that cannot be; the
                message names the key.

        Example:
            >>> Preprocessing.from_json({"schema_version": 1})
            Traceback (most recent call last):
            ...
            jaxrep.errors.ModelFormatError: preprocessing: Object missing required field `columns`
        """
        try:
            if isinstance(data, dict) and "schema_version" not in data:  # a tag may be left out
                raise ValueError("Object missing required field `schema_version`")
            made = strict_json.convert(data, cls)
            _check_relations(made)
        except ValueError as error:
            raise ModelFormatError(f"preprocessing: {error}") from None
        return made


def _check_relations(made: Preprocessing) -> None:
    """Raises a ValueError for what no type can say of columns and categories."""
    if made.width - len(made.columns) > MOST:
        raise ValueError(f"more than {MOST} categories in all - at `$.columns`")
    _check_distinct((*(c.name for c in made.columns), *made.ignored), "$.columns")
    for i, column in enumerate(made.columns):
        if isinstance(column, CategoricalColumn):
            _check_distinct(column.categories, f"$.columns[{i}].categories")


def _check_distinct(names: tuple[str, ...], place: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{twice[:100]!r} stands there twice - at `{place}`")
