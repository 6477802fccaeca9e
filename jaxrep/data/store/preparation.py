"""Turns a table of any length into a folder of numbers and codes: `jaxrep prepare`.

The first passes fit the schema; then `unfinished.json` says what is being made. The last one
appends the features to `numbers.f32` and, where the table has categories, to `codes.i32`, chunk by
chunk, and notes the digest of each in `chunks.txt` once it is on the disk. It writes the label
column, if one is named, to `labels.parquet`, from the start again after an interruption.
`manifest.json`, written last, makes the folder finished.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep import files, strict_json
from jaxrep.errors import InputError, ModelFormatError

from .. import datasets, read
from ..columns import Columns
from ..fit import fit
from ..schema import Schema
from . import _signed
from ._parts import CODES, NUMBERS
from ._plan import Plan, check_space, nearest, read_plan
from ._row_writer import write_rows
from .row_file import PreparedRows, is_prepared, open_prepared


def prepare(
    source: str,
    out: Path,
    *,
    columns: Columns = Columns(),  # noqa: B008  # it is frozen
    fitted: Schema | None = None,
    split: Mapping[str, float] = {},
    fitted_to: Callable[[int], npt.NDArray[np.bool_]] | None = None,
    overwrite: bool = False,
    replace_others: bool = False,
    note: Callable[[str], None] = lambda message: None,
    watch: Callable[[Iterable[pa.Table]], Iterable[pa.Table]] = lambda blocks: blocks,
) -> PreparedRows:
    """Makes a folder of numbers and codes from a table, in memory that its rows do not grow.

    Nothing is written before the table has been read and found good. What was interrupted while it
    wrote continues from its last whole chunk; what is finished is left as it is.

    Args:
        source: as for `read_table`.
        out: the folder.
        columns: the kinds and roles that the user set; labels are kept in a file beside the rows.
        fitted: the schema to apply; by default it is fitted to the table.
        split: what draws the rows that the schema is not fitted to; empty where there are none.
        fitted_to: returns for the number of rows which of them it is fitted to, where `split` says
            that these are not all.
        overwrite: replace another prepared folder; never other files.
        replace_others: replace one that differs from what is asked for, and no other.
        note: called with warnings and remarks for the user.
        watch: passes the blocks of the pass that writes on, to show how far it is.

    Raises:
        InputError: the table or the folder cannot be used as asked, or the disk is too small.
        OSError: the writing failed.

    Example:
        >>> folder = Path(tempfile.mkdtemp()) / "wine"
        >>> made = prepare("wine", folder, columns=Columns(label="target"))
        >>> made.rows, made.spec.numbers
        (178, 13)
    """
    asked = _describe(source, columns, split)
    state = _check_folder(out, asked, overwrite=overwrite, replace_others=replace_others)
    if state == "finished":
        note(f"{out} already holds these rows, finished: nothing to do")
        return open_prepared(out)
    if state == "unfinished":
        plan = read_plan(out)
    else:
        _check_writable(out)
        if fitted is None:
            reading = read.Reading(source, note)
            mask = None
            if split and fitted_to:
                mask = fitted_to(sum(block.num_rows for block in reading()))
            made = fit(reading, source=source, columns=columns, mask=mask)
            for line in made.lines(source):
                note(line)
            for sentence in made.warnings(source):
                note(f"warning: {sentence}")
            fitted, rows = made.schema, made.rows if mask is None else len(mask)
        else:
            rows = sum(block.num_rows for block in read.read_blocks(source, note=note))
        digest = _signed.digest(strict_json.dumps(fitted.to_json()))
        plan = Plan(asked, rows, fitted, digest)
        check_space(out, plan, 0)
        _begin(out, plan)
    with _locked(out):
        write_rows(out, plan, lambda: watch(read.read_blocks(source, rows=plan.chunk_rows)), note)
    return open_prepared(out)


def _describe(source: str, columns: Columns, split: Mapping[str, float]) -> _signed.Asked:
    is_file = source not in datasets.NAMES and source != read.STANDARD_INPUT
    name = str(Path(source).resolve()) if is_file else source
    plain = json.loads(json.dumps(dataclasses.asdict(columns)))  # as it is read from a file
    return _signed.Asked(name, read.digests(source), plain, dict(split))


def _check_folder(
    out: Path, asked: _signed.Asked, *, overwrite: bool, replace_others: bool
) -> Literal["absent", "unfinished", "finished"]:
    """Says how far the folder is with what is asked for; "absent" where it is to be made anew."""
    if not is_prepared(out):
        if os.path.exists(out) and not (out.is_dir() and _is_empty(out)):
            raise InputError(
                f"--out {out}: exists and is not a prepared folder; choose another path"
            )
        return "absent"
    if overwrite:
        return "absent"
    finished = (out / _signed.MANIFEST).exists()
    try:
        if finished:
            open_prepared(out)
            earlier = _signed.read(out / _signed.MANIFEST, _signed.Manifest).asked
        else:
            earlier = _signed.read(out / _signed.UNFINISHED, _signed.Unfinished).asked
    except ModelFormatError as error:
        raise ModelFormatError(
            f"--out {error}; choose another path, or replace that folder with --overwrite"
        ) from None
    difference = _difference(earlier, asked)
    if difference and replace_others:
        return "absent"
    if difference:
        raise InputError(
            f"--out {out}: holds prepared rows that differ in {difference}; choose another path, "
            "or replace them with --overwrite"
        )
    return "finished" if finished else "unfinished"


def _is_empty(out: Path) -> bool:
    """Says whether a folder holds nothing but what a killed preparation had not yet named."""
    return all(file.name.startswith((".unfinished-", ".schema-")) for file in out.iterdir())


def _difference(earlier: _signed.Asked, asked: _signed.Asked) -> str | None:
    if earlier.files != asked.files:
        return "the data, whose content is another"
    if not asked.files and earlier.source != asked.source:
        return f"the data: {earlier.source!r} there, {asked.source!r} asked for"
    for key, value in asked.columns.items():
        if (there := earlier.columns.get(key)) != value:
            return f"{key}: {there!r} there, {value!r} asked for"
    if earlier.split != asked.split:
        return f"the rows set apart: {earlier.split} there, {asked.split} asked for"
    return None


def _check_writable(out: Path) -> None:
    """Refuses a folder that cannot be made, before the table is read."""
    try:
        folder = nearest(out)
        tempfile.TemporaryFile(dir=folder).close()
        os.pathconf(folder, "PC_NAME_MAX")
        out.exists()
        if len(os.fsencode(out.name)) > os.pathconf(folder, "PC_NAME_MAX"):
            raise OSError(0, "File name too long")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None


def _begin(out: Path, plan: Plan) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            # In this order the folder is at no moment finished, nor someone else's.
            for name in (_signed.MANIFEST, _signed.UNFINISHED, _signed.JOURNAL):
                (out / name).unlink(missing_ok=True)
            text = strict_json.dumps(plan.schema.to_json())
            files.write_text(out / _signed.SCHEMA, text)
            unfinished = _signed.Unfinished(plan.asked, plan.rows, plan.schema_sha256)
            _signed.write(out / _signed.UNFINISHED, unfinished)
            for name in (NUMBERS, CODES, _signed.LABELS):
                (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error


def _locked(out: Path) -> AbstractContextManager[None]:
    return files.locked(out, f"--out {out}: another process is preparing this folder")
