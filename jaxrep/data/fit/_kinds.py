"""Infers the kind of a column, or the reason why it is left out, from its profile."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from jaxrep.errors import InputError

from .._types import is_datetime_type, is_duration_type
from ..cells import Place, not_categories, not_of_kind
from ..columns import LEFT_OUT, Asked
from ..schema import (
    Boolean,
    CategoricalColumn,
    Column,
    Count,
    Datetime,
    Duration,
    LeftOut,
    Number,
    NumericColumn,
)
from ._levels import MANY_LEVELS, ROWS_PER_LEVEL, Counted, are_too_many
from ._profile import NumberStatistics, Profile, TextStatistics

_FEW = 40  # rows up to which every column of text may be categories
_FEW_LEVELS = 20  # up to which numbers mixed with other text are categories
_LONG = 50  # characters on average from which on text is no id
_SOME = 10  # rows from which on text that never repeats is an id


@dataclass(frozen=True)
class Draft:
    """A column before its statistics are known, with mean 0 and scale 1.

    Attributes:
        column: the column, or why it is left out.
        is_measured: whether the profile holds the statistics of its numbers, or its levels.
        is_certain: whether it is not left out, whatever its levels are.
    """

    column: Column | LeftOut
    is_measured: bool = True
    is_certain: bool = True


def draft(name: str, profile: Profile, asked: Asked | None, place: Place) -> Draft:
    """Returns what a column is inferred, or set, to be.

    Args:
        name: the column's name.
        profile: the statistics of its cells.
        asked: the kind that the user set; None to infer it.
        place: where its table comes from.

    Raises:
        InputError: the column is mostly numbers, or its type can hold none of the kinds.
    """
    if profile.is_unreadable:
        raise InputError(
            f"{place.source}: column {name!r} has the type {profile.stored}, and not all of it is "
            f"text in UTF-8; convert the column, or leave it out with --drop '{name}'"
        )
    if asked is not None:
        return _as_asked(name, profile, asked, place)
    if profile.texts is not None:
        return _of_text(name, profile, profile.texts, place)
    if profile.numbers is None:
        raise InputError(
            f"{place.source}: column {name!r} has the type {profile.stored}; jaxrep reads numbers, "
            f"dates and text: convert the column, or leave it out with --drop '{name}'"
        )
    return _of_numbers(name, profile, profile.numbers)


def _of_numbers(name: str, profile: Profile, seen: NumberStatistics) -> Draft:
    if not seen.moments.count:
        return Draft(LeftOut(name, "constant", "no values"))
    stored = stored_type(profile)
    is_constant, value = _is_constant(seen)
    if is_datetime_type(profile.stored) or is_duration_type(profile.stored):
        if is_constant:
            return Draft(LeftOut(name, "constant", "only one value"))
        why = f"its type is {profile.stored}"
        if is_duration_type(profile.stored):
            return Draft(Duration(name, 0.0, 1.0, None, False, why, stored))
        zoned = pa.types.is_timestamp(profile.stored) and profile.stored.tz is not None
        return Draft(Datetime(name, 0.0, 1.0, None, False, why, stored, zoned=zoned))
    if is_constant:
        why = f"only one value, {value:g}"
        if seen.least < seen.greatest:
            why = "its values differ by rounding alone"
        return Draft(LeftOut(name, "constant", why, value))
    if seen.ids.found():
        return Draft(LeftOut(name, "id", "whole numbers that count up"))
    are_integers = profile.are_digits if profile.stored == pa.string() else "int" in stored
    if seen.are_inexact and are_integers:
        return Draft(LeftOut(name, "id", "whole numbers beyond 2^53, which no float holds"))
    if pa.types.is_boolean(profile.stored):
        return Draft(Boolean(name, 0.0, 1.0, None, False, "its type is bool", stored))
    if seen.are_binary:
        return Draft(Boolean(name, 0.0, 1.0, None, False, "all its values are 0 or 1", stored))
    if seen.are_whole and seen.least >= 0:
        return Draft(Count(name, 0.0, 1.0, None, False, "whole numbers, none negative", stored))
    why = "numbers"
    if profile.have_points and profile.are_grouped:
        why += (
            "; points count as decimal marks, and if they stand between thousands, say "
            f"--column '{name}=number:,'"
        )
    return Draft(Number(name, 0.0, 1.0, None, False, why, stored))


def _is_constant(seen: NumberStatistics) -> tuple[bool, float]:
    return is_one_value(seen.moments.mean, seen.moments.deviation), seen.moments.mean


def is_one_value(mean: float, deviation: float) -> bool:
    """Says whether numbers of this mean and deviation differ by rounding alone.

    Example:
        >>> is_one_value(0.1, 1e-17), is_one_value(0.1, 1e-10)
        (True, False)
    """
    return deviation <= 10 * 2.0**-52 * abs(mean)


def _of_text(name: str, profile: Profile, seen: TextStatistics, place: Place) -> Draft:
    if not seen.present:
        return Draft(LeftOut(name, "constant", "no values"))
    found = _of_one_form(name, seen)
    levels, counted = seen.levels.categories, seen.levels.counted()
    if found is not None and levels > 1:
        return Draft(found, is_measured=False)
    if _are_numbers_but_few(seen):
        row, text = seen.others[0]
        raise not_of_kind(
            Number(name, 0.0, 1.0, None), text, row - place.before,
            seen.present - seen.numbers, place,
        )  # fmt: skip
    if counted is not None and levels == 1 and not seen.missing + counted.missing:
        only = counted.keys[0].as_py()
        return Draft(LeftOut(name, "constant", f"only one value, {only!r}"))
    if seen.are_different and seen.present >= _SOME:
        if seen.characters > _LONG * seen.present:
            return Draft(LeftOut(name, "text", "long text that never repeats"))
        why = f"{seen.present:,} values, all different{_besides(seen)}"
        return Draft(LeftOut(name, "id", why))
    if counted is None and not are_too_many(levels, seen.present):
        # Only a count of all of them tells whether they are too many for their rows.
        column = CategoricalColumn(name, ("",), has_gaps=False)
        return Draft(column, is_measured=False, is_certain=False)
    return Draft(category_or_text(name, counted, seen))


def category_or_text(
    name: str, counted: Counted | None, seen: TextStatistics
) -> CategoricalColumn | LeftOut:
    """Returns text of no other form as categories without their levels, or why it is left out.

    Args:
        name: the column's name.
        counted: its categories; None where they are too many to be counted.
        seen: the statistics of its cells.
    """
    rows = seen.present if counted is None else int(counted.rows.sum())
    if counted is None or are_too_many(len(counted.keys), rows):
        why = f"more than {MANY_LEVELS:,} different values in {rows:,} rows{_besides(seen)}"
        return LeftOut(name, "text", why)
    levels = len(counted.keys)
    if levels <= MANY_LEVELS and rows > _FEW and levels > rows / 2:
        why = f"{levels:,} different values in {rows:,} rows{_besides(seen)}"
        return LeftOut(name, "text", why)
    return CategoricalColumn(name, ("",), has_gaps=False, why=_values(counted) + _besides(seen))


def _values(counted: Counted) -> str:
    count = len(counted.keys)
    if count > MANY_LEVELS:  # of which some may be in one row alone, and are not to be named
        return f"{ROWS_PER_LEVEL} or more rows per value on average"
    some = sorted(counted.keys.to_pylist())[:3]
    names = ", ".join(text[:20] for text in some)
    return f"{count} values: {names}" + (", …" if count > 3 else "")


def _besides(seen: TextStatistics) -> str:
    """Returns what else the text might be, which a user should know."""
    if len(seen.date_formats) > 1:
        return f"; dates, of which form is not clear: {' or '.join(map(str, seen.date_formats))}"
    if seen.date_formats and seen.have_zones:
        return "; dates, some with a time zone and some without"
    if seen.date_patterns:
        return (
            "; written like dates, but no form makes a date of each: correct the cell that is none"
        )
    if seen.numbers:
        return f"; {seen.numbers:,} of {seen.present:,} cells are numbers"
    if seen.are_quantities:
        return "; numbers with a unit or sign, which is to be removed to learn from them"
    return ""


def _of_one_form(name: str, seen: TextStatistics) -> NumericColumn | None:
    """Returns what all of a column's text can be read as, other than plain numbers."""
    if seen.are_booleans:
        return Boolean(name, 0.0, 1.0, None, False, "all its values are true or false", "bool")
    if seen.number_formats:
        return _number(name, seen.number_formats[0])
    if dates := seen.date_formats:
        if len(dates) > 1 or (seen.have_zones and seen.lack_zones):
            return None  # ambiguous, and a guess would be silent
        return _datetime(name, dates[0], seen)
    if seen.are_durations:
        return Duration(name, 0.0, 1.0, None, False, "all its values are durations", "duration[us]")
    return None


