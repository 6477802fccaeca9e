"""Trained networks on raw rows: standardisation, network and the way back in one module.

What a served network takes are the rows of a table as one matrix `[B, C]`, float32 or float64:
numbers as they stand in the table, categories as codes, which are positions in the column's list of
levels. Any other code, such as −1, is a value that training did not know; NaN is a missing one.
Standardisation is computed in float64, the network in float32, and rows come back in float64.

No function of a class has keyword-only defaults or `**`: TorchScript compiles this file. Shape
letters: B batch, C columns of the table, D features, Z latent, P projection.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref.batch import Batch
from torch_ref.description import check_weights, described_network
from torch_ref.networks import Network
from torch_ref.scaling import Scaling
from torch_ref.units import units_of
from torch_ref.weights import with_weights


class RawRows(nn.Module):
    """Raw rows to features and back, as the `columns` of a run's `schema.json` say.

    Args:
        columns: for each column that is learned from its `kind`: `category` with `levels`, `fills`
            and `has_gaps`, or one of the numeric ones with `mean`, `scale`, `fill` and, unless it
            is `standard`, `scaling`.

    Example:
        >>> age = {"kind": "number", "name": "age", "mean": 40.0, "scale": 10.0, "fill": None}
        >>> sex = {"kind": "category", "name": "sex", "levels": ["f", "m"]}
        >>> sex |= {"fills": True, "has_gaps": False}
        >>> rows = RawRows([age, sex])
        >>> features = rows(torch.tensor([[30.0, 1.0], [45.0, -1.0]]))
        >>> print(features)
        tensor([[-1.0000,  0.0000,  1.0000,  0.0000],
                [ 0.5000,  0.0000,  0.0000,  1.0000]])
        >>> print(rows.invert(features))
        tensor([[30.,  1.],
                [45., -1.]], dtype=torch.float64)
    """

    source: Tensor
    fill: Tensor
    code: Tensor
    count: Tensor
    is_number: Tensor
    is_unknown: Tensor
    numbers: Tensor
    order: Tensor
    width: int
    blocks: list[tuple[int, int, bool]]

    def __init__(self, columns: Sequence[Mapping[str, Any]]):
        super().__init__()
        features = [line for c, column in enumerate(columns) for line in _features(c, column)]
        self.width = len(columns)
        for name, dtype in _FEATURE_BUFFERS.items():
            values = [line[name] for line in features]
            self.register_buffer(name, torch.tensor(values, dtype=dtype))
        self.scaling = Scaling(features)
        numeric = [c for c, column in enumerate(columns) if column["kind"] != "category"]
        categorical = [c for c, column in enumerate(columns) if column["kind"] == "category"]
        # Where each column's features begin; `source` counts the columns up.
        first = torch.searchsorted(self.source, torch.arange(len(columns))).tolist()
        self.register_buffer(
            "numbers", torch.tensor([first[c] for c in numeric], dtype=torch.int64)
        )
        written = numeric + categorical  # the order in which `invert` has the columns at first
        self.register_buffer(
            "order",
            torch.argsort(torch.tensor(written, dtype=torch.int64)),
        )
        self.blocks = [
            (first[c], first[c] + len(columns[c]["levels"]), bool(columns[c]["has_gaps"]))
            for c in categorical
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to features `[B, D]`, float32; what is unusable becomes NaN."""
        values = x.double().index_select(1, self.source)
        values = torch.where(torch.isnan(values), self.fill, values)
        known = (values >= 0) & (values < self.count) & (values == torch.floor(values))
        # In numbers, since onnxruntime has no Where of booleans.
        one_hot = torch.where(self.is_unknown, (~known).double(), (values == self.code).double())
        one_hot = torch.where(torch.isnan(values), values, one_hot)
        return torch.where(self.is_number, self.scaling(values), one_hot).float()

    def invert(self, features: Tensor) -> Tensor:
        """Maps features `[B, D]` to raw rows `[B, C]`, float64, with −1 for an unknown category.

        A category is the one with the largest feature. If no training cell was missing, the feature
        of none of the levels counts only above one half.
        """
        values = self.scaling.invert(features.double())
        columns = [values.index_select(1, self.numbers)]
        for start, stop, has_gaps in self.blocks:
            unknown = features[:, stop : stop + 1]
            if not has_gaps:
                unknown = torch.where(
                    unknown > 0.5, unknown, torch.full_like(unknown, float("-inf"))
                )
            block = torch.cat([features[:, start:stop], unknown], dim=1)
            code = block.argmax(dim=1, keepdim=True)
            columns.append(
                torch.where(code == stop - start, torch.full_like(code, -1), code).double()
            )
        return torch.cat(columns, dim=1).index_select(1, self.order)


