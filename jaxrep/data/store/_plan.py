"""What a prepared folder is to hold, and the room that it takes."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from jaxrep.errors import InputError

from .._blocks import block_rows
from ..schema import Schema
from . import _signed
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
    def width(self) -> int:
        return self.schema.width

    @property
    def chunk_rows(self) -> int:
        return block_rows(self.width)

    @property
    def chunk_bytes(self) -> int:
        return self.chunk_rows * self.width * 4


def read_plan(out: Path) -> Plan:
    """Reads the plan of a folder that is not finished."""
    found = _signed.read(out / _signed.UNFINISHED, _signed.Unfinished)
    return Plan(found.asked, found.rows, read_schema(out, found.sha256), found.sha256)


def check_space(out: Path, plan: Plan, written: int) -> None:
    """Raises an InputError if the disk cannot hold what is not written yet."""
    labels = _LABEL_BYTES * plan.rows if plan.schema.label is not None else 0
    needed = plan.rows * plan.width * 4 - written + labels + _ROOM
    folder = nearest(out)
    there = 0  # an earlier one, which goes first
    if not written and (out / _signed.ROWS).exists():
        there = (out / _signed.ROWS).stat().st_size
    free = shutil.disk_usage(folder).free + there
    if free < needed:
        raise InputError(
            f"--out {out}: {plan.rows} rows of {plan.width} features need {needed / 2**20:,.0f} "
            f"MiB more, and the disk has {free / 2**20:,.0f} MiB left; free some, or choose "
            "another path"
        )


def nearest(path: Path) -> Path:
    """Returns the path, or the nearest of the folders above it that there is."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.exists(p))
