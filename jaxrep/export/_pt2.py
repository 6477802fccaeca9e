"""The format `pt2`: one file of `torch.export` that PyTorch loads, in a batch of any size.

`torch.export.load(FILE).module()` maps float64 rows `[B, columns]` to a dictionary of outputs:
`embedding`, `score`, and what the network has of `reconstruction`, `log_var`, `projection` and
`prediction`. A row with a value that cannot be used is NaN in all of them. PyTorch stores one
function in a file, or the weights once for each; so there is no `decode` and no `generate` here:
TorchScript files have them. Loading one can run code that it holds.
"""

from pathlib import Path

import numpy as np

from jaxrep.export import _graph
from jaxrep.export._served import served_network
from jaxrep.runs.folder import Run

_LOAD = f"""
import torch
carried = {{"{_graph.META}": "", "{_graph.GOLDEN}": ""}}  # an empty dictionary stays empty
module = torch.export.load(sys.argv[1], extra_files=carried).module()
def model(rows):
    return {{name: output.numpy() for name, output in module(torch.from_numpy(rows)).items()}}
"""


def write(run: Run, path: Path) -> None:
    """Writes a run as a file of `torch.export`, with rows drawn from its statistics."""
    from torch_ref import graph_files, graphs

    meta, golden = _graph.carried(run)
    program = graphs.trace(served_network(run))
    path.write_bytes(graph_files.pack_pt2(program, meta, golden))


def verify(run: Run, path: Path, against: dict[str, np.ndarray]) -> None:
    """Checks a file in a process that has PyTorch and neither JAX nor jaxrep.

    Raises:
        VerificationError: says which output is how far off, and at which row.
    """
    _graph.verify(run, path, against, load=_LOAD, blocked=())
