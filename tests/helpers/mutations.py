"""Deterministic damage: every function takes a `random.Random` and gives the same again."""

import json
import re
import struct

EXTREMES = (0, 1, 127, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_RAW = "@raw@"
_WRITTEN_RAW = re.compile(f'"{_RAW}(.*?){_RAW}"', re.DOTALL)


def raw(text):
    """A value that `dumps` writes as this text, whether or not it is JSON."""
    return _RAW + text + _RAW


NUMBERS = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 1.5, -0.0, 5e-324, 1e308, -1e308, 1e38),
    *(2**20, 2**20 + 1, 2**31, 2**32, 2**53, 2**63, 10**30, 10**400),
    *(raw("NaN"), raw("Infinity"), raw("-Infinity"), raw("1e999"), raw("-1e999"), raw("9" * 5000)),
]
TEXTS = [
    *("", " ", "a", "a" * 100_000, "\x00", "\ud800", "\udcff", "π", "\x1b[31m", "=1+1", "NaN"),
    *("../../etc/passwd", "/dev/zero", "C:\\x", "__class__", "number", "category", "simclr"),
]
DEEP = [
    raw(left * depth + right * depth)
    for depth in (40, 200, 900, 20_000)
    for left, right in (("[", "]"), ('{"a":', "}"))
]
SHAPES = [
    *([], {}, [[]], [None], [1, "a"], {"a": {}}, [2**20] * 2, [2**20] * 64, [1] * 65, [10**6] * 64),
    *([8], [8, 8], [1] * 1000, list("abc"), raw("[" + "0," * 200_000 + "0]")),
]
HOSTILE = NUMBERS + TEXTS + DEEP + SHAPES


def some_bytes(rng, data, other=b""):
    """Damages bytes in one to three places; mostly near an end, where headers and footers are."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_BYTES)(rng, bytearray(data), other)
    return bytes(data)


def some_json(rng, value):
    """Damages a JSON value in one or two places; returns text."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        value = _changed(rng, value, rng.choice(list(_paths(value))))
    text = dumps(value)
    if rng.random() < 0.1:  # a key that stands twice
        text = text.replace("{", "{" + rng.choice(_DOUBLED), 1)
    return text


def with_value(value, path, new):
    """The JSON value with another at a path."""
    if not path:
        return new
    made = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = with_value(made[path[0]], path[1:], new)
    return made


def dumps(value):
    """JSON, in which `raw` values stand as they are."""
    return _WRITTEN_RAW.sub(lambda found: json.loads(f'"{found[1]}"'), json.dumps(value))


def varint(number):
    """A number as thrift and protobuf write it."""
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def _paths(value, here=()):
    yield here
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in inside:
            yield from _paths(part, (*here, key))


def _changed(rng, value, path):
    if not path:
        return rng.choice(HOSTILE) if rng.random() < 0.2 else value
    *above, key = path
    holder = value
    for step in above:
        holder = holder[step]
    made = dict(holder) if isinstance(holder, dict) else list(holder)
    kind = rng.random()
    if kind < 0.65:
        made[key] = rng.choice(HOSTILE)
    elif kind < 0.75:
        del made[key]
    elif kind < 0.85 and isinstance(made, dict):
        made[rng.choice(TEXTS)] = made.pop(key)
    elif isinstance(made, dict):
        made[rng.choice(TEXTS)] = rng.choice(HOSTILE)
    else:
        made += [made[key]] * rng.choice((1, 3, 1000))
    return with_value(value, tuple(above), made)


_DOUBLED = ('"schema_version": 2, ', '"method": "pca", ', '"columns": [], ', '"sha256": {}, ')


def _place(rng, data):
    """An index, mostly in the first or last bytes."""
    end = max(len(data), 1)
    near = rng.randrange(min(end, 256))
    return rng.choice((near, end - 1 - near, rng.randrange(end)))


def _range(rng, data):
    start = _place(rng, data)
    return start, start + rng.choice((1, 2, 8, 33, 500, 10_000))


def _flip(rng, data, other):
    for _ in range(rng.choice((1, 1, 4, 32))):
        if data:
            data[_place(rng, data)] ^= 1 << rng.randrange(8)
    return data


def _truncate(rng, data, other):
    return data[: _place(rng, data)]


def _append(rng, data, other):
    return data + rng.choice((b"\0", b"\n", b"PK\5\6", bytes(5000), rng.randbytes(100)))


def _delete(rng, data, other):
    start, stop = _range(rng, data)
    return data[:start] + data[stop:]


def _repeat(rng, data, other):
    start, stop = _range(rng, data)
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 9)) + data[stop:]


def _swap(rng, data, other):
    cuts = sorted(_place(rng, data) for _ in range(4))
    a, b, c, d = cuts
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _splice(rng, data, other):
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def _blank(rng, data, other):
    start, stop = _range(rng, data)
    stop = min(stop, len(data))
    data[start:stop] = rng.choice((b"\0", b"\xff", b"\x80", b"9")) * (stop - start)
    return data


def _extreme(rng, data, other):
    """Overwrites what may be a size, in 2, 4 or 8 bytes."""
    size, code = rng.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
    place = _place(rng, data)
    data[place : place + size] = struct.pack(code, rng.choice(EXTREMES) % 256**size)
    return data


def _varint(rng, data, other):
    """Overwrites, or puts in, what may be a size as thrift and protobuf write it."""
    place, written = _place(rng, data), varint(rng.choice(EXTREMES))
    data[place : place + rng.choice((0, 1, 2, len(written)))] = written
    return data


_BYTES = (_flip, _truncate, _append, _delete, _repeat, _swap, _splice, _blank, _extreme, _varint)
