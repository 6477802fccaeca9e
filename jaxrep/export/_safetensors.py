"""The format `safetensors`: weights and a description, nothing that executes when it is read."""

from pathlib import Path

from jaxrep.export._expected import as_json, golden_outputs
from jaxrep.export._served import description
from jaxrep.export._torchscript import verify as verify
from jaxrep.runs.folder import Run

GOLDEN_ROWS = 16  # as text they take more room than the weights of a small model


def write(run: Run, path: Path) -> None:
    """Writes a run's weights by their flat names, and beside them all that is not its data.

    Raises:
        VerificationError: JAX gives infinite numbers for rows drawn from the statistics.
    """
    from torch_ref.files import write_safetensors

    golden = as_json(golden_outputs(run, GOLDEN_ROWS))
    write_safetensors(path, description(run) | {"golden": golden}, run.weights)
