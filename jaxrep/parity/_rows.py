"""The suite of rows: likelihoods of cells, and the layers next to rows."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxrep import likelihoods
from jaxrep.batch import MISSING, RowSpec
from jaxrep.methods import AnyMethod, abstract_network, get, make, names
from jaxrep.methods._reconstruction import ReconstructionNetwork
from jaxrep.networks import WIDE, RowLayout, with_weights
from jaxrep.parity import _oracles
from jaxrep.parity._cross_check import Case, Reference
from jaxrep.parity._decided import decided_cells
from jaxrep.parity._evaluate import Inputs, cotangents
from jaxrep.parity._mixed import BY_KIND, MIXED, draw_rows
from jaxrep.parity._models import draw_weights, twin_of

ROWS, LATENTS = 17, 3


def row_cases(quick: bool) -> Iterator[Case]:
    """Yields the terms of every likelihood, and what stands between rows and networks."""
    yield from likelihood_cases(quick)
    tables = {"numbers": RowSpec(4), "mixed": MIXED, "mixed, by kind": BY_KIND}
    if not quick:
        tables["numbers with gaps"] = RowSpec(4, gaps=(True, False, True, True))
        tables["codes alone"] = RowSpec(0, (4, 3))
    for described, rows in tables.items():
        yield from _layer_cases(described, rows)


def likelihood_cases(quick: bool) -> Iterator[Case]:
    """Yields −log p of cells under every likelihood, at usual and at extreme outputs."""
    for name, inputs in _cells(quick):
        kind, _, case = name.partition(": ")
        yield Case(
            check=f"{kind} terms",
            case=case,
            jax_function=functools.partial(_terms_in_jax, kind),
            torch_function=functools.partial(_terms_in_torch, kind),
            inputs=inputs,
            wanted=[key for key in inputs if key not in ("codes", "count")],
            oracle=functools.partial(_weighted, getattr(_oracles, f"{kind}_terms")),
        )


def _cells(quick: bool) -> Iterator[tuple[str, Inputs]]:
    """Yields the arguments of terms, named by the likelihood and what they are like."""
    rng = np.random.default_rng(7)
    x, mean = rng.normal(size=(2, ROWS, 3))
    counts = rng.integers(0, 12, (ROWS, 3)).astype(np.float64)
    codes = rng.integers(0, 5, (ROWS, 3), dtype=np.int32)
    logits = rng.normal(size=(ROWS, 3, 5))
    yield "squared: usual", {"x": x, "mean": mean}
    yield "gaussian: usual", {"x": x, "mean": mean, "log_var": rng.normal(size=(1, 3))}
    # Both sides of what counts, one of them without a gradient.
    ends = np.array([[-20.0, -11.5, 20.0]])
    yield "gaussian: at the ends", {"x": x, "mean": x + 1e-2 * mean, "log_var": ends}
    yield "bernoulli: usual", {"x": (x > 0).astype(np.float64), "logit": mean}
    yield "bernoulli: extreme", {"x": (x > 0).astype(np.float64), "logit": 60 * mean}
    yield "poisson: usual", {"count": counts, "log_rate": mean}
    yield "poisson: extreme", {"count": counts, "log_rate": np.where(mean > 0, 31.0, -40.0)}
    yield "categorical: usual", {"codes": codes, "logits": logits}
    yield "categorical: extreme", {"codes": codes, "logits": 1e4 * np.sign(logits)}
    if not quick:
        yield "categorical: equal", {"codes": codes, "logits": np.ones_like(logits)}
        wide: Inputs = {"codes": codes[:, :1] * 900, "logits": rng.normal(size=(ROWS, 1, 5000))}
        yield "categorical: 5,000 levels", wide


def _terms_in_jax(kind: str, **inputs: Any) -> Any:
    return getattr(likelihoods, kind).terms(**inputs)


def _terms_in_torch(kind: str, **inputs: Any) -> Any:
    from torch_ref import likelihoods

    return getattr(likelihoods, kind).terms(**inputs)


def _layer_cases(described: str, rows: RowSpec) -> Iterator[Case]:
    """Yields the first layer, the terms by column and the rows that a decoder stands for."""
    ours = _reconstructing()
    theirs, weights, rng = twin_of(ours), draw_weights(ours, rows), np.random.default_rng(8)
    x, z = draw_rows(rows, ROWS, seed=3), rng.normal(size=(ROWS, LATENTS))
    outputs = rng.normal(size=(ROWS, RowLayout(rows).outputs))
    decided = decided_cells(ours, rows, weights, z)
    of_encoder = {k: a for k, a in weights.items() if k.startswith(("encoder", "embeddings"))}
    parts: dict[str, tuple[Inputs, tuple[str, ...]]] = {
        "encoder": ({"weights": of_encoder, "x": x}, ("weights", "x")),
        "likelihood": ({"weights": weights, "x": x, "outputs": outputs}, ("weights", "outputs")),
        "decoded": ({"weights": weights, "z": z, "decided": decided}, ("weights", "z")),
    }
    for part, (inputs, wanted) in parts.items():
        yield Case(
            check=f"rows: {part}",
            case=described,
            jax_function=functools.partial(_in_jax, part, ours, rows),
            torch_function=functools.partial(_in_torch, part, theirs, rows),
            inputs=inputs,
            wanted=wanted,
            oracle=functools.partial(_encoded, rows) if part == "encoder" else None,
        )


def _reconstructing() -> AnyMethod:
    """Returns the first method that has the layers next to rows on both sides, with no others."""
    kinds = map(get, names())
    kind: Any = next(k for k in kinds if issubclass(k.network_type, ReconstructionNetwork))
    return make(kind.hyperparameters_type(hidden_dims=(), latent_dim=LATENTS))


def _in_jax(part: str, method: AnyMethod, rows: RowSpec, *, weights: Any, **inputs: Any) -> Any:
    network: Any = with_weights(abstract_network(method, rows), weights)
    return _part(part, network, network.embeddings, **inputs)


def _in_torch(part: str, method: Any, rows: RowSpec, *, weights: Any, **inputs: Any) -> Any:
    import torch

    import torch_ref.batch
    import torch_ref.weights

    if "x" in inputs:
        inputs["x"] = torch_ref.batch.Batch(*inputs["x"])
    network = method.init(torch_ref.batch.RowSpec(*rows), torch.Generator())

    def call(network: Any) -> Any:
        return _part(part, network, network.embeddings(), **inputs)

    return torch_ref.weights.apply(network, call, weights)


def _part(part: str, network: Any, embeddings: Any, **inputs: Any) -> Any:
    """What a part of a network of either framework gives."""
    if part == "encoder":
        return network.encoder(inputs["x"], embeddings)
    if part == "decoded":
        decoded = network.likelihood.expectation(network.decoder(inputs["z"]), embeddings)
        codes = decoded.codes
        return {
            "numbers": decoded.numbers,
            **(
                {}
                if codes is None
                else {"codes": codes * inputs["decided"][:, decoded.numbers.shape[1] :]}
            ),
        }
    x = inputs["x"]
    terms = network.likelihood.terms(x, inputs["outputs"], embeddings)
    observed = network.likelihood.observed(x)
    return {"terms": terms, **({} if observed is None else {"observed": observed})}


def _weighted(terms: Callable[..., dict[str, np.ndarray]], inputs: Inputs) -> Reference:
    """An oracle's terms, and its slopes as the gradients of the sum that checks differentiate."""
    found = terms(**{str(name): array for name, array in inputs.items()})
    value = found.pop("value")
    [weights] = cotangents([value.shape])
    arrays = {"value": value}
    for name, slope in found.items():
        extra = (1,) * (slope.ndim - value.ndim)
        gradient = slope * weights.reshape(weights.shape + extra)
        shape = np.shape(inputs[name])
        summed = tuple(i for i, size in enumerate(shape) if size != gradient.shape[i])
        arrays[f"gradient of {name}"] = gradient.sum(axis=summed, keepdims=True)
    return Reference(arrays)


def _encoded(rows: RowSpec, inputs: Inputs) -> Reference:
    """The first layer as a matrix product with one-hot codes, which are written out."""
    x, weights = inputs["x"], inputs["weights"]
    is_missing, gaps = np.isnan(x.numbers), np.array(rows.number_gaps, bool)
    blocks = [np.where(is_missing, 0, x.numbers), is_missing[:, gaps]]
    narrow, wide = [], 0
    for c, (levels, has_gaps) in enumerate(zip(rows.levels, rows.code_gaps, strict=True)):
        place = np.where(x.codes[:, c] == MISSING, levels, x.codes[:, c])
        one_hot = np.eye(levels + has_gaps)[place]
        if levels > WIDE:
            blocks.append(one_hot @ weights[f"embeddings.{wide}.table"])
            wide += 1
        else:
            narrow.append(one_hot)
    dense = np.concatenate([*blocks, *narrow], axis=1)
    return Reference({"value": dense @ weights["encoder.0.kernel"] + weights["encoder.0.bias"]})
