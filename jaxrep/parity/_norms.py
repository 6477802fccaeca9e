"""The suite of normalisation: training and serving, with and without weights of rows."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxrep import networks
from jaxrep.networks import get_model_state, with_weights
from jaxrep.parity._cross_check import Case

ROWS, WIDTH = 17, 5


def norm_cases(quick: bool) -> Iterator[Case]:
    """Yields batch and layer normalisation and standardisation: outputs, statistics, gradients."""
    rng = np.random.default_rng(5)
    x = rng.normal(1, 2, size=(ROWS, WIDTH))
    trained = {"scale": rng.normal(size=WIDTH), "bias": rng.normal(size=WIDTH)}
    kept = {"mean": rng.normal(size=WIDTH), "var": 0.5 + rng.random(WIDTH)}
    weightings = {
        "no weights": {},
        "some weights 0": {"row_weights": np.arange(ROWS) % 4 / 2},
        "one row": {"row_weights": (np.arange(ROWS) == 3).astype(np.float64)},
    }
    cases: list[tuple[str, bool, str, Any]] = [
        ("BatchNorm", True, name, weights) for name, weights in weightings.items()
    ]
    cases += [("BatchNorm", False, "serving", {})]
    cases += [(kind, False, "every row alone", {}) for kind in ("LayerNorm", "Standardisation")]
    weights_of = {
        "BatchNorm": trained | kept,
        "LayerNorm": trained,
        "Standardisation": {"mean": kept["mean"], "scale": kept["var"]},
    }
    for kind, training, told, weights in [cases[1], *cases[3:]] if quick else cases:
        yield Case(
            check=f"{kind}, {'training' if training else 'serving'}",
            case=told,
            jax_function=functools.partial(_in_jax, kind, training),
            torch_function=functools.partial(_in_torch, kind, training),
            inputs={"x": x, "weights": weights_of[kind], **weights},
            wanted=("x",) if training else ("x", "weights"),
        )


def _in_jax(
    kind: str, training: bool, *, x: Any, weights: Any, row_weights: Any = None
) -> dict[str, Any]:
    layer = getattr(networks, kind)(x.shape[1])
    if training:
        layer.train()
    model = with_weights(layer, weights)
    y = model(x) if row_weights is None else model(x, row_weights)
    return {"y": y, **jax.lax.stop_gradient(get_model_state(model))}


def _in_torch(
    kind: str, training: bool, *, x: Any, weights: Any, row_weights: Any = None
) -> dict[str, Any]:
    import torch_ref.networks
    import torch_ref.weights

    layer = getattr(torch_ref.networks, kind)(x.shape[1]).train(training)

    def call(layer: Any) -> dict[str, Any]:
        y = layer(x) if row_weights is None else layer(x, row_weights)
        return {"y": y, **{name: kept.detach().clone() for name, kept in layer.named_buffers()}}

    own = {name: tensor.clone() for name, tensor in weights.items()}  # training changes buffers
    found: dict[str, Any] = torch_ref.weights.apply(layer, call, own)
    return found
