"""All that a trained model says about raw rows, as one graph: what `torch.export` and ONNX take.

A graph has one function, so it gives all outputs at once, by name. It cannot stop at a row that
`serving.Served` would refuse, so every output of such a row is NaN; other rows are as ever.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torch_ref.serving import Served

# For each output of a method's graph: the function of the served model that gives the same, and
# which of its outputs. Functions of codes are not in a graph: it would ask for codes at every call.
OUTPUTS = {
    "autoencoder": {"embedding": "embed.0", "reconstruction": "reconstruct.0", "score": "score.0"},
    "vae": {
        "embedding": "embed.0",
        "log_var": "encode.1",
        "reconstruction": "reconstruct.0",
        "score": "score.0",
    },
    "simclr": {"embedding": "embed.0", "projection": "project.0", "score": "score.0"},
}


class RowGraph(nn.Module):
    """A served model's functions of rows as one function.

    Args:
        served: from `torch_ref.serving`.
        method: its method's name.

    Example:
        >>> from torch_ref import models, serving
        >>> rows = serving.RawRows([{"kind": "numeric", "mean": 5.0, "scale": 2.0, "fill": None}])
        >>> model = models.Autoencoder(1, (4,), 2, generator=torch.Generator().manual_seed(0))
        >>> graph = RowGraph(serving.ServedAutoencoder(rows, model), "autoencoder")
        >>> outputs = graph(torch.tensor([[5.0], [float("nan")]]))
        >>> {name: tuple(output.shape) for name, output in outputs.items()}
        {'embedding': (2, 2), 'reconstruction': (2, 1), 'score': (2,)}
        >>> print(torch.isnan(outputs["score"]))
        tensor([False,  True])
    """

    def __init__(self, served: Served, method: str):
        super().__init__()
        self.served = served
        self.outputs = _OUTPUTS[method]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Maps raw rows `[B, C]` to the outputs of `OUTPUTS`, in its order, `[B, …]` each."""
        features: Tensor = self.served.rows(rows)
        usable = torch.isfinite(features).all(dim=1)
        return {  # masked at the end: a category from `argmax` of NaN would look like any other
            name: torch.where(usable if output.dim() == 1 else usable[:, None], output, torch.nan)
            for name, output in self.outputs(self.served, features).items()
        }


def trace(served: Served, method: str) -> torch.export.ExportedProgram:
    """Traces a served model's graph, for any number of float64 rows.

    Args:
        served: from `torch_ref.serving`.
        method: its method's name.

    Returns:
        The program. Its example input is rows of zeros, and no path of a source file is in it.

    Example:
        >>> from torch_ref import models, serving
        >>> rows = serving.RawRows([{"kind": "numeric", "mean": 5.0, "scale": 2.0, "fill": None}])
        >>> model = models.Autoencoder(1, (4,), 2, generator=torch.Generator().manual_seed(0))
        >>> program = trace(serving.ServedAutoencoder(rows, model), "autoencoder")
        >>> tuple(program.module()(torch.ones(7, 1, dtype=torch.float64))["embedding"].shape)
        (7, 2)
    """
    graph = RowGraph(served, method).eval().requires_grad_(False)
    zeros = torch.zeros(2, served.rows.width, dtype=torch.float64)  # one row would fix the batch
    batch = torch.export.Dim("batch")
    program = torch.export.export(graph, (zeros,), dynamic_shapes={"rows": {0: batch}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths, and the file would keep it
    return program


def _autoencoder(served: Served, features: Tensor) -> dict[str, Tensor]:
    z = served.model.encode(features)
    x_hat = served.model.decode(z)
    return {
        "embedding": z,
        "reconstruction": served.rows.invert(x_hat),
        "score": ((features - x_hat) ** 2).mean(dim=-1),
    }


def _vae(served: Served, features: Tensor) -> dict[str, Tensor]:
    mu, log_var = served.model.encode(features)
    x_hat = served.model.decode(mu)
    return {
        "embedding": mu,
        "log_var": log_var,
        "reconstruction": served.rows.invert(x_hat),
        "score": ((features - x_hat) ** 2).mean(dim=-1),
    }


def _simclr(served: Served, features: Tensor) -> dict[str, Tensor]:
    h = served.model.backbone(features)
    return {
        "embedding": h,
        "projection": served.model.projection(h),
        "score": served.model.squared_distance(h),
    }


_OUTPUTS: dict[str, Callable[[Served, Tensor], dict[str, Tensor]]] = {
    "autoencoder": _autoencoder,
    "vae": _vae,
    "simclr": _simclr,
}
