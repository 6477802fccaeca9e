"""The weights that an unfinished run begins with, kept in its folder until it has finished.

So a run that was killed before its first checkpoint begins again from the same weights, whatever
has become of the run that they are from.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxrep.errors import ModelFormatError
from jaxrep.training import manifest

FOLDER, WEIGHTS = "pretrained", "weights.safetensors"


def write(out: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Writes weights by name into a run's folder, in the place of earlier ones; or none."""
    remove(out)
    if not weights:
        return
    path = out / FOLDER
    path.mkdir()
    # safetensors 0.8.0 writes an array that is not in C order with wrong values.
    ordered = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    safetensors.numpy.save_file(ordered, path / WEIGHTS)
    manifest.seal(path)


def read(out: Path) -> dict[str, np.ndarray] | None:
    """Reads the weights that a run begins with; None where they are all drawn, or it has finished.

    Raises:
        ModelFormatError: they are not as they were written.
    """
    path = out / FOLDER
    if not path.is_dir():
        return None
    try:
        manifest.check(path)
    except manifest.DamagedError as error:
        raise ModelFormatError(
            f"{path}: {error}; run the command that began this run again, with --overwrite"
        ) from None
    found: dict[str, np.ndarray] = safetensors.numpy.load_file(path / WEIGHTS)
    return found


def remove(out: Path) -> None:
    """Removes what `write` has written."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)
