"""All that a trained network says about raw rows, as one graph: what `torch.export` and ONNX take.

A graph has one function, so it gives all outputs at once, by name. It cannot stop at a row that
`serving.Served` would refuse, so every output of such a row is NaN; other rows are as ever.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.passes.dialect.common.cse_pass import CSEPass

from torch_ref.batch import Batch
from torch_ref.outputs import OUTPUTS
from torch_ref.serving import Served

_WRITTEN_OUT = "lifted_tensor"  # what torch.export calls them
_aten = torch.ops.aten
_COPIES = (_aten.lift_fresh_copy.default, _aten.detach_.default)  # what it does with them at a call

_NAMES: dict[str, str] = {"rows": "reconstruction", "terms": "score_by_column"}


def graph_outputs(outputs: Sequence[str]) -> dict[str, str]:
    """Returns what a graph of a network gives, by the names of its outputs.

    Outputs that take embeddings or draws are not in a graph: it would ask for them at every call.

    Args:
        outputs: what the network declares.

    Returns:
        For each output of the graph the function that gives the same, and which of its results.

    Example:
        >>> graph_outputs(("embed", "reconstruct", "score", "decode"))
        {'embedding': 'embed.0', 'reconstruction': 'reconstruct.0', 'score': 'score.0'}
    """
    found: dict[str, str] = {}
    for name, output in OUTPUTS.items():
        if name in outputs and output.takes == "rows":
            for i, gives in enumerate(output.gives):
                found.setdefault(_NAMES.get(gives, gives), f"{name}.{i}")
    return found


class RowGraph(nn.Module):
    """A served network's functions of rows as one function.

    Args:
        served: from `torch_ref.serving`.

    Example:
        >>> from torch_ref.batch import RowSpec
        >>> from torch_ref.methods import AutoencoderNetwork
        >>> from torch_ref.serving import RawRows, serving
        >>> column = {"kind": "number", "mean": 5.0, "scale": 2.0, "fill": None}
        >>> rows = RawRows([column | {"refuses": True}])
        >>> network = AutoencoderNetwork(RowSpec(1), (4,), 2, generator=torch.Generator())
        >>> graph = RowGraph(serving(network.outputs)(rows, network, 2))
        >>> outputs = graph(torch.tensor([[5.0], [float("nan")]]))
        >>> {name: tuple(output.shape) for name, output in outputs.items()}
        {'embedding': (2, 2), 'reconstruction': (2, 1), 'score': (2,), 'score_by_column': (2, 1)}
        >>> print(torch.isnan(outputs["score"]))
        tensor([False,  True])
    """

    def __init__(self, served: Served):
        super().__init__()
        self.rows = served.rows
        self.network = served.network
        self.units = served.units
        self.outputs = served.outputs

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Maps raw rows `[B, columns]` to the outputs of `graph_outputs`, `[B, …]` each."""
        batch: Batch = self.rows(rows)
        usable = ~self.rows.unusable(rows, batch).any(dim=1)
        found: dict[str, Tensor] = {}
        for name, of in graph_outputs(self.outputs).items():
            function, _, i = of.partition(".")
            output = getattr(self.network, function)(batch)
            if len(OUTPUTS[function].gives) > 1:
                output = output[int(i)]
            if OUTPUTS[function].gives[int(i)] == "rows":
                output = self.rows.invert(output)
            elif OUTPUTS[function].gives[int(i)] == "terms":
                output = self.rows.in_order(output)
            elif OUTPUTS[function].gives[int(i)] == "prediction":
                output = self.units(output)
            # Masked at the end: a category from `argmax` of NaN would look like any other.
            kept = usable if output.dim() == 1 else usable[:, None]
            found[name] = torch.where(kept, output, torch.nan)
        return found


def trace(served: Served) -> torch.export.ExportedProgram:
    """Traces a served network's graph, for any number of float64 rows.

    Args:
        served: from `torch_ref.serving`.

    Returns:
        The program. Its example input is rows of zeros, and no path of a source file is in it. What
        outputs share, an encoder first of all, is computed once.

    Example:
        >>> from torch_ref.batch import RowSpec
        >>> from torch_ref.methods import AutoencoderNetwork
        >>> from torch_ref.serving import RawRows, serving
        >>> rows = RawRows([{"kind": "number", "mean": 5.0, "scale": 2.0, "fill": None}])
        >>> network = AutoencoderNetwork(RowSpec(1), (4,), 2, generator=torch.Generator())
        >>> program = trace(serving(network.outputs)(rows, network, 2))
        >>> tuple(program.module()(torch.ones(7, 1, dtype=torch.float64))["embedding"].shape)
        (7, 2)
    """
    graph = RowGraph(served).eval().requires_grad_(False)
    rows = torch.zeros(2, served.rows.width, dtype=torch.float64)  # one row would fix the batch
    traced = _export(graph, rows).module(check_guards=False)
    assert isinstance(traced, torch.fx.GraphModule)
    _merge_equal_tensors(traced)
    shared = CSEPass()(traced)
    assert shared is not None  # what a pass may return, and this one never does
    _keep_out_of_state(shared.graph_module)
    program = _export(_Named(shared.graph_module, graph_outputs(served.outputs)), rows)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths, and the file would keep it
    return program


def _merge_equal_tensors(module: torch.fx.GraphModule) -> None:
    """Makes one node of those that hold the same tensor, which `CSEPass` takes for several.

    Tracing makes a new tensor of one that a function writes out, such as a list of columns, each
    time that it is called, with an in-place operation on a copy; and where a tensor already has the
    dtype that it is cast to, all that follows uses the cast.
    """
    first: dict[tuple[Any, ...], torch.fx.Node] = {}
    for node in list(module.graph.nodes):
        same = None
        if node.op == "get_attr" and node.target.rpartition(".")[2].startswith(_WRITTEN_OUT):
            tensor = attrgetter(node.target)(module)
            key = (tensor.dtype, tensor.shape, tuple(tensor.flatten().tolist()))
            same = first.setdefault(key, node)
        elif node.target in _COPIES and node.args[0] in first.values():
            same = node.args[0]
        elif node.target is _aten.to.dtype and not node.kwargs:
            same = node.args[0] if node.args[1:] == (node.args[0].meta["val"].dtype,) else None
        if same is not None and same is not node:
            node.replace_all_uses_with(same)
            module.graph.erase_node(node)
    module.recompile()


def _keep_out_of_state(module: nn.Module) -> None:
    """Makes tensors that functions write out, such as lists of columns, constants of a program.

    Tracing makes buffers of them, and what is in a program's state a reader takes for weights.
    """
    for part in module.modules():
        for name, tensor in list(part.named_buffers(recurse=False)):
            if name.startswith(_WRITTEN_OUT):
                part.register_buffer(name, tensor, persistent=False)


class _Named(nn.Module):
    """A graph of which `CSEPass` has lost the names of the outputs."""

    def __init__(self, served: nn.Module, names: Iterable[str]):
        super().__init__()
        self.served = served
        self.names = tuple(names)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, self.served(rows), strict=True))


def _export(graph: nn.Module, rows: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(graph, (rows,), dynamic_shapes={"rows": {0: batch}})
