"""The kinds and roles of columns that a user sets; all others are inferred."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from jaxrep import strict_json
from jaxrep.errors import InputError, ModelFormatError

from ._messages import listed
from .schema import (
    KINDS,
    LIKELIHOODS,
    Datetime,
    Likelihood,
    Number,
    NumericColumn,
    Schema,
    Standard,
)

LEFT_OUT = ("id", "text", "constant", "dropped")
"""The kinds of columns that a model does not learn from."""

Impute = Literal["median", "refuse"]
"""What becomes of missing cells, unless they are to stay missing."""

Scale = Literal["standard", "robust", "log1p", "quantile", "spikes"]
SCALES: tuple[Scale, ...] = ("standard", "robust", "log1p", "quantile", "spikes")
"""How numbers become features."""

_MARKS = [d + t for d, other in (".,", ",.") for t in ("", "-", other, " ", "'")]
"""Decimal marks, and thousands separators after them, that can be given."""


@dataclass(frozen=True)
class Asked:
    """The kind that a user sets for a column.

    Attributes:
        kind: one of the kinds, or of those that are left out.
        format: the `strptime` format of a datetime, or the decimal mark of a number, followed by
            its thousands separator where that is not the usual one, "-" for none.

    Example:
        >>> Asked.parse("datetime:%d.%m.%Y")
        Asked(kind='datetime', format='%d.%m.%Y')
    """

    kind: str
    format: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Asked":
        """Returns the kind that a text names.

        Raises:
            InputError: it names none.
        """
        kind, colon, format = text.partition(":")
        known = (*KINDS, *LEFT_OUT)
        if kind not in known or (colon and kind not in ("datetime", "number", "count")):
            raise InputError(
                f"{text!r} is not a kind of column; use {', '.join(known)}, datetime:FORMAT "
                "with a strptime format, or number:, for a decimal comma"
            )
        if kind in ("number", "count") and colon and format not in _MARKS:
            raise InputError(
                f"{text!r}: a decimal mark is . or , and the thousands separator that may follow "
                "it is the other of them, a blank, ' or - for none"
            )
        return cls(kind, format or None)


@dataclass(frozen=True)
class Columns:
    """The kinds and roles of a table's columns.

    Attributes:
        kinds: kinds by column name, as for `Asked.parse`.
        drop: columns to leave out.
        label: the column of labels, which the model does not learn from.
        id_column: a column that outputs carry along, and that is not learned from.
        na_values: missing-value markers besides the default ones.
        missing: the default missing-value markers; None for those of `MISSING`.
        impute: "median" to fill missing cells of numbers with the column's median and those of
            categories with its most frequent level, "refuse" to refuse them; None to let them stay
            missing, which the model sees.
        likelihoods: for columns of numbers by name, by which likelihood a reconstruction of their
            cells is judged: `squared`, `gaussian`, `bernoulli` of a boolean, `poisson` of a count.
            The method decides for the others.
        scale: how numbers become features: `standard`, `robust`, `log1p`, `quantile` or `spikes`;
            None: what a method's recipe says, else `standard`. Booleans are always standard.
        scales: the same by column name, for those with a scale of their own.

    Example:
        >>> Columns(kinds={"zip": "category"}, label="price").asked()
        {'zip': Asked(kind='category', format=None)}
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    label: str | None = None
    id_column: str | None = None
    na_values: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    impute: Impute | None = None
    likelihoods: Mapping[str, Likelihood] = field(default_factory=dict)
    scale: Scale | None = None
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def asked(self) -> dict[str, Asked]:
        """Returns the kinds that were set, by column name.

        Raises:
            InputError: a kind, a likelihood or `impute` is unknown; the message names the column.
        """
        if self.impute is not None and self.impute not in get_args(Impute):
            raise InputError(f"impute is {self.impute!r}; it must be median, refuse or None")
        for name, likelihood in self.likelihoods.items():
            if likelihood not in LIKELIHOODS:
                raise InputError(
                    f"column {name!r}: {likelihood!r} is not a likelihood; use "
                    f"{', '.join(LIKELIHOODS)}"
                )
        found = {}
        for name, kind in self.kinds.items():
            try:
                found[name] = Asked.parse(str(kind))
            except InputError as error:
                raise InputError(f"column {name!r}: {error}") from None
        return found

    def asked_scales(self) -> dict[str, Scale]:
        """Returns the scales that were set for single columns, by name.

        Raises:
            InputError: one of them, or `scale`, is unknown.

        Example:
            >>> Columns(scale="robust", scales={"income": "log1p"}).asked_scales()
            {'income': 'log1p'}
        """
        for name, scale in [(None, self.scale), *self.scales.items()]:
            if scale is not None and scale not in SCALES:
                where = "" if name is None else f"column {name!r}: "
                raise InputError(f"{where}{scale!r} is not a scale; use {', '.join(SCALES)}")
        return dict(self.scales)


_TABLES = {"columns": "kinds", "likelihoods": "likelihoods", "scales": "scales"}  # of a TOML file
_KEYS = tuple(field.name for field in fields(Columns) if field.name not in _TABLES.values())


