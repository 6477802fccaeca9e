"""Points in time and lengths of time, exact to the last tick, and the texts that stand for them."""

import datetime
import re
from typing import NamedTuple

import numpy as np

_ISO = re.compile(
    r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})"
    r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(?: ?(Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_CLOCK = re.compile(r"(-?)([0-9]{1,12}):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?")
_DAYS = re.compile(
    r"(-?[0-9]{1,12}) days?"
    r"(?: \+?([0-9]{1,12}):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?)?"
)
_ISO_SPAN = re.compile(
    r"(-?)P(?=.)(?:([0-9]{1,12})D)?"
    r"(?:T(?=.)(?:([0-9]{1,12})H)?(?:([0-9]{1,12})M)?(?:([0-9]{1,12})(?:\.([0-9]{1,9}))?S)?)?"
)
_NS = 10**9
_MICROSECOND = datetime.timedelta(microseconds=1)
_EPOCH = datetime.datetime(1970, 1, 1)


class Instant(NamedTuple):
    """A point in time: a whole number of parts of a second since 1970-01-01 UTC."""

    ticks: int
    per_second: int
    zoned: bool
    """Whether it was given with a time zone; without one it is taken for UTC."""


class Duration(NamedTuple):
    """A duration, or a time of day since midnight: a whole number of parts of a second."""

    ticks: int
    per_second: int


def instant_of(moment: datetime.datetime) -> Instant:
    """Returns a datetime of the standard library as a count of microseconds.

    Example:
        >>> instant_of(datetime.datetime(1970, 1, 1, 0, 1))
        Instant(ticks=60000000, per_second=1000000, zoned=False)
    """
    offset = moment.utcoffset()
    since = moment.replace(tzinfo=None) - _EPOCH - (offset or datetime.timedelta())
    return Instant(since // _MICROSECOND, 10**6, zoned=offset is not None)


def to_seconds(time: Instant | Duration) -> float:
    """Returns seconds in float64: whole ones, rounded down, plus the rest of one.

    Example:
        >>> to_seconds(Duration(-1500, 1000))
        -1.5
    """
    whole, rest = divmod(time.ticks, time.per_second)
    return float(whole) + float(rest) / float(time.per_second)


def instant_of_text(text: str) -> Instant | None:
    """Returns the point in time that a trimmed text in ISO 8601 is, or None.

    Example:
        >>> instant_of_text("1970-01-01T01:00:00.5+01:00")
        Instant(ticks=500000000, per_second=1000000000, zoned=True)
        >>> instant_of_text("1970-02-30")
    """
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = int(np.datetime64(f"{year}-{month:0>2}-{day:0>2}", "D").astype(np.int64))
    except ValueError:
        return None
    h, m, s = (int(part or 0) for part in (hour, minute, second))
    if h > 23 or m > 59 or s > 59:
        return None
    if zone not in (None, "Z", "z", "UTC"):
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        m -= (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
    seconds = days * 86400 + h * 3600 + m * 60 + s
    return Instant(seconds * _NS + _nanoseconds(fraction), _NS, zone is not None)


def instant_by_format(text: str, format: str) -> Instant | None:
    """Returns the point in time that a text is by a format of `strptime`, or None.

    Example:
        >>> instant_by_format("2 Jan 1970", "%d %b %Y")
        Instant(ticks=86400000000, per_second=1000000, zoned=False)
    """
    try:
        return instant_of(datetime.datetime.strptime(text, format))
    except ValueError:
        return None


def duration_of_text(text: str) -> Duration | None:
    """Returns the duration that a trimmed text is, or None.

    Example:
        >>> duration_of_text("-00:00:01.5")
        Duration(ticks=-1500000000, per_second=1000000000)
    """
    days: str | int
    if found := _CLOCK.fullmatch(text):
        sign, hours, minutes, seconds, fraction = found.groups()
        days = 0
    elif found := _ISO_SPAN.fullmatch(text):
        sign, days, hours, minutes, seconds, fraction = found.groups()
    elif found := _DAYS.fullmatch(text):  # the minus sign is that of the days alone
        days, hours, minutes, seconds, fraction = found.groups()
        sign = ""
    else:
        return None
    d, h, m, s = (int(part or 0) for part in (days, hours, minutes, seconds))
    count = (((d * 24 + h) * 60 + m) * 60 + s) * _NS + _nanoseconds(fraction)
    return Duration(-count if sign else count, _NS)


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0"))


def canonical(instant: Instant) -> str:
    """Returns the one text in ISO 8601 for a point in time: a date where nothing else is needed.

    Example:
        >>> canonical(Instant(86400, 1, zoned=False))
        '1970-01-02'
        >>> canonical(Instant(500, 1000, zoned=True))
        '1970-01-01T00:00:00.5Z'
    """
    seconds, rest = divmod(instant.ticks, instant.per_second)
    day, second = divmod(seconds, 86400)
    date = str(np.datetime64(day, "D"))
    if not instant.zoned and second == rest == 0:
        return date
    time = f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    if rest:
        digits = len(str(instant.per_second)) - 1
        time += f".{rest:0{digits}}".rstrip("0")
    return date + time + ("Z" if instant.zoned else "")
