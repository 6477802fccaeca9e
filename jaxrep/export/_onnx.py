"""The format `onnx`: one graph in one file, for onnxruntime and whatever else reads ONNX.

The input `rows` is float64 `[batch, columns]`; the outputs are `embedding`, `score`, and what the
network has of `reconstruction`, `log_var`, `projection` and `prediction`. A row with a value that
cannot be used is NaN in all of them. A graph has one function: `decode` and `generate` are in
TorchScript files alone. What the file says about itself is in its metadata, under `meta.json` and
`golden.json`, and its digest.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jaxrep.errors import MissingPackageError
from jaxrep.export import _graph
from jaxrep.export._served import served_network
from jaxrep.runs.folder import Run

OPSET = 18  # what PyTorch's exporter writes without converting; onnxruntime reads it since 1.14
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

_LOAD = """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
carried = session.get_modelmeta().custom_metadata_map
names = [output.name for output in session.get_outputs()]
def model(rows):
    return dict(zip(names, session.run(names, {"rows": rows})))
"""


def write(run: Run, path: Path) -> None:
    """Writes a run as an ONNX file, with rows drawn from its statistics.

    Raises:
        MissingPackageError: onnx, onnxscript or onnxruntime is not installed.
    """
    _require_packages()
    import torch

    from torch_ref import graph_files, graphs

    served = served_network(run)
    program = graphs.trace(served)
    with _quiet():
        exported = torch.onnx.export(
            program,
            input_names=["rows"],
            output_names=list(graphs.graph_outputs(served.outputs)),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None  # it is None without dynamo
    model = exported.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")  # where each came from in the source, paths among it
    path.write_bytes(graph_files.pack_onnx(model, *_graph.carried(run)))


def verify(run: Run, path: Path, against: dict[str, np.ndarray]) -> None:
    """Checks a file in onnxruntime, in a process without JAX, PyTorch and jaxrep.

    Raises:
        VerificationError: says which output is how far off, and at which row.
        MissingPackageError: onnxruntime is not installed.
    """
    _require_packages()
    _graph.verify(run, path, against, load=_LOAD, blocked=("torch",))


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"exporting as ONNX needs {', '.join(missing)}: pip install 'jaxrep[onnx]'"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from users what they can do nothing about."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # it misses torchvision, which no graph of ours needs
    try:
        with warnings.catch_warnings():  # torch deep-copies a class of its own that it deprecates
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
            yield
    finally:
        registration.setLevel(level)