def parse_kind(text: str) -> tuple[str, str]:
    """Returns the name and the kind of NAME=KIND; the name may contain "=" too.

    Raises:
        InputError: it has another form.

    Example:
        >>> parse_kind("zip=category"), parse_kind("a=b=datetime:%H=%M")
        (('zip', 'category'), ('a=b', 'datetime:%H=%M'))
    """
    # The kind begins after the last "=" that is followed by one.
    for place in reversed([i for i, letter in enumerate(text) if letter == "="]):
        name, kind = text[:place], text[place + 1 :]
        if name and kind.partition(":")[0] in (*KINDS, *LEFT_OUT):
            Asked.parse(kind)
            return name, kind
    raise InputError(
        f"--column {text}: must be NAME=KIND, where KIND is one of {', '.join((*KINDS, *LEFT_OUT))}"
    )


def parse_likelihood(text: str) -> tuple[str, Likelihood]:
    """Returns the name and the likelihood of NAME=KIND; the name may contain "=" too.

    Raises:
        InputError: it has another form.

    Example:
        >>> parse_likelihood("visits=poisson")
        ('visits', 'poisson')
    """
    name, _, kind = text.rpartition("=")
    found = next((known for known in LIKELIHOODS if known == kind), None)
    if not name or found is None:
        raise InputError(
            f"--column-likelihood {text}: must be NAME=KIND, where KIND is one of "
            f"{', '.join(LIKELIHOODS)}"
        )
    return name, found


def parse_scales(texts: Iterable[str]) -> tuple[Scale | None, dict[str, Scale]]:
    """Returns the scale of all columns and those of single ones, out of NAME and COLUMN=NAME.

    Raises:
        InputError: a text has another form, or there are two scales for all columns.

    Example:
        >>> parse_scales(["robust", "income=log1p"])
        ('robust', {'income': 'log1p'})
    """
    all_of_them: list[Scale] = []
    found: dict[str, Scale] = {}
    by_name: dict[str, Scale] = {scale: scale for scale in SCALES}
    for text in texts:
        column, _, name = text.rpartition("=")
        if name not in by_name or text == f"={name}":
            raise InputError(
                f"--scale {text}: must be NAME or COLUMN=NAME, where NAME is one of "
                f"{', '.join(SCALES)}"
            )
        if column:
            found[column] = by_name[name]
        else:
            all_of_them.append(by_name[name])
    if len(set(all_of_them)) > 1:
        raise InputError(f"--scale {' and --scale '.join(all_of_them)}: choose one for all columns")
    return all_of_them[0] if all_of_them else None, found


def read_columns(path: Path) -> Columns:
    """Reads the kinds and roles of columns from a file.

    Args:
        path: a TOML file with a table `[columns]` of `NAME = "KIND"`, a table `[likelihoods]` of
            `NAME = "LIKELIHOOD"`, a table `[scales]` of `NAME = "SCALE"` and, besides, `drop`,
            `label`, `id_column`, `missing`, `na_values`, `impute` and `scale`; or the `schema.json`
            of a run, whose columns keep their kinds, likelihoods and scales.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        if path.suffix.lower() == ".json":
            return _of_schema(Schema.from_json(strict_json.read(path)))
        with path.open("rb") as file:
            options = tomllib.load(file)
        tables = {name: options.pop(key, {}) for key, name in _TABLES.items()}
        if unknown := [key for key in options if key not in _KEYS]:
            raise ValueError(
                f"unknown {listed(unknown)}; there are {', '.join((*_TABLES, *_KEYS))}"
            )
        columns: Columns = strict_json.convert({**tables, **options}, Columns)
        columns.asked()
    except OSError as error:
        raise InputError(f"--schema {path}: cannot be read ({error.strerror})") from None
    except (ValueError, ModelFormatError) as error:
        raise InputError(f"--schema {path}: {error}") from None
    return columns


def _of_schema(schema: Schema) -> Columns:
    kinds: dict[str, str] = {}
    likelihoods: dict[str, Likelihood] = {}
    scales: dict[str, Scale] = {}
    for column in schema.columns:
        kinds[column.name] = column.kind
        if isinstance(column, NumericColumn) and column.likelihood is not None:
            likelihoods[column.name] = column.likelihood
        if isinstance(column, NumericColumn) and not isinstance(column.scaling, Standard):
            scales[column.name] = column.scaling.kind
        if isinstance(column, Datetime) and column.format is not None:
            kinds[column.name] += f":{column.format}"
        if isinstance(column, Number) and (column.decimal, column.thousands) != (".", ""):
            kinds[column.name] += f":{column.decimal}{column.thousands or '-'}"
    kinds |= {column.name: column.kind for column in schema.left_out}
    missing = tuple(text for text in schema.missing if text not in schema.marks)
    return Columns(
        kinds,
        label=schema.label,
        na_values=schema.marks,
        missing=missing,
        likelihoods=likelihoods,
        scale="standard",
        scales=scales,
    )
