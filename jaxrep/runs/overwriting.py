"""What a command must not write over: the run that it reads, and its tables."""

import os
from pathlib import Path

from jaxrep.data.store.row_file import is_prepared
from jaxrep.errors import InputError
from jaxrep.files import is_stream
from jaxrep.runs.folder import CHECKPOINTS, CONTENT, LAST, MANIFEST, REASONS, Run


def check_spared(out: Path, *tables: str | None, run: Run | None = None) -> None:
    """Checks that a file to be written is none of those that are read.

    Args:
        out: the file to be written.
        tables: that are read: files, folders of Parquet files, or names that are no paths.
        run: a run, of which neither the table nor a file that makes it a run may be replaced.

    Raises:
        InputError: it is one of them, or would become a part of one.

    Example:
        >>> check_spared(Path("t.csv"), "./t.csv")
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: --out t.csv: is the table to read; choose another file
    """
    if is_stream(out):  # which replaces nothing
        return
    real = Path(os.path.realpath(out))
    own = () if run is None else (run.config["data"]["source"],)
    for table in (*tables, *own):
        if table is None:
            continue
        read = Path(os.path.realpath(table))
        if read == real:
            raise InputError(f"--out {out}: is the table to read; choose another file")
        if read == real.parent and (real.suffix.lower() == ".parquet" or is_prepared(read)):
            raise InputError(f"--out {out}: is inside the table to read; choose another file")
    if run is None:
        return
    whole = Path(os.path.realpath(run.path))
    if real.parent == whole and real.name in (*CONTENT, LAST, REASONS, MANIFEST):
        raise InputError(f"--out {out}: is a file of the run; choose another")
    if whole / CHECKPOINTS in real.parents:
        raise InputError(f"--out {out}: is among the run's checkpoints; choose another file")