def _number(name: str, marks: tuple[str, str]) -> Number:
    decimal, thousands = marks
    why = f"all its values are numbers with the decimal mark {decimal!r}"
    if thousands:
        why += f" and {thousands!r} between thousands"
    return Number(name, 0.0, 1.0, None, False, why, decimal=decimal, thousands=thousands)  # type: ignore[arg-type]


def _datetime(name: str, format: str | None, seen: TextStatistics) -> Datetime:
    stored = "date32[day]"
    if seen.have_times:
        stored = "timestamp[us, tz=UTC]" if seen.have_zones else "timestamp[us]"
    form = "by ISO 8601" if format is None else f"of the form {format}"
    why = f"all its values are dates {form}"
    return Datetime(name, 0.0, 1.0, None, False, why, stored, format=format, zoned=seen.have_zones)


def _are_numbers_but_few(seen: TextStatistics) -> bool:
    """Says whether a column is of numbers, and a few cells are wrong or mean "missing"."""
    others = seen.present - seen.numbers
    is_many = seen.levels.categories > _FEW_LEVELS
    return (
        others > 0
        and is_many
        and others <= seen.numbers
        and (others <= seen.present / 50 or len(seen.others) <= 2)
    )


def _as_asked(name: str, profile: Profile, asked: Asked, place: Place) -> Draft:
    why = "set by --column"
    if asked.kind in LEFT_OUT:
        kind: Any = asked.kind
        return Draft(LeftOut(name, kind, why))
    if asked.kind == "category":
        if is_duration_type(profile.stored):
            raise not_categories(name, profile.stored, place)
        stored = "string" if profile.texts else stored_type(profile)
        stored = "string" if profile.stored == pa.string() else stored
        column = CategoricalColumn(name, ("",), has_gaps=False, why=why, stored=stored)
        texts = profile.texts
        return Draft(column, is_measured=texts is not None and texts.levels.counted() is not None)
    return Draft(_numeric_as_asked(name, profile, asked, why, place), is_measured=False)


