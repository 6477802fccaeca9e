"""Tables that lie: case `n` is always the same file."""

import gzip
import io
import random
import struct
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.mutations import some_bytes, varint

FORMATS = (".csv", ".csv", ".csv.gz", ".parquet", ".parquet", ".parquet", ".npy", ".npz")
ROWS = 60

_CELLS = (
    *("", " ", "NA", "?", "1e999", "-inf", "nan", "1e-400", "1,234", '"', '""', '"a\nb"', "\0"),
    *("=1+1", "\ud800", "x" * 200_000, "9" * 400, "1_000", "0x10", "1e5", "+7", "٣", "\ufeff"),
)
_DTYPES = (
    *("<f8", ">f8", "<f4", "<f2", "|b1", "<i8", "|u1", "<c16", "|O", "<U4", "|S4", "<M8[s]"),
    *("|V8", "<f16", "|S0", "<U0", "|V0", "<f99", "", "f8,f8", "O8"),
)
_SIZES = (-1, 0, 1, 4, 60, 2**20 + 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**12, 10**30)
_TYPES = (
    *(pa.binary(), pa.large_string(), pa.list_(pa.float64()), pa.time64("us"), pa.duration("s")),
    *(pa.decimal128(20, 3), pa.decimal256(60, 3), pa.float16(), pa.uint64(), pa.null(), pa.bool_()),
    *(pa.date32(), pa.timestamp("ns", "Nowhere/City"), pa.dictionary(pa.int8(), pa.string())),
    *(pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8()), pa.string_view()),
)


def matrix():
    """The rows of .npy and .npz files."""
    return np.random.default_rng(0).normal(size=(ROWS, 4))


def columns():
    """The rows of .csv and .parquet files."""
    rng = np.random.default_rng(2)
    age = rng.normal(40, 9, ROWS).round(2)
    return {
        "job": ["" if i % 9 == 0 else ("clerk", "smith")[i % 2] for i in range(ROWS)],
        "age": [None if i % 7 == 0 else float(age[i]) for i in range(ROWS)],
        "city": rng.choice(["Ulm", "Bonn"], ROWS).tolist(),
    }


def case(number):
    """The suffix and the bytes of a table; every tenth is only rewritten, not damaged."""
    rng = random.Random(f"table {number}")
    suffix = FORMATS[number % len(FORMATS)]
    return suffix, _MAKERS[suffix](rng, number % 10 == 9)


def _csv(rng, sound):
    names = list(columns())
    rows = [names, *zip(*columns().values(), strict=True)]
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    kind = 0.5 if sound else rng.random()
    if kind < 0.35:
        for _ in range(rng.choice((1, 1, 3))):
            lines[rng.randrange(len(lines))][rng.randrange(3)] = rng.choice(_CELLS)
    elif kind < 0.4:
        line = rng.randrange(len(lines))
        lines[line] = rng.choice(([], lines[line] * 2, lines[line][:1], lines[line] * 50_000))
    data = _lines(lines)
    if sound or kind < 0.4:
        return data
    if kind < 0.5:
        return rng.choice(_ENCODED)(data)
    return some_bytes(rng, data, rng.choice((_npy(rng, True), data[::-1])))


_ENCODED = (
    lambda d: b"\xef\xbb\xbf" + d,
    lambda d: d.decode().encode("utf-16"),
    lambda d: d.replace(b"\n", b"\r"),
    lambda d: d.replace(b"\n", b"\r\n"),
    lambda d: d.replace(b",", b";"),
    lambda d: d.partition(b"\n")[2],
    lambda d: d.replace(b"\n", b"\n\n"),
    lambda d: d.rstrip(b"\n"),
)


def _lines(lines):
    text = "".join(",".join(line) + "\n" for line in lines)
    return text.encode("utf-8", "surrogatepass")


