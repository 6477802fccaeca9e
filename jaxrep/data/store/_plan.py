"""What a prepared folder is to hold, and the room that it takes."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from jaxrep.errors import InputError

from .._blocks import block_rows
from ..schema import Schema
from . import _signed
from ._parts import CODES, NUMBERS, Part, parts_of
from .row_file import read_schema

_ROOM = 1 << 20  # bytes for the small files

_LABEL_BYTES = 8  # of a label, about


@dataclass(frozen=True)
class Plan:
    """What `unfinished.json` says."""

    asked: _signed.Asked
    rows: int
    schema: Schema
    schema_sha256: str

    @property
    def parts(self) -> list[Part]:
        return parts_of(self.schema.row_spec())

    @property
    def chunk_rows(self) -> int:
        return block_rows(len(self.schema.columns))

    @property
    def chunks(self) -> int:
        return -(-self.rows // self.chunk_rows)

    def rows_of(self, chunk: int) -> int:
        """Returns how many rows a chunk has."""
        return min(self.chunk_rows, self.rows - chunk * self.chunk_rows)


def read_plan(out: Path) -> Plan:
    """Reads the plan of a folder that is not finished."""
    found = _signed.read(out / _signed.UNFINISHED, _signed.Unfinished)
    return Plan(found.asked, found.rows, read_schema(out, found.sha256), found.sha256)


def check_space(out: Path, plan: Plan, written: int) -> None:
    """Raises an InputError if the disk cannot hold what is not written yet."""
    labels = _LABEL_BYTES * plan.rows if plan.schema.label is not None else 0
    needed = plan.rows * sum(part.row_bytes for part in plan.parts) - written + labels + _ROOM
    folder = nearest(out)
    there = 0  # earlier ones, which go first
    if not written:
        earlier = [out / name for name in (NUMBERS, CODES)]
        there = sum(path.stat().st_size for path in earlier if path.exists())
    free = shutil.disk_usage(folder).free + there
    if free < needed:
        raise InputError(
            f"--out {out}: {plan.rows} rows of {len(plan.schema.columns)} columns need "
            f"{needed / 2**20:,.0f} MiB more, and the disk has {free / 2**20:,.0f} MiB left; free "
            "some, or choose another path"
        )


def nearest(path: Path) -> Path:
    """Returns the path, or the nearest of the folders above it that there is."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.exists(p))
