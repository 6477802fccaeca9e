"""`jaxrep report`."""

from dataclasses import dataclass
from pathlib import Path

from jaxrep.commands._command import Result, RunReader, note
from jaxrep.hyperparameters import CONTAMINATION


@dataclass(kw_only=True)
class Report(RunReader):
    """Write one HTML file that shows a run: curves, maps, errors, samples, how to repeat it."""

    data: str | None = None
    """Rows to show; by default those that the run was trained on."""

    out: Path | None = None
    """The file to write; RUN/report.html by default."""

    contamination: float = CONTAMINATION
    """Share of the training rows that lie above the threshold."""

    parity: bool = True
    """Compare JAX with PyTorch too, if PyTorch is installed."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the file, and says where and what is in it."""
        from jaxrep.report.page import write_report
        from jaxrep.runs.folder import REPORT

        written = write_report(
            self.read(),
            self.out or self.folder / REPORT,
            self.data,
            contamination=self.contamination,
            parity=self.parity,
            note=note,
        )
        result = {
            "run": str(self.folder),
            "out": str(written.out),
            "source": written.source,
            "rows": written.rows,
            "sections": list(written.sections),
            "bytes": written.bytes,
        }
        listed = ", ".join(written.sections)
        return f"wrote {written.out} ({written.bytes:,} bytes): {listed}", result
