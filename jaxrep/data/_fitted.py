"""What preprocessing learns from a training table, and its JSON form."""

from dataclasses import asdict, dataclass
from typing import Any

from . import _schema

_VERSION = 1


@dataclass(frozen=True)
class NumericColumn:
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

    name: str
    mean: float
    scale: float
    fill: float | None

    @property
    def width(self) -> int:
        """The number of features: 1."""
        return 1


@dataclass(frozen=True)
class CategoricalColumn:
    """A text column, which becomes one feature a category and a last one for unknown values.

    Attributes:
        name: the column's name.
        categories: the values of the training rows, sorted.
        impute: whether a missing value counts as unknown; otherwise it is refused.

    Example:
        >>> CategoricalColumn("sex", ("Female", "Male")).width
        3
    """

    name: str
    categories: tuple[str, ...]
    impute: bool = False

    @property
    def width(self) -> int:
        """The number of features: the categories and the bucket of unknown values."""
        return len(self.categories) + 1


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes a matrix of standardised features, and back.

    Attributes:
        columns: the feature columns, in the order of their features.
        label: the column kept out of training, if any.
        id_column: the column that is only passed through, if any.
        na_values: the further cells that mean "missing", for `read_table`.

    Example:
        >>> age = NumericColumn("age", mean=40.0, scale=13.5, fill=None)
        >>> sex = CategoricalColumn("sex", ("Female", "Male"))
        >>> people = Preprocessing((age, sex), label="income", id_column=None, na_values=("?",))
        >>> people.width, people.text_columns
        (4, ('sex', 'income'))
        >>> Preprocessing.from_json(people.to_json()) == people
        True
    """

    columns: tuple[NumericColumn | CategoricalColumn, ...]
    label: str | None
    id_column: str | None
    na_values: tuple[str, ...]

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
        """Returns plain dicts, lists, strings and numbers, from which `from_json` rebuilds it."""
        return {
            "schema_version": _VERSION,
            "columns": [_column_to_json(column) for column in self.columns],
            "label": self.label,
            "id_column": self.id_column,
            "na_values": list(self.na_values),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Preprocessing":
        """Returns the preprocessing that `to_json` described, trusting nothing in it.

        Raises:
            ModelFormatError: a key is missing, unknown, or has a value that cannot be; the
                message names the key.

        Example:
            >>> Preprocessing.from_json({"schema_version": 1})
            Traceback (most recent call last):
            ...
            jaxrep.errors.ModelFormatError: preprocessing: 'columns' is missing
        """
        _schema.check_keys(
            data, "", ("schema_version", "columns", "label", "id_column", "na_values")
        )
        version = data["schema_version"]
        if version != _VERSION or isinstance(version, bool):
            raise _schema.wrong("schema_version", f"{version!r}, not {_VERSION}")
        made = cls(
            columns=tuple(_schema.items(data["columns"], "columns", _column_from_json)),
            label=_schema.optional(data["label"], "label", _schema.string),
            id_column=_schema.optional(data["id_column"], "id_column", _schema.string),
            na_values=tuple(_schema.items(data["na_values"], "na_values", _schema.string)),
        )
        if not made.columns:
            raise _schema.wrong("columns", "empty")
        if made.width - len(made.columns) > _schema.MOST:
            raise _schema.wrong("columns", f"wrong: more than {_schema.MOST} categories in all")
        _schema.check_distinct([*(c.name for c in made.columns), *made.ignored], "columns")
        return made


def _column_to_json(column: NumericColumn | CategoricalColumn) -> dict[str, Any]:
    if isinstance(column, NumericColumn):
        return {"kind": "numeric", **asdict(column)}
    return {"kind": "categorical", **asdict(column), "categories": list(column.categories)}


def _column_from_json(data: Any, key: str) -> NumericColumn | CategoricalColumn:
    kind = data.get("kind") if isinstance(data, dict) else "numeric"  # refused just below
    if kind == "categorical":
        return _categorical_from_json(data, key)
    if kind != "numeric":
        raise _schema.wrong(f"{key}.kind", f"{kind!r}, neither 'numeric' nor 'categorical'")
    _schema.check_keys(data, key, ("kind", "name", "mean", "scale", "fill"))
    scale = _schema.number(data["scale"], f"{key}.scale")
    if scale <= 0:
        raise _schema.wrong(f"{key}.scale", f"{scale}, not above 0")
    return NumericColumn(
        name=_schema.string(data["name"], f"{key}.name"),
        mean=_schema.number(data["mean"], f"{key}.mean"),
        scale=scale,
        fill=_schema.optional(data["fill"], f"{key}.fill", _schema.number),
    )


def _categorical_from_json(data: dict[str, Any], key: str) -> CategoricalColumn:
    _schema.check_keys(data, key, ("kind", "name", "categories", "impute"))
    categories = _schema.items(data["categories"], f"{key}.categories", _schema.string)
    if not categories:
        raise _schema.wrong(f"{key}.categories", "empty")
    _schema.check_distinct(categories, f"{key}.categories")
    return CategoricalColumn(
        name=_schema.string(data["name"], f"{key}.name"),
        categories=tuple(categories),
        impute=_schema.boolean(data["impute"], f"{key}.impute"),
    )