def _numeric_as_asked(
    name: str, profile: Profile, asked: Asked, why: str, place: Place
) -> NumericColumn:
    seen = profile.texts
    if asked.kind in ("number", "count"):
        marks = (".", "")
        if seen is not None and seen.number_formats and asked.format is None:
            marks = seen.number_formats[0]
        elif asked.format is not None:
            decimal, thousands = asked.format[0], asked.format[1:]
            usual = "." if decimal == "," else ","
            marks = (decimal, thousands.strip("-") if thousands else usual)
        made = _number(name, marks)
        stored = stored_type(profile) if seen is None else "double"
        fields = {f: getattr(made, f) for f in made.__struct_fields__}
        kind = Count if asked.kind == "count" else Number
        return kind(**fields | {"why": why, "stored": stored})
    if asked.kind == "boolean":
        stored = "bool" if seen is not None else stored_type(profile)
        return Boolean(name, 0.0, 1.0, None, False, why, stored)
    if asked.kind == "duration":
        stored = "duration[us]" if seen is not None else stored_type(profile)
        return Duration(name, 0.0, 1.0, None, False, why, stored)
    if seen is None:
        zoned = pa.types.is_timestamp(profile.stored) and profile.stored.tz is not None
        return Datetime(name, 0.0, 1.0, None, False, why, stored_type(profile), zoned=zoned)
    found = seen.date_formats
    if asked.format is None and len(found) > 1:
        raise InputError(
            f"{place.source}: column {name!r}: its dates can be read as "
            f"{' or '.join(str(form) for form in found)}; choose one with "
            f"--column '{name}=datetime:{found[0]}'"
        )
    format = asked.format if asked.format is not None else found[0] if found else None
    made_time = _datetime(name, format, seen)
    if asked.format is not None and asked.format not in found:
        made_time = msgspec.structs.replace(made_time, stored="timestamp[us]")
    return msgspec.structs.replace(made_time, why=why)


def stored_type(profile: Profile) -> str:
    """Returns the type in outputs of a column of numbers or times.

    Text that is all numbers counts as int64 or double, by how it is written.
    """
    if profile.stored == pa.string():
        return "double" if profile.have_points else "int64"
    if pa.types.is_null(profile.stored):
        return "double"
    return str(profile.stored)
