"""A run as a PyTorch module on raw rows, and what every exported file says about it."""

import dataclasses
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrep import files
from jaxrep.errors import InputError
from jaxrep.runs.folder import KEPT_SCORES, MANIFEST, Run
from jaxrep.runs.outputs import threshold

if TYPE_CHECKING:
    import torch

    from torch_ref.serving import Served

_PACKAGES = ("jaxrep", "jax", "flax", "torch", "numpy")


def served_network(run: Run) -> "Served":
    """Returns a run's schema and network as one eager PyTorch module."""
    from torch_ref.serving import serve

    return serve(description(run), run.weights)


def require_twin(run: Run) -> None:
    """Raises an InputError unless the PyTorch twin of the run's method is known."""
    from torch_ref import methods

    if run.method.name not in methods.names():
        raise InputError(
            f"{run.path}: exporting the method {run.method.name} needs its PyTorch twin: install "
            "the package that has it, or give it with --use TWIN.py"
        )


def twin_files(run: Run) -> list[str]:
    """Returns the file of the method's twin for another process; none where it is installed."""
    from torch_ref import methods

    file = methods.file_of(run.method.name)
    return [] if file is None else [str(file)]


def description(run: Run) -> dict[str, Any]:
    """Returns all of a run but its weights and its data, as plain JSON: `jaxrep import` reads it.

    No path is in it, and no row of the data.
    """
    scores = {key: run.config[key] for key in KEPT_SCORES if key in run.config}
    if "score_quantiles" in scores:  # an imported run may lack them
        scores["score_threshold"] = threshold(run)
    return {
        "method": run.method.name,
        "hyperparameters": dataclasses.asdict(run.method.hyperparameters),
        "outputs": list(run.method.network_type.outputs),
        "schema": run.schema.to_json(),
        **scores,
        **({} if run.target is None else {"target": run.target.to_json()}),
        "history": run.history,
        "run": files.sha256(run.path / MANIFEST),
        "versions": {package: version(package) for package in _PACKAGES},
    }


def tensors(arrays: dict[str, np.ndarray]) -> "dict[str, torch.Tensor]":
    """Returns arrays as tensors of their own, in C order."""
    import torch

    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
