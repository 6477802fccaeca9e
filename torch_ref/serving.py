"""Trained models on raw rows: preprocessing, network and the way back in one module.

What a served model takes are the rows of a table as one matrix `[B, C]`, float32 or float64:
numbers as they stand in the table, categories as codes, which are positions in the column's list of
categories. Any other code, such as −1, is a value that training did not know; NaN is a missing one.
Standardisation is computed in float64, the network in float32, and rows come back in float64.

No function here has keyword-only defaults or `**`: TorchScript compiles this file. Shape letters:
B batch, C columns of the table, D features, Z latent, P projection.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref import models
from torch_ref.description import check_weights, described_model
from torch_ref.weights import with_weights


class RawRows(nn.Module):
    """Raw rows to features and back, as the `columns` of a run's `preprocess.json` say.

    Args:
        columns: for each column of the table its `kind`: `numeric` with `mean`, `scale`, `fill`, or
            `categorical` with `categories` and `impute`.

    Example:
        >>> age = {"kind": "numeric", "name": "age", "mean": 40.0, "scale": 10.0, "fill": None}
        >>> sex = {"kind": "categorical", "name": "sex", "categories": ["f", "m"], "impute": False}
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
    mean: Tensor
    scale: Tensor
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
        numeric = [c for c, column in enumerate(columns) if column["kind"] == "numeric"]
        categorical = [c for c, column in enumerate(columns) if column["kind"] != "numeric"]
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
            (first[c], first[c] + len(columns[c]["categories"]), bool(columns[c]["impute"]))
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
        return torch.where(self.is_number, (values - self.mean) / self.scale, one_hot).float()

    def invert(self, features: Tensor) -> Tensor:
        """Maps features `[B, D]` to raw rows `[B, C]`, float64, with −1 for an unknown category.

        A category is the one with the largest feature. If no training row had an unknown value, the
        bucket of unknown ones counts only above one half.
        """
        values = features.double() * self.scale + self.mean
        columns = [values.index_select(1, self.numbers)]
        for start, stop, impute in self.blocks:
            unknown = features[:, stop : stop + 1]
            if not impute:
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
    """What all served models have: the table's columns and the check of what comes in.

    Args:
        rows: the preprocessing.
        model: the trained network.
    """

    if TYPE_CHECKING:  # TorchScript takes an annotation for an attribute's type, not a module's
        model: Any

    def __init__(self, rows: RawRows, model: nn.Module):
        super().__init__()
        self.rows = rows
        self.model = model

    def features(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to features `[B, D]`.

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
        return features


class ServedAutoencoder(Served):
    """An autoencoder on raw rows.

    Example:
        >>> rows = RawRows([{"kind": "numeric", "mean": 5.0, "scale": 2.0, "fill": None}] * 3)
        >>> served = ServedAutoencoder(
        ...     rows, models.Autoencoder(3, (4,), 2, generator=torch.Generator())
        ... )
        >>> x = torch.full((7, 3), 5.0)
        >>> tuple(served.embed(x).shape), tuple(served.reconstruct(x).shape)
        ((7, 2), (7, 3))
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to codes `[B, Z]`, as `embed` does."""
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to codes `[B, Z]`."""
        z: Tensor = self.model.encode(self.features(x))
        return z

    def reconstruct(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to their reconstructions `[B, C]`, in raw units."""
        return self.decode(self.embed(x))

    def decode(self, z: Tensor) -> Tensor:
        """Maps codes `[B, Z]` to raw rows `[B, C]`."""
        return self.rows.invert(self.model.decode(z.float()))

    def score(self, x: Tensor) -> Tensor:
        """Mean squared reconstruction error of each row's features, `[B]`; higher is stranger."""
        features = self.features(x)
        error: Tensor = features - self.model.decode(self.model.encode(features))
        return (error**2).mean(dim=-1)


class ServedVAE(Served):
    """A VAE on raw rows. Embedding, reconstruction and score go through the mean μ.

    Example:
        >>> rows = RawRows([{"kind": "numeric", "mean": 5.0, "scale": 2.0, "fill": None}] * 3)
        >>> served = ServedVAE(rows, models.VAE(3, (4,), 2, generator=torch.Generator()))
        >>> tuple(served.generate(10).shape)
        (10, 3)
    """

    def __init__(self, rows: RawRows, model: models.VAE):
        super().__init__(rows, model)
        self.latent_dim = int(model.mu.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to means μ `[B, Z]`, as `embed` does."""
        return self.embed(x)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps raw rows `[B, C]` to the posterior's μ and log σ², `[B, Z]` each."""
        posterior: tuple[Tensor, Tensor] = self.model.encode(self.features(x))
        return posterior

    def embed(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to means μ `[B, Z]`."""
        return self.encode(x)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to their reconstructions `[B, C]`, in raw units."""
        return self.decode(self.embed(x))

    def decode(self, z: Tensor) -> Tensor:
        """Maps latents `[B, Z]` to raw rows `[B, C]`."""
        return self.rows.invert(self.model.decode(z.float()))

    def generate(self, count: int) -> Tensor:
        """Draws `count` raw rows `[count, C]` from the prior, with torch's own generator."""
        z = torch.randn([count, self.latent_dim], device=self.rows.mean.device)
        return self.decode(z)

    def score(self, x: Tensor) -> Tensor:
        """Mean squared reconstruction error of each row's features, `[B]`; higher is stranger."""
        features = self.features(x)
        mu, _ = self.model.encode(features)
        error: Tensor = features - self.model.decode(mu)
        return (error**2).mean(dim=-1)


class ServedSimCLR(Served):
    """SimCLR's encoder on raw rows.

    Example:
        >>> rows = RawRows([{"kind": "numeric", "mean": 5.0, "scale": 2.0, "fill": None}] * 3)
        >>> model = models.SimCLREncoder(3, (4,), 2, 6, generator=torch.Generator())
        >>> tuple(ServedSimCLR(rows, model).project(torch.ones(7, 3)).shape)
        (7, 6)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to representations h `[B, Z]`, as `embed` does."""
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to the backbone's output h `[B, Z]`."""
        h: Tensor = self.model.backbone(self.features(x))
        return h

    def project(self, x: Tensor) -> Tensor:
        """Maps raw rows `[B, C]` to projections `[B, P]` of length 1."""
        z: Tensor = self.model.projection(self.embed(x))
        return z

    def score(self, x: Tensor) -> Tensor:
        """Mahalanobis distance² / Z of h from the training rows' h, `[B]`; higher is stranger."""
        distance: Tensor = self.model.squared_distance(self.embed(x))
        return distance


SERVED: dict[str, type[Served]] = {
    "autoencoder": ServedAutoencoder,
    "vae": ServedVAE,
    "simclr": ServedSimCLR,
}


def serve(description: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Served:
    """Builds a trained model from plain data, such as a safetensors file of jaxrep holds.

    Args:
        description: its `method`, `hyperparameters` and `preprocessing`, as JSON has them.
        weights: all weights of the method's model, float32, by jaxrep's names.

    Raises:
        FileFormatError: the description describes no model, or one of other weights.

    Example:
        >>> from torch_ref import hyperparameters, methods, weights
        >>> settings = hyperparameters.VAEHyperparameters(latent_dim=2)
        >>> column = {"kind": "numeric", "name": "a", "mean": 5.0, "scale": 2.0, "fill": None}
        >>> described = {
        ...     "method": "vae",
        ...     "hyperparameters": vars(settings),
        ...     "preprocessing": {"columns": [column]},
        ... }
        >>> model = methods.VAE(settings).init_model(1, torch.Generator())
        >>> served = serve(described, weights.get_weights(model))
        >>> tuple(served.embed(torch.ones(3, 1)).shape)
        (3, 2)
    """
    model = described_model(description)
    check_weights(model, weights)
    rows = RawRows(description["preprocessing"]["columns"])
    filled = with_weights(model.to_empty(device="cpu"), weights)
    return SERVED[description["method"]](rows, filled).eval().requires_grad_(False)


# Functions of rows `[B, C]`, and of codes `[B, Z]`, that every served model of a method has.
OF_ROWS = {
    "autoencoder": ("forward", "embed", "reconstruct", "score"),
    "vae": ("forward", "embed", "reconstruct", "score", "encode"),
    "simclr": ("forward", "embed", "project", "score"),
}
OF_CODES: dict[str, tuple[str, ...]] = {
    "autoencoder": ("decode",),
    "vae": ("decode",),
    "simclr": (),
}

_FEATURE_BUFFERS = {
    "source": torch.int64,
    "mean": torch.float64,
    "scale": torch.float64,
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
    if column["kind"] == "numeric":
        fill = nan if column["fill"] is None else column["fill"]
        scaling = {"mean": column["mean"], "scale": column["scale"], "fill": fill}
        return [plain | scaling | {"is_number": True}]
    count = len(column["categories"])
    plain |= {"fill": -1.0 if column["impute"] else nan, "count": float(count)}
    known = [plain | {"code": float(code)} for code in range(count)]
    return [*known, plain | {"is_unknown": True}]
