"""The format `safetensors`: weights and a description, nothing that executes when it is read."""

from pathlib import Path

from jaxrep.export._served import description
from jaxrep.export._torchscript import verify as verify
from jaxrep.runs.folder import Run


def write(run: Run, path: Path) -> None:
    """Writes a run's weights by their flat names, and beside them all that is not its data."""
    from torch_ref.files import write_safetensors

    write_safetensors(path, description(run), run.weights)
