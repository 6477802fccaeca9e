"""Trained networks on raw rows: scales, network and the way back in one module.

What a served network takes are the rows of a table as one matrix `[B, columns]`, float32 or
float64: numbers as they stand in the table, categories as positions in the column's list of levels.
Any other position, such as −1, is a value that training did not know; NaN is a missing one. Scales
are computed in float64, the network in float32, and rows come back in float64.

No function of a class has keyword-only defaults or `**`: TorchScript compiles this file. Shape
letters: B batch, D numbers, C codes, Z latent, P projection.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref.batch import MISSING, Batch
from torch_ref.description import check_weights, described_network, has_gaps
from torch_ref.networks import Network
from torch_ref.scaling import Scaling
from torch_ref.units import units_of
from torch_ref.weights import with_weights


class RawRows(nn.Module):
    """Raw rows to numbers and codes and back, as the `columns` of a run's `schema.json` say.

    A missing cell becomes what its column imputes, `fill`; else it stays missing where the training
    rows had gaps, and becomes the number 0, which is the mean on the standard scale, or the code 0,
    where they had none.

    Args:
        columns: for each column that is learned from its `kind`, `fill`, `has_gaps` and `refuses`;
            of a `category` its `levels`, of the numeric ones what `Scaling` takes.

    Example:
        >>> age = {"kind": "number", "name": "age", "mean": 40.0, "scale": 10.0, "fill": None}
        >>> sex = {"kind": "category", "name": "sex", "levels": ["f", "m"], "has_gaps": False}
        >>> rows = RawRows([sex, age])
        >>> batch = rows(torch.tensor([[1.0, 30.0], [-1.0, 45.0]]))
        >>> print(batch.numbers.T, batch.codes.T)
        tensor([[-1.0000,  0.5000]]) tensor([[2, 0]], dtype=torch.int32)
        >>> print(rows.invert(batch))
        tensor([[ 1., 30.],
                [-1., 45.]], dtype=torch.float64)
    """

    source: Tensor
    order: Tensor
    refuses: Tensor
    fill: Tensor
    keeps_gaps: Tensor
    count: Tensor
    missing: Tensor
    width: int
    numbers: int

    def __init__(self, columns: Sequence[Mapping[str, Any]]):
        super().__init__()
        numeric = [c for c, column in enumerate(columns) if column["kind"] != "category"]
        categorical = [c for c, column in enumerate(columns) if column["kind"] == "category"]
        self.width, self.numbers = len(columns), len(numeric)
        self.scaling = Scaling([columns[c] for c in numeric])
        features = [columns[c] for c in numeric + categorical]
        source = torch.tensor(numeric + categorical, dtype=torch.int64)
        self.register_buffer("source", source)
        self.register_buffer("order", torch.argsort(source))
        refuses = [bool(column.get("refuses")) for column in features]
        self.register_buffer("refuses", torch.tensor(refuses, dtype=torch.bool))

        numbers, categories = features[: self.numbers], features[self.numbers :]
        fill = [math.nan if column["fill"] is None else column["fill"] for column in numbers]
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float64))
        keeps_gaps = [has_gaps(column) for column in numbers]
        self.register_buffer("keeps_gaps", torch.tensor(keeps_gaps, dtype=torch.bool))
        counts = [len(column["levels"]) for column in categories]
        self.register_buffer("count", torch.tensor(counts, dtype=torch.float64))
        missing = [_missing_code(column) for column in categories]
        self.register_buffer("missing", torch.tensor(missing, dtype=torch.float64))

    def forward(self, x: Tensor) -> Batch:
        """Maps raw rows `[B, columns]` to numbers, float32, and codes, int32."""
        values = x.double().index_select(1, self.source)
        numbers = values[:, : self.numbers]
        numbers = self.scaling(torch.where(torch.isnan(numbers), self.fill, numbers))
        is_filled = torch.isnan(numbers) & ~self.keeps_gaps
        numbers = torch.where(is_filled, torch.zeros_like(numbers), numbers).float()
        if self.numbers == self.width:
            return Batch(numbers, None, None, None)
        levels = values[:, self.numbers :]
        known = (levels >= 0) & (levels < self.count) & (levels == torch.floor(levels))
        codes = torch.where(known, levels + 1, torch.zeros_like(levels))
        codes = torch.where(torch.isnan(levels), self.missing, codes)
        return Batch(numbers, codes.int(), None, None)

    def unusable(self, x: Tensor, batch: Batch) -> Tensor:
        """Says which cells cannot be used: missing ones that are refused, and infinite numbers.

        Args:
            x: raw rows, `[B, columns]`.
            batch: what `forward` made of them.

        Returns:
            Booleans `[B, D + C]`; `source` has the column of each.
        """
        refused = torch.isnan(x.index_select(1, self.source)) & self.refuses
        is_infinite, codes = torch.isinf(batch.numbers), batch.codes
        if codes is not None:  # a cell is of none of the levels at worst
            is_infinite = torch.cat([is_infinite, torch.zeros_like(codes, dtype=torch.bool)], dim=1)
        return refused | is_infinite

    def invert(self, batch: Batch) -> Tensor:
        """Maps numbers and codes to raw rows `[B, columns]`, float64.

        The code 0 becomes −1; what is missing is NaN.
        """
        found: Tensor = self.scaling.invert(batch.numbers.double())
        return self.in_order(self.with_levels(found, batch))

    def draw(self, batch: Batch) -> Tensor:
        """Maps drawn numbers and codes to raw rows `[B, columns]`, as `Scaling.draw` does."""
        found: Tensor = self.scaling.draw(batch.numbers.double())
        return self.in_order(self.with_levels(found, batch))

    def with_levels(self, numbers: Tensor, batch: Batch) -> Tensor:
        """Returns numbers in their own units, and beside them the levels of a batch's codes."""
        codes = batch.codes
        if codes is None:
            return numbers
        levels = codes.double() - 1
        levels = torch.where(codes < 0, torch.full_like(levels, float("nan")), levels)
        return torch.cat([numbers, levels], dim=1)

    def in_order(self, features: Tensor) -> Tensor:
        """Puts what is said of each number and each code, `[B, D + C]`, in the columns' order."""
        return features.index_select(1, self.order)


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
        self.latent_dim, self.draws = latent_dim, network.draws
        self.units = nn.Identity() if units is None else units

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to embeddings `[B, Z]`, as `embed` does."""
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to embeddings `[B, Z]`."""
        z: Tensor = self.network.embed(self.batch(x))
        return z

    def score(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to anomaly scores `[B]`; higher is more anomalous."""
        scores: Tensor = self.network.score(self.batch(x))
        return scores

    def batch(self, x: Tensor) -> Batch:
        """Maps raw rows `[B, columns]` to what the network takes.

        Raises:
            ValueError: `x` has another shape or dtype, or a value that cannot be used.
        """
        if x.dim() != 2 or x.size(1) != self.rows.width:
            raise ValueError(
                f"expected rows [B, {self.rows.width}], one column each; got shape {x.size()}"
            )
        if x.dtype != torch.float32 and x.dtype != torch.float64:
            raise ValueError("expected rows of float32 or float64; got another dtype")
        batch: Batch = self.rows(x)
        unusable: Tensor = self.rows.unusable(x, batch)
        if bool(unusable.any()):
            row, feature = unusable.nonzero()[0].unbind()
            column = self.rows.source[feature]
            raise ValueError(
                f"row {int(row)}, column {int(column)}, counted from 0: {float(x[row, column])} is "
                "missing, infinite or too far from the training data"
            )
        return batch


class _Functions(Served):
    """A function for every output that a network may declare besides."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps raw rows `[B, columns]` to the posterior's μ and log σ², `[B, Z]` each."""
        posterior: tuple[Tensor, Tensor] = self.network.encode(self.batch(x))
        return posterior

    def project(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to projections `[B, P]`."""
        z: Tensor = self.network.project(self.batch(x))
        return z

    def predict(self, x: Tensor) -> Tensor:
        """Maps raw rows to probabilities of classes `[B, K]`, or to numbers `[B, 1]`.

        Numbers are float64, in the units of the label.
        """
        prediction: Tensor = self.units(self.network.predict(self.batch(x)))
        return prediction

    def score_by_column(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to what each column adds to the score, of the same shape."""
        return self.rows.in_order(self.network.score_by_column(self.batch(x)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, columns]` to their reconstructions `[B, columns]`, in raw units."""
        return self.rows.invert(self.network.reconstruct(self.batch(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Maps embeddings `[B, Z]` to raw rows `[B, columns]`."""
        return self.rows.invert(self.network.decode(z.float()))

    def generate(self, count: int) -> Tensor:
        """Draws `count` raw rows `[count, columns]` from the prior, with torch's own generator."""
        draws = torch.randn([count, self.draws], device=self.rows.order.device)
        return self.rows.draw(self.network.generate(draws))


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
        >>> values = asdict(VAEHyperparameters(latent_dim=2, likelihood="squared"))
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


def _missing_code(column: Mapping[str, Any]) -> float:
    """Returns the code of a missing cell in a column of categories."""
    if column.get("fill") is not None:
        return float(column["levels"].index(column["fill"]) + 1)
    return float(MISSING) if has_gaps(column) else 0.0