class Served(nn.Module):
    """What all served networks have: the check of what comes in, `embed` and `score`.

    `serve` adds the other functions that the network declares.

    Args:
        rows: the way from raw rows to features and back.
        network: the trained network.
        latent_dim: Z, size of an embedding.
        units: maps what the network predicts to what is predicted here, as `units_of` returns it;
            None leaves it as it is.
    """

    outputs: ClassVar[tuple[str, ...]] = ("embed", "score")
    """The network's outputs, each of which is a function here: of raw rows where the network's is
    one of rows, and to raw rows where it gives rows. `generate` takes a count and draws itself."""

    if TYPE_CHECKING:  # TorchScript takes an annotation for an attribute's type, not a module's
        network: Any

    def __init__(
        self, rows: RawRows, network: Network, latent_dim: int, units: nn.Module | None = None
    ):
        super().__init__()
        self.rows = rows
        self.network = network
        self.latent_dim = latent_dim
        self.units = nn.Identity() if units is None else units

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to embeddings `[B, Z]`, as `embed` does."""
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to embeddings `[B, Z]`."""
        z: Tensor = self.network.embed(self.batch(x))
        return z

    def score(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to anomaly scores `[B]`; higher is more anomalous."""
        scores: Tensor = self.network.score(self.batch(x))
        return scores

    def batch(self, x: Tensor) -> Batch:
        """Maps raw rows `[B, C]` to what the network takes.

        Raises:
            ValueError: `x` has another shape or dtype, or a value that cannot be used.
        """
        if x.dim() != 2 or x.size(1) != self.rows.width:
            raise ValueError(
                f"expected rows [B, {self.rows.width}], one column each; got shape {x.size()}"
            )
        if x.dtype != torch.float32 and x.dtype != torch.float64:
            raise ValueError("expected rows of float32 or float64; got another dtype")
        features: Tensor = self.rows(x)
        if not bool(torch.isfinite(features).all()):
            row, feature = (~torch.isfinite(features)).nonzero()[0].unbind()
            column = self.rows.source[feature]
            raise ValueError(
                f"row {int(row)}, column {int(column)}, counted from 0: {float(x[row, column])} is "
                "missing, infinite or too far from the training data"
            )
        return Batch(features, None, None, None)


class _Functions(Served):
    """A function for every output that a network may declare besides."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps raw rows `[B, C]` to the posterior's μ and log σ², `[B, Z]` each."""
        posterior: tuple[Tensor, Tensor] = self.network.encode(self.batch(x))
        return posterior

    def project(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to projections `[B, P]`."""
        z: Tensor = self.network.project(self.batch(x))
        return z

    def predict(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to probabilities of classes `[B, K]`, or to numbers `[B, 1]`.

        Numbers are float64, in the units of the label.
        """
        prediction: Tensor = self.units(self.network.predict(self.batch(x)))
        return prediction

    def reconstruct(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to their reconstructions `[B, C]`, in raw units."""
        return self.rows.invert(self.network.reconstruct(self.batch(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Maps embeddings `[B, Z]` to raw rows `[B, C]`."""
        return self.rows.invert(self.network.decode(z.float()))

    def generate(self, count: int) -> Tensor:
        """Draws `count` raw rows `[count, C]` from the prior, with torch's own generator."""
        draws = torch.randn([count, self.latent_dim], device=self.rows.source.device)
        return self.rows.invert(self.network.generate(draws))


def serve(description: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Served:
    """Builds a trained network from plain data, such as a safetensors file of jaxrep holds.

    Args:
        description: its `method`, `hyperparameters` and `schema`, as JSON has them; and its
            `target`, if the method predicts one.
        weights: all weights of the method's network, float32, by jaxrep's names.

    Raises:
        FileFormatError: the description describes no network, or one of other weights or outputs.

    Example:
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import VAEHyperparameters
        >>> from torch_ref.batch import RowSpec
        >>> from torch_ref.methods import VAE
        >>> from torch_ref.weights import get_weights
        >>> values = asdict(VAEHyperparameters(latent_dim=2))
        >>> column = {"kind": "number", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
        >>> described = {
        ...     "method": "vae",
        ...     "hyperparameters": values,
        ...     "schema": {"columns": [column]},
        ... }
        >>> network = VAE(**values).init(RowSpec(1), torch.Generator())
        >>> served = serve(described, get_weights(network))
        >>> tuple(served.embed(torch.ones(3, 1)).shape), tuple(served.generate(10).shape)
        ((3, 2), (10, 1))
    """
    network = described_network(description)
    check_weights(network, weights)
    rows = RawRows(description["schema"]["columns"])
    filled = with_weights(network.to_empty(device="cpu"), weights)
    latent_dim = description["hyperparameters"]["latent_dim"]
    served = serving(network.outputs)(rows, filled, latent_dim, units_of(description))
    return served.eval().requires_grad_(False)


@functools.cache
def serving(outputs: tuple[str, ...]) -> type[Served]:
    """Returns the class of served networks that declare given outputs, and no function besides.

    TorchScript compiles a class as a whole: it cannot have functions that its network lacks.

    Args:
        outputs: names out of `torch_ref.outputs.OUTPUTS`.

    Example:
        >>> served = serving(("embed", "score", "decode"))
        >>> hasattr(served, "decode"), hasattr(served, "generate")
        (True, False)
    """
    functions = {name: vars(_Functions)[name] for name in outputs if not hasattr(Served, name)}
    return type("Served", (Served,), {**functions, "outputs": outputs, "__module__": __name__})


_FEATURE_BUFFERS = {
    "source": torch.int64,
    "fill": torch.float64,
    "code": torch.float64,
    "count": torch.float64,
    "is_number": torch.bool,
    "is_unknown": torch.bool,
}


def _features(position: int, column: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Says for each feature of a column where its value is and what becomes of it."""
    plain = {"source": position, "mean": 0.0, "scale": 1.0, "code": 0.0, "count": 0.0}
    plain |= {"is_number": False, "is_unknown": False}
    nan = float("nan")  # stays what it is: a missing value is refused
    if column["kind"] != "category":
        fill = nan if column["fill"] is None else column["fill"]
        own = {name: column[name] for name in ("mean", "scale", "scaling") if name in column}
        return [plain | own | {"fill": fill, "is_number": True}]
    count = len(column["levels"])
    plain |= {"fill": -1.0 if column["fills"] else nan, "count": float(count)}
    known = [plain | {"code": float(code)} for code in range(count)]
    return [*known, plain | {"is_unknown": True}]
