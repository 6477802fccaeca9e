"""Dates and durations, from text and from Arrow's types, as exact counts.

A time is a whole number of seconds and a remainder in nanoseconds. Milliseconds, nanoseconds and
text give the same float64, since seconds and remainder are each rounded once.
"""

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._arrow import texts_to_arrow, to_arrow, to_numpy

_DATE = r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{1,2})(?P<again>[-/])(?P<day>\d{1,2})"
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r" ?(?P<zone>Z|z|UTC|[+-]\d{2}(?::?\d{2})?)"
ISO = rf"^{_DATE}(?:[T ]{_TIME}(?:{_ZONE})?)?$"
"""Dates by ISO 8601, with or without the time of day and a zone."""

# More digits would leave 64-bit integers.
_CLOCK = r"(?P<h>\d{1,12}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:\.(?P<f>\d{1,9}))?)?"
_DAYS = r"(?P<days>-?\d{1,12}) days?"
_ISO_CLOCK = (
    r"T(?:(?P<H>\d{1,12})H)?(?:(?P<M>\d{1,12})M)?(?:(?P<S>\d{1,12})(?:\.(?P<F>\d{1,9}))?S)?"
)
_ISO_DURATION = rf"P(?:(?P<D>\d{{1,12}})D)?(?:{_ISO_CLOCK})?"
CLOCK = rf"^(?P<minus>-)?{_CLOCK}$"
DAYS = rf"^{_DAYS}(?: \+?{_CLOCK})?$"
ISO_DURATION = rf"^(?P<minus>-)?{_ISO_DURATION}$"
DURATION = rf"(?:{CLOCK})|(?:{DAYS})|(?:{ISO_DURATION})"
"""Durations: 26:15, 00:03:25.5, 1 days 02:00:00, PT1H30M."""

FORMATS: tuple[tuple[str, str], ...] = (
    (r"^\d{1,2}/\d{1,2}/\d{4}$", "%m/%d/%Y"),
    (r"^\d{1,2}/\d{1,2}/\d{4}$", "%d/%m/%Y"),
    (r"^\d{1,2}\.\d{1,2}\.\d{4}$", "%d.%m.%Y"),
    (r"^\d{1,2}-\d{1,2}-\d{4}$", "%m-%d-%Y"),
    (r"^\d{1,2}-\d{1,2}-\d{4}$", "%d-%m-%Y"),
    (r"^\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}$", "%m/%d/%Y %H:%M"),
    (r"^\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}$", "%d/%m/%Y %H:%M"),
    (r"^\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}:\d{2}$", "%m/%d/%Y %H:%M:%S"),
    (r"^\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}:\d{2}$", "%d/%m/%Y %H:%M:%S"),
    (r"^[A-Za-z]{3} \d{1,2} \d{4}$", "%b %d %Y"),
    (r"^[A-Za-z]{3} \d{1,2}, \d{4}$", "%b %d, %Y"),
    (r"^[A-Za-z]{4,9} \d{1,2}, \d{4}$", "%B %d, %Y"),
    (r"^\d{1,2} [A-Za-z]{3} \d{4}$", "%d %b %Y"),
    (r"^\d{1,2}-[A-Za-z]{3}-\d{4}$", "%d-%b-%Y"),
    (r"^\d{1,2}-[A-Za-z]{3}-\d{2}$", "%d-%b-%y"),
    (r"^\d{4}-\d{1,2}$", "%Y-%m"),
)
"""Other date formats, in the order in which they are tried."""

Ints = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
Times = tuple[Seconds, npt.NDArray[np.bool_]]
"""Seconds, NaN where a text is no date; and whether each has a time zone."""


def to_seconds(whole: Ints, rest: Ints, per_second: int) -> Seconds:
    """Returns whole seconds and a rest in units of which there are so many in a second."""
    return whole.astype(np.float64) + rest.astype(np.float64) / per_second


def of_arrow(cells: Any) -> Seconds:
    """Returns a ChunkedArray of dates, timestamps, durations or times of the day as seconds.

    Args:
        cells: dates and timestamps count from 1970-01-01 UTC, times of the day from midnight.

    Example:
        >>> of_arrow(pa.chunked_array([pa.array([1500, None], pa.timestamp("ms"))]))
        array([1.5, nan])
    """
    counts, per_second = _counts(cells)
    whole, rest = (counts, counts * 0) if per_second == 1 else np.divmod(counts, per_second)
    seconds = to_seconds(whole, rest, per_second)
    if cells.null_count:
        seconds[to_numpy(cells.is_null())] = np.nan
    return seconds


