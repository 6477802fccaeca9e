"""Reads the files of a folder one after another as one table."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.errors import InputError

from .._messages import joined, listed
from .._names import check_names, selected
from . import _formats
from ._files import TableFile, find_file, named_format

_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """A file of a folder, and the columns that the names of its folders give."""

    path: Path
    """From the folder on."""

    file: TableFile
    partition: dict[str, str | None]


def folder_parts(source: str, note: Callable[[str], None]) -> list[Part]:
    """Returns the files that a folder's table is read from, sorted by their paths.

    Raises:
        InputError: there are none, or of several formats, or only some are in `key=value` folders.
    """
    try:
        found = sorted(_walk(Path(source), Path(), ()), key=lambda path: path.parts)
    except OSError as error:
        raise InputError(f"{source}: the folder cannot be read ({error.strerror})") from None
    formats = {path: named_format(path)[0] for path in found}
    kind = _format({each for each in formats.values() if each}, source)
    if others := [path for path in found if formats[path] != kind]:
        are = "is" if len(others) == 1 else "are"
        note(f"{joined(list(map(str, others)))} of the folder {are} not read, only {kind} is")
    parts = []
    for path in found:
        if formats[path] == kind:
            file = find_file(str(Path(source) / path))
            parts.append(Part(path, file, _partition(path)))
    _check_partitions(parts, source)
    return parts


def read_folder(
    source: str, columns: Collection[str] | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    """Reads a folder's table piece by piece, in the order of `folder_parts`.

    Raises:
        InputError: as `folder_parts`, a file is broken, or the columns of two do not agree.
    """
    parts = folder_parts(source, note)
    stored = _unified(parts, source)
    partition = list(parts[0].partition)
    check_names([*stored.names, *partition], source)
    wanted = selected([*stored.names, *partition], columns, source)
    read = [name for name in stored.names if name in wanted] or stored.names[:1]
    target = pa.schema([stored.field(name) for name in read])
    for part in parts:
        for piece in _formats.pieces(part.file, read, note):
            table = _widened(piece.select(read), target, part)
            for key, value in part.partition.items():
                table = table.append_column(key, _repeated(value, table.num_rows))
            yield table.select(wanted)


def _walk(folder: Path, below: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    status = (folder / below).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise InputError(f"{folder / below}: a link to a folder that it is in; remove it")
    for path in (folder / below).iterdir():
        if path.name[0] in "._":
            continue
        if path.is_dir():
            yield from _walk(folder, below / path.name, (*above, here))
        else:
            yield below / path.name


def _format(formats: set[str], source: str) -> str:
    if "Parquet" in formats:
        return "Parquet"
    if not formats:
        raise InputError(f"{source}: the folder has no table file in it")
    kind = min(formats)
    if len(formats) > 1 or kind not in _formats.SCHEMAS:
        raise InputError(
            f"{source}: a folder with files of the kind {', '.join(sorted(formats))}; a folder is "
            f"read if they are all {', '.join(_formats.SCHEMAS)}: give one of the files"
        )
    return kind


def _partition(path: Path) -> dict[str, str | None]:
    pairs = [name.split("=", 1) for name in path.parts[:-1] if "=" in name]
    return {unquote(key): None if text == _NULL else unquote(text) for key, text in pairs}


def _check_partitions(parts: list[Part], source: str) -> None:
    first = parts[0]
    for part in parts:
        if list(part.partition) != list(first.partition):
            raise InputError(
                f"{source}: {part.path} is in folders for {listed(part.partition) or 'no column'}, "
                f"but {first.path} for {listed(first.partition) or 'no column'} (key=value); "
                "all files of a folder must agree"
            )


def _unified(parts: list[Part], source: str) -> pa.Schema:
    """Returns the columns of the first file with types to which those of all files widen."""
    first = _formats.schema(parts[0].file)
    types = {field.name: field.type for field in first}
    since = dict.fromkeys(types, parts[0])
    for part in parts[1:]:
        schema = _formats.schema(part.file)
        if schema.equals(first):
            continue
        if difference := _difference(schema, first):
            raise InputError(
                f"{source}: {part.path} has other columns than {parts[0].path} ({difference}); "
                "all files of a folder must agree"
            )
        for field in schema:
            name, known = field.name, types[field.name]
            wider = (
                None
                if field.type != known and _is_text(field.type, known)
                else _wider(known, field.type)
            )
            if wider is None:
                raise InputError(
                    f"{source}: column {name!r} is {field.type} in {part.path}, but {known} in "
                    f"{since[name].path}; all files of a folder must agree"
                )
            if wider != known:
                types[name], since[name] = wider, part
    return pa.schema(list(types.items()))


def _is_text(kind: pa.DataType, known: pa.DataType) -> bool:
    """Says whether of two types one is text and the other has values."""
    pair = {kind, known}
    return pa.string() in pair and pa.null() not in pair


def _wider(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    pair = [pa.schema([("", a)]), pa.schema([("", b)])]
    try:
        return pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def _difference(schema: pa.Schema, first: pa.Schema) -> str | None:
    here, there = set(schema.names), set(first.names)
    if absent := [name for name in first.names if name not in here]:
        return f"missing columns {listed(absent)}"
    if extra := [name for name in schema.names if name not in there]:
        return f"extra columns {listed(extra)}"
    return None


def _widened(table: pa.Table, target: pa.Schema, part: Part) -> pa.Table:
    if table.schema.equals(target):
        return table
    columns = []
    for field in target:
        # An integer beyond 2⁵³ is rounded, as the nearest float64 to it.
        options = pc.CastOptions(target_type=field.type, allow_float_truncate=True)
        try:
            columns.append(table[field.name].cast(options=options))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{part.file.source}: column {field.name!r} is {field.type} in other files of the "
                f"folder, and does not fit ({error})"
            ) from None
    return pa.Table.from_arrays(columns, schema=target)


def _repeated(value: str | None, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, pa.string())
    return pa.repeat(pa.scalar(value, pa.string()), rows)
