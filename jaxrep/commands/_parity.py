"""`jaxrep parity`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from jaxrep.commands._command import Command, Result, note
from jaxrep.errors import InputError

if TYPE_CHECKING:
    from jaxrep.parity import Report


@dataclass(kw_only=True)
class Parity(Command):
    """Check JAX against PyTorch: all of jaxrep, or a run's weights; exit code 1 if they differ."""

    folder: Annotated[Path | None, Positional, arg(metavar="RUN")] = None
    """A finished run; without one, all suites, from weights to whole trainings."""

    data: str | None = None
    """Rows for RUN; by default those that it was trained on."""

    quick: bool = False
    """Fewer shapes and the first steps of each training; without RUN."""

    last: bool = False
    """Of a run that serves an earlier epoch, take the weights after the last step."""

    out: Path | None = None
    """A file for the report as JSON."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the tables and the report as JSON."""
        from jaxrep import files, parity

        if self.folder is None and self.data is not None:
            raise InputError("--data goes with RUN; name the run, or leave --data out")
        if self.folder is None and self.last:
            raise InputError("--last goes with RUN; name the run, or leave --last out")
        if self.folder is not None and self.quick:
            raise InputError("--quick goes without RUN; leave one of them out")
        if self.out is not None:
            files.check_writable(self.out)
        if self.folder is None:
            report = parity.run_suites(quick=self.quick, on_suite=lambda name: note(f"{name} …"))
        else:
            report = self._check_run(self.folder)
        result = report.to_json()
        if self.out is not None:
            files.write_text(self.out, json.dumps(result, indent=2, allow_nan=False) + "\n")
        return str(report), result

    def _check_run(self, folder: Path) -> "Report":
        from jaxrep.parity import check_run
        from jaxrep.runs.default_table import rows_of
        from jaxrep.runs.overwriting import check_spared
        from jaxrep.runs.reading import read_run

        run = read_run(folder, last=self.last, note=note)
        if self.out is not None:
            check_spared(self.out, self.data, run=run)
        return check_run(run, rows_of(run, self.data, note=note))