def _counts(cells: Any) -> tuple[Ints, int]:
    """Returns times as counts of a unit, and how many of it there are in a second."""
    kind = cells.type
    if pa.types.is_date32(kind):
        return to_numpy(cells.cast(pa.int32())).astype(np.int64) * 86_400, 1
    if pa.types.is_date64(kind):
        return to_numpy(cells.cast(pa.int64())), 1000
    integers = cells.cast(pa.int32()) if pa.types.is_time32(kind) else cells
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return to_numpy(integers.cast(pa.int64())), per_second


def exact(cells: Any) -> list[tuple[int, int]]:
    """Returns dates and timestamps, none missing, as seconds and nanoseconds.

    Example:
        >>> exact(pa.array([1500], pa.timestamp("ms")))
        [(1, 500000000)]
    """
    counts, per_second = _counts(cells)
    pairs = (divmod(int(count), per_second) for count in counts)
    return [(whole, rest * 10**9 // per_second) for whole, rest in pairs]


def keys_of_dates(texts: Any) -> Any:
    """Returns dates by ISO 8601 as `text_of` writes them, and those that do not exist as they are.

    Args:
        texts: a pyarrow Array of strings, all of which match `ISO`.

    Example:
        >>> keys_of_dates(pa.array(["2024-01-01 00:00:00", "2024-13-01"])).to_pylist()
        ['2024-01-01', '2024-13-01']
    """
    whole, nanos, zoned, possible = _iso_parts(pc.extract_regex(texts, ISO))
    parts = zip(whole.tolist(), nanos.tolist(), zoned.tolist(), possible, strict=True)
    return texts_to_arrow(
        [
            text_of(seconds, rest, zoned=has_zone) if exists else texts[i].as_py()
            for i, (seconds, rest, has_zone, exists) in enumerate(parts)
        ]
    )


def dates_of_text(texts: Any, format: str | None) -> Times:
    """Returns texts as seconds since 1970-01-01 UTC.

    Args:
        texts: a pyarrow Array of strings, none missing.
        format: as `strptime` has it; None for ISO 8601.

    Example:
        >>> dates_of_text(pa.array(["1970-01-02", "1970-01-01T01:00:00.5+01:00", "soon"]), None)
        (array([8.64e+04, 5.00e-01,      nan]), array([False,  True, False]))
        >>> dates_of_text(pa.array(["2.1.1970"]), "%d.%m.%Y")[0]
        array([86400.])
    """
    return _by_iso(texts) if format is None else _by_format(texts, format)


def durations_of_text(texts: Any) -> Seconds:
    """Returns texts as seconds, NaN where one is not a duration.

    Example:
        >>> durations_of_text(pa.array(["0:01:30", "-1 days +23:00:00", "PT1.5S", "soon"])).tolist()
        [90.0, -3600.0, 1.5, nan]
    """
    seconds = np.full(len(texts), np.nan)
    for pattern, names in (
        (CLOCK, ("", "h", "m", "s", "f")),
        (DAYS, ("days", "h", "m", "s", "f")),
        (ISO_DURATION, ("D", "H", "M", "S", "F")),
    ):
        found = pc.extract_regex(texts, pattern)
        rows = np.flatnonzero(to_numpy(found.is_valid()))
        if not len(rows):
            continue
        parts = {field.name: found.field(field.name).take(to_arrow(rows)) for field in found.type}
        days, hours, minutes, whole = (_ints(parts, name) for name in names[:4])
        nanos = _nanoseconds(parts, names[4])
        whole = whole + 60 * minutes + 3600 * hours + 86_400 * days
        if "minus" in parts:
            negative = to_numpy(pc.utf8_length(parts["minus"])) > 0
            # −1.5 s is −2 s and half a second, as the counts of Arrow's types are cut.
            borrow = negative & (nanos > 0)
            whole = np.where(negative, -whole, whole) - borrow
            nanos = np.where(borrow, 10**9 - nanos, nanos)
        made = to_seconds(whole, nanos, 10**9)
        if pattern == ISO_DURATION:  # "P" and "PT" alone have no value
            made[to_numpy(pc.match_substring_regex(texts.take(to_arrow(rows)), "[PT]$"))] = np.nan
        seconds[rows] = made
    return seconds


def _by_iso(texts: Any) -> Times:
    found = pc.extract_regex(texts, ISO)
    rows = np.flatnonzero(to_numpy(found.is_valid()))
    seconds, zoned = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
    if not len(rows):
        return seconds, zoned
    whole, nanos, has_zone, possible = _iso_parts(found.take(to_arrow(rows)))
    seconds[rows] = np.where(possible, to_seconds(whole, nanos, 10**9), np.nan)
    zoned[rows] = has_zone
    return seconds, zoned


def _iso_parts(found: Any) -> tuple[Ints, Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Returns seconds, nanoseconds, whether there is a zone, and whether there is such a date."""
    parts = {field.name: found.field(field.name) for field in found.type}
    year, month, day, hour, minute, second = (
        _ints(parts, name) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    offset, has_offset = _offsets(parts["zone"])
    days = _days_since_1970(year, month, day)
    whole = 86_400 * days + 3600 * hour + 60 * minute + second - offset
    possible = (
        (month >= 1) & (month <= 12) & (day >= 1)
        & (day <= _days_in_month(year, np.clip(month, 1, 12)))
        & (hour < 24) & (minute < 60) & (second < 60) & has_offset
        & to_numpy(pc.equal(parts["mark"], parts["again"]))
    )  # fmt: skip
    has_zone = to_numpy(pc.utf8_length(parts["zone"])) > 0
    return whole, _nanoseconds(parts, "fraction"), has_zone, possible


def _by_format(texts: Any, format: str) -> Times:
    epoch = datetime.datetime(1970, 1, 1)
    seconds, zoned = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
    for i, text in enumerate(texts.to_pylist()):
        try:
            moment = datetime.datetime.strptime(text, format)
        except ValueError:
            continue
        offset = moment.utcoffset()
        zoned[i] = offset is not None
        since = moment.replace(tzinfo=None) - epoch - (offset or datetime.timedelta())
        seconds[i] = float(since.days * 86_400 + since.seconds) + since.microseconds / 10**6
    return seconds, zoned


def _ints(parts: dict[str, Any], name: str) -> Ints:
    """Returns a part of matched texts as whole numbers, 0 where it is not there."""
    if name not in parts:
        return np.zeros(len(next(iter(parts.values()))), np.int64)
    return to_numpy(pc.replace_substring_regex(parts[name], "^$", "0").cast(pa.int64()))


def _nanoseconds(parts: dict[str, Any], name: str) -> Ints:
    padded = pc.utf8_rpad(parts[name], width=9, padding="0")
    return to_numpy(padded.cast(pa.int64()))


def _offsets(zones: Any) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Returns how many seconds each zone is ahead of UTC, and whether there is such a zone."""
    known: dict[str, int] = {}
    possible: dict[str, bool] = {}
    for zone in pc.unique(zones).to_pylist():
        digits = zone.lstrip("+-").replace(":", "")
        hours, minutes = (int(digits[:2]), int(digits[2:] or 0)) if digits.isdecimal() else (0, 0)
        ahead = hours * 3600 + minutes * 60
        known[zone] = -ahead if zone.startswith("-") else ahead
        possible[zone] = hours < 24 and minutes < 60
    if len(known) == 1:
        zone = next(iter(known))
        return np.full(len(zones), known[zone], np.int64), np.full(len(zones), possible[zone])
    texts = zones.to_pylist()
    return np.array([known[t] for t in texts], np.int64), np.array([possible[t] for t in texts])


def _days_since_1970(year: Ints, month: Ints, day: Ints) -> Ints:
    """Returns the days of the proleptic Gregorian calendar from 1970-01-01 to each date."""
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - 400 * era
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = 365 * year_of_era + year_of_era // 4 - year_of_era // 100 + day_of_year
    days: Ints = 146_097 * era + day_of_era - 719_468
    return days


def _days_in_month(year: Ints, month: Ints) -> Ints:
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days: Ints = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[month - 1]
    days += (month == 2) & is_leap
    return days


def text_of(seconds: int, nanos: int, *, zoned: bool) -> str:
    """Returns a point in time as the key of a category.

    Example:
        >>> text_of(86_400, 0, zoned=False), text_of(1, 500_000_000, zoned=True)
        ('1970-01-02', '1970-01-01T00:00:01.5Z')
    """
    days, rest = divmod(seconds, 86_400)
    date = str(np.datetime64(days, "D"))  # of any year, unlike those of datetime
    if not (rest or nanos or zoned):
        return date
    hours, rest = divmod(rest, 3600)
    fraction = f".{nanos:09}".rstrip("0") if nanos else ""
    return f"{date}T{hours:02}:{rest // 60:02}:{rest % 60:02}{fraction}{'Z' if zoned else ''}"