def _csv_gz(rng, sound):
    data = _csv(rng, sound or rng.random() < 0.5)
    kind = 1.0 if sound else rng.random()
    if kind < 0.2:  # much in little: a header, a cell, a row or a file without end
        size = rng.choice((2**20, 40 * 2**20, 200 * 2**20))
        fill = rng.choice((b",", b"a", b"\n", b'"', b"\0", b"a,", b"1\n"))
        head = rng.choice((b"", b"job,age,city\n", b"job,age,city\n1,"))
        return gzip.compress(head + fill * (size // len(fill)), 1, mtime=0)
    packed = gzip.compress(data, mtime=0)
    if sound or kind > 0.8:
        return packed
    return some_bytes(rng, packed, gzip.compress(b"a,b\n1,2\n", mtime=0))


def _parquet(rng, sound):
    table = pa.table(columns())
    kind = 1.0 if sound else rng.random()
    if kind < 0.12:
        table = _of_odd_type(rng)
    elif kind < 0.16:
        table = pa.table({name: pa.array([None] * ROWS, pa.string()) for name in columns()})
    elif kind < 0.2:
        table = table.select([]) if rng.random() < 0.5 else table.slice(0, 0)
    options = {
        "compression": rng.choice(("none", "snappy", "zstd", "gzip", "lz4", "brotli")),
        "use_dictionary": rng.random() < 0.5,
        "data_page_version": rng.choice(("1.0", "2.0")),
        "row_group_size": rng.choice((7, 60)),
        "write_page_checksum": rng.random() < 0.2,
        "store_schema": rng.random() < 0.7,
    }
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    data = buffer.getvalue()
    if sound or kind < 0.2:
        return data
    return _footer(rng, data) if kind < 0.7 else some_bytes(rng, data, data[::-1])


def _of_odd_type(rng):
    made = dict(columns())
    name, kind = rng.choice(list(made)), rng.choice(_TYPES)
    if rng.random() < 0.3:
        bad = pa.array([b"\xff\xfe"] * ROWS, pa.binary())
        made[name] = pa.Array.from_buffers(pa.string(), ROWS, bad.buffers())
    else:
        made[name] = pa.array([None] * ROWS, kind)
        counts = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
            made[name] = pa.array(range(ROWS), counts).cast(kind, safe=False)
    return pa.table(made)


def _footer(rng, data):
    """Damages the metadata alone, whose length stays true."""
    size = int.from_bytes(data[-8:-4], "little")
    pages, footer = data[: -8 - size], bytearray(data[-8 - size : -8])
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(footer))
        new = varint(rng.choice((0, 1, 2**14, 2**31 - 1, 2**40, 2**62, 2**64 - 1)))
        change = rng.random()
        if change < 0.4:
            footer[place] ^= 1 << rng.randrange(8)
        elif change < 0.8:
            footer[place : place + rng.choice((1, 2, len(new)))] = new
        else:
            footer[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return pages + bytes(footer) + struct.pack("<I", len(footer)) + b"PAR1"


def _npy(rng, sound):
    array = matrix()
    if sound:
        return _saved(np.asarray(array, rng.choice("CF") and np.float64, order=rng.choice("CF")))
    kind = rng.random()
    if kind < 0.4:
        return _lying(rng, array)
    if kind < 0.5:
        odd = (array[0], array[None], array > 0, array * 1e300, array.astype("f2"), array * np.inf)
        return _saved(rng.choice(odd))
    return some_bytes(rng, _saved(array), _saved(array.astype(np.float32)))


def _saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _lying(rng, array):
    """Rows under a header that says something else."""
    shape = rng.choice(
        ((60, 4), tuple(rng.choice(_SIZES) for _ in range(rng.choice((1, 2, 2, 3)))))
    )
    descr = rng.choice(("<f8", rng.choice(_DTYPES)))
    text = f"{{'descr': {descr!r}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape!r}, }}"
    text = rng.choice((text, text, text, text, *_HEADERS))
    body = rng.choice((array.tobytes(), b"", b"\0" * 60))
    header = text.encode() + b"\n"
    version, code = rng.choice(((1, "<H"), (1, "<H"), (2, "<I"), (3, "<I"), (9, "<I")))
    size = rng.choice((len(header), len(header), len(header), 2**16 - 1))
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack(code, size) + header + body


_HEADERS = (
    "(" * 5000,
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9**9**9, 4)}",
    "__import__('os').system('touch owned')",
    "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (60, 4)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (60L, 4L)}",
    "{'descr': '<f8', 'fortran_order': 7, 'shape': (True, 4)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': [60, 4]}",
    "[" * 9000 + "]" * 9000,
)


def _npz(rng, sound):
    array = _npy(rng, sound or rng.random() < 0.7)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    kind = 1.0 if sound else rng.random()
    if kind < 0.15:
        array = _bomb(rng)
        method = zipfile.ZIP_DEFLATED
    names = ["X.npy"]
    if kind > 0.85 and not sound:
        names = rng.choice(
            (["X.npy", "X.npy"], ["a.npy", "b.npy"], ["../X.npy"], ["X"], [], ["X/"])
        )
    data = _zipped(names, array, method)
    if sound or kind < 0.3 or kind > 0.85:
        return data
    return _directory(rng, data) if kind < 0.6 else some_bytes(rng, data, data[::-1])


def _bomb(rng):
    rows = rng.choice((2**20, 2**22))
    header = f"{{'descr': '|u1', 'fortran_order': {rng.random() < 0.5}, 'shape': ({rows}, 4), }}\n"
    size = struct.pack("<H", len(header))
    return b"\x93NUMPY\1\0" + size + header.encode() + bytes(4 * rows)


def _zipped(names, array, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that stands twice is meant
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), array, method)
    return buffer.getvalue()


def _directory(rng, data):
    """Sizes, method, flags or offsets in the central directory, or in the local header, lie."""
    made = bytearray(data)
    central = rng.random() < 0.7
    start = data.rfind(b"PK\1\2") if central else 0
    shift = 2 if central else 0
    field, code = rng.choice(
        ((6, "<H"), (8, "<H"), (14, "<I"), (18, "<I"), (22, "<I"), (26, "<H"), (28, "<H"))
    )
    value = rng.choice((0, 1, 8, 12, 14, 99, 2**15, 2**16 - 1, 2**31, 2**32 - 1))
    struct.pack_into(code, made, start + field + shift, value % 256 ** struct.calcsize(code))
    return bytes(made)


_MAKERS = {".csv": _csv, ".csv.gz": _csv_gz, ".parquet": _parquet, ".npy": _npy, ".npz": _npz}
