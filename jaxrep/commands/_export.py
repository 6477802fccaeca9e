"""`jaxrep export` and `jaxrep import`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from jaxrep.commands._command import Command, Result, RunReader, note


@dataclass(kw_only=True)
class Export(RunReader):
    """Write a run as a file that serves it without JAX, and prove that it gives the same."""

    out: Path
    """The file to write."""

    format: str = "torchscript"
    """torchscript (PyTorch and C++, every function; PyTorch has deprecated TorchScript, and pt2 is
    its successor), pt2 (torch.export), onnx, or safetensors (weights and description, which
    `jaxrep import` reads)."""

    data: str | None = None
    """Rows to verify on; by default those that the run was trained on."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the file and returns its digest."""
        from jaxrep.export import export_run

        run = self.read()
        made = export_run(run, self.out, format=self.format, data=self.data, note=note)
        text = (
            f"wrote {made.out} ({made.format}, {made.bytes:,} bytes, sha256 {made.sha256[:16]}…)\n"
            f"it gives what JAX gives on its golden rows and on {made.rows_verified} others"
        )
        return text, dataclasses.asdict(made)


@dataclass(kw_only=True)
class Import(Command):
    """Turn an exported file into a run folder again."""

    file: Annotated[Path, Positional, arg(metavar="FILE")]
    """A .safetensors file that `jaxrep export` wrote; or a TorchScript one, with --trust."""

    out: Path
    """The run's folder."""

    trust: bool = False
    """Read a TorchScript file, which runs code: only from people you trust."""

    overwrite: bool = False
    """Replace a run that is in the folder."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the folder and says what it holds."""
        from jaxrep.export import import_run

        run = import_run(self.file, self.out, trust=self.trust, overwrite=self.overwrite)
        result = {"run": str(self.out), "file": str(self.file), "method": run.method.name}
        return f"{run.method.name} from {self.file}, saved in {self.out}", result
