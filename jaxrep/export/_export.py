"""Writes a run as a file of another format, proven before it exists."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxrep import files
from jaxrep.errors import InputError, VerificationError
from jaxrep.export import _onnx, _pt2, _safetensors, _torchscript
from jaxrep.export._expected import expected_outputs
from jaxrep.export._served import require_twin
from jaxrep.parity import require_torch
from jaxrep.runs.default_table import raw_rows_of
from jaxrep.runs.folder import Run

MAX_ROWS = 1000


class Format(Protocol):
    """A module that writes one format and proves what it wrote."""

    def write(self, run: Run, path: Path) -> None:
        """Writes the run to `path`."""

    def verify(self, run: Run, path: Path, against: dict[str, np.ndarray]) -> None:
        """Raises a VerificationError unless the file gives what `expected_outputs` says."""


FORMATS: dict[str, Format] = {
    "torchscript": _torchscript,
    "pt2": _pt2,
    "onnx": _onnx,
    "safetensors": _safetensors,
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `jaxrep export` prints."""

    run: str
    """The run's folder."""

    out: str
    """The file."""

    format: str
    """Its format."""

    bytes: int
    """Its size."""

    sha256: str
    """Its digest."""

    rows_verified: int
    """Rows on which it gave what JAX gives, besides those that it carries."""


def export_run(
    run: Run,
    out: Path,
    *,
    format: str = "torchscript",
    data: str | None = None,
    note: Callable[[str], None] = lambda message: None,
) -> Exported:
    """Writes a run as a file that serves it without JAX.

    Every function of the file is compared with JAX, in a process that cannot import JAX: on up to
    1,000 rows of the run's data, of which none is in the file, and on the drawn rows that it
    carries. Only then it takes its name.

    Args:
        run: the trained run.
        out: the file to write.
        format: of `FORMATS`.
        data: rows to verify on; by default those that the run was trained on.
        note: called with remarks for the user.

    Raises:
        InputError: the format is unknown, the method's PyTorch twin is not here, `out` cannot be
            written, or `data` does not fit the run.
        MissingPackageError: a package that the format needs is not installed.
        VerificationError: the file does not give what JAX gives; nothing is left behind.
    """
    if format not in FORMATS:
        raise InputError(f"--format {format}: there are {', '.join(FORMATS)}")
    require_torch("exporting")
    require_twin(run)
    files.check_writable(out)
    _refuse_own_files(run, out, data)
    if format == "torchscript":
        note("PyTorch has deprecated TorchScript; its successor is --format pt2")
    raw, source = raw_rows_of(run, data, note=note)
    rows = np.unique(np.linspace(0, len(raw) - 1, MAX_ROWS).astype(int))
    against = expected_outputs(run, raw[rows], source)
    with files.replacing(out) as temporary:
        FORMATS[format].write(run, temporary)
        try:
            FORMATS[format].verify(run, temporary, against)
        except VerificationError as error:
            raise VerificationError(f"{out} was not written: {error}") from error
    return Exported(
        run=str(run.path),
        out=str(out),
        format=format,
        bytes=out.stat().st_size,
        sha256=files.sha256(out),
        rows_verified=len(rows),
    )


def _refuse_own_files(run: Run, out: Path, data: str | None) -> None:
    """Refuses to write over the run, or over the rows to verify on."""
    real = Path(os.path.realpath(out))
    if Path(os.path.realpath(run.path)) in real.parents:
        raise InputError(f"--out {out}: is inside the run's folder; choose another path")
    for source in (data, run.config["data"]["source"]):
        if source is not None and Path(os.path.realpath(source)) == real:
            raise InputError(f"--out {out}: is the table to read; choose another file")
