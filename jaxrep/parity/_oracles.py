"""The losses and their gradients in closed form, in float64 numpy, with no code of either twin.

Each returns a `Reference`: the value, the gradients, and for sums that cancel the sum of their
absolute terms, which is what float32 errors are to be measured against.
"""

import math

import numpy as np

from jaxrep.parity._cross_check import Reference

Array = np.ndarray


def mse_loss(
    x: Array, x_hat: Array, weights: Array | None = None, observed: Array | None = None
) -> Reference:
    """Σᵢ aᵢ 1/dᵢ Σⱼ (xᵢⱼ − x̂ᵢⱼ)² over the dᵢ observed cells of a row, with a = w / Σw.

    A row in which nothing is observed has weight 0.
    """
    shares, gap, count = _observed(x, x_hat, weights, observed)
    gradient = 2 * shares * gap / count
    return Reference(
        {
            "value": np.sum(shares * gap**2 / count),
            "gradient of x": gradient,
            "gradient of x_hat": -gradient,
        }
    )


def _observed(
    x: Array, x_hat: Array, weights: Array | None, observed: Array | None
) -> tuple[Array, Array, Array]:
    """Returns rows' shares `[B, 1]`, x − x̂, 0 where x is not observed, and observed cells."""
    if observed is None:
        return _shares(len(x), weights)[:, None], x - x_hat, np.full((len(x), 1), x.shape[1])
    weights = np.ones(len(x)) if weights is None else weights
    shares = _shares(len(x), weights * observed.any(axis=1))
    count = np.maximum(observed.sum(axis=1), 1)
    return shares[:, None], np.where(observed, x - x_hat, 0), count[:, None]


def gaussian_kl(mu: Array, log_var: Array, weights: Array | None = None) -> Reference:
    """½ Σᵢ aᵢ Σⱼ (μ² + e^v − 1 − v); the last three as v²/2 + v³/6 + … near v = 0."""
    shares = _shares(len(mu), weights)[:, None]
    terms = mu**2 + np.abs(np.expm1(log_var)) + np.abs(log_var)
    return Reference(
        {
            "value": 0.5 * np.sum(shares * (mu**2 + _exp_remainder(log_var))),
            "gradient of mu": shares * mu,
            "gradient of log_var": 0.5 * shares * np.expm1(log_var),
        },
        {"value": 0.5 * float(np.sum(shares * terms))},
    )


def elbo_loss(
    x: Array,
    x_hat: Array,
    mu: Array,
    log_var: Array,
    beta: Array,
    weights: Array | None = None,
    observed: Array | None = None,
) -> Reference:
    """Σᵢ aᵢ Σⱼ (xᵢⱼ − x̂ᵢⱼ)² over the observed cells, + β·KL.

    A row in which nothing is observed has weight 0 in both.
    """
    shares, gap, _ = _observed(x, x_hat, weights, observed)
    kl = gaussian_kl(mu, log_var, shares[:, 0])
    value, gradient = np.sum(shares * gap**2), 2 * shares * gap
    arrays = {"gradient of x": gradient, "gradient of x_hat": -gradient}
    arrays |= {name: beta * array for name, array in kl.arrays.items() if name != "value"}
    return Reference(
        arrays | {"value": value + beta * kl.arrays["value"]},
        {"value": float(value + beta * kl.scales["value"])},
    )


def nt_xent_loss(
    z1: Array, z2: Array, temperature: Array, weights: Array | None = None
) -> Reference:
    """Σᵢ aᵢ/2 Σ over both views of log(1 + Σ_{k≠i,+} exp((zᵢ·zₖ − zᵢ·z₊)/τ)).

    With P the softmax over all but the anchor, the derivative by the similarity zᵢ·zₖ/τ is
    Pᵢₖ, less 1 at the positive; there it is −Σ of the others, which does not cancel.
    """
    batch, z = len(z1), np.concatenate([z1, z2])
    anchor_shares = np.tile(_shares(batch, weights), 2) / 2  # (2B,)
    present = np.ones(2 * batch, bool) if weights is None else np.tile(weights > 0, 2)
    anchors = np.arange(2 * batch)
    positives = (anchors + batch) % (2 * batch)
    similarity = z @ z.T / temperature
    beyond = similarity - similarity[anchors, positives][:, None]  # above the positive
    beyond[:, ~present] = -np.inf
    beyond[anchors, anchors] = -np.inf
    beyond[anchors, positives] = -np.inf
    excess = np.logaddexp.reduce(beyond, axis=1, initial=-np.inf)  # log Σ of the negatives
    losses = np.logaddexp(0, excess)
    softmax = np.exp(beyond - losses[:, None])
    shares = anchor_shares[:, None]
    slopes = shares * softmax
    slopes[anchors, positives] = -slopes.sum(axis=1)
    sizes = shares * softmax
    sizes[anchors, positives] = anchor_shares * (1 + np.exp(-losses))
    gradient = (slopes + slopes.T) @ z / temperature
    size = float(np.max((sizes + sizes.T) @ np.abs(z) / temperature, initial=0.0))
    own = np.abs(similarity[anchors, positives])
    value_size = float(np.sum(anchor_shares * (np.abs(losses) + 2 * own)))
    return Reference(
        {
            "value": np.sum(anchor_shares * losses),
            "gradient of z1": gradient[:batch],
            "gradient of z2": gradient[batch:],
        },
        {"value": value_size, "gradient of z1": size, "gradient of z2": size},
    )


def cross_entropy(
    logits: Array, classes: Array, label_smoothing: Array, weights: Array | None = None
) -> Reference:
    """Σᵢ aᵢ Σₖ qₖ log Σⱼ exp(lⱼ − lₖ), and aᵢ(p − q) as its gradient.

    In float32 the largest logit's log-probability is the logarithm of a sum from 1 up.
    """
    count = logits.shape[1]
    shares = _shares(len(logits), weights)[:, None]
    q = np.full(logits.shape, label_smoothing / count)
    q[np.arange(len(logits)), classes] += 1 - label_smoothing
    surprise = np.logaddexp.reduce(logits[:, None, :] - logits[:, :, None], axis=2)  # (B, K)
    p = np.exp(-surprise)
    return Reference(
        {"value": np.sum(shares * q * surprise), "gradient of logits": shares * (p - q)},
        {
            "value": float(np.sum(shares * q * (1 + surprise))),
            "gradient of logits": float(np.max(shares * (p + q))),
        },
    )


def half_squared_error(
    prediction: Array, targets: Array, weights: Array | None = None
) -> Reference:
    """Σᵢ aᵢ (tᵢ − t̂ᵢ)²/2."""
    shares, gap = _shares(len(targets), weights), prediction - targets
    return Reference(
        {
            "value": 0.5 * np.sum(shares * gap**2),
            "gradient of prediction": shares * gap,
            "gradient of targets": -shares * gap,
        }
    )


def squared_terms(x: Array, mean: Array) -> dict[str, Array]:
    """(x − x̂)², and its slopes."""
    gap = x - mean
    return {"value": gap**2, "x": 2 * gap, "mean": -2 * gap}


def gaussian_terms(x: Array, mean: Array, log_var: Array) -> dict[str, Array]:
    """log(σ √2π) + (x − x̂)²/2σ², where log σ² counts within ±12, and its slopes."""
    sigma = np.exp(np.clip(log_var, -12, 12) / 2)
    gap = (x - mean) / sigma
    counts = np.abs(log_var) < 12
    return {
        "value": np.log(sigma * np.sqrt(2 * np.pi)) + gap**2 / 2,
        "x": gap / sigma,
        "mean": -gap / sigma,
        "log_var": counts * (1 - gap**2) / 2,
    }


def bernoulli_terms(x: Array, logit: Array) -> dict[str, Array]:
    """log(1 + exp(ℓ)) − x·ℓ, and its slopes; that by x is −ℓ."""
    p = np.exp(-np.logaddexp(0, -logit))
    return {"value": np.logaddexp(0, logit) - x * logit, "x": -logit, "logit": p - x}


def poisson_terms(count: Array, log_rate: Array) -> dict[str, Array]:
    """λ − k·log λ + log k!, where log λ counts up to 30, and its slope."""
    log_factorial = np.vectorize(math.lgamma)(count + 1)
    log_rate, counts = np.minimum(log_rate, 30), log_rate < 30
    rate = np.exp(log_rate)
    return {
        "value": rate - count * log_rate + log_factorial,
        "log_rate": counts * (rate - count),
    }


def categorical_terms(codes: Array, logits: Array) -> dict[str, Array]:
    """The logarithm of Σₖ exp(ℓₖ − ℓ of the code), and its slopes softmax(ℓ) − onehot(code)."""
    most = logits.max(axis=-1, keepdims=True)
    of_code = np.take_along_axis(logits, codes[..., None], axis=-1)
    total = np.exp(logits - most).sum(axis=-1, keepdims=True)
    value = (np.log(total) + (most - of_code))[..., 0]
    is_code = np.arange(logits.shape[-1]) == codes[..., None]
    p = np.exp(logits - most) / total
    # At the code −Σ of the others, which does not cancel.
    others = np.where(is_code, 0, p)
    return {"value": value, "logits": np.where(is_code, -others.sum(-1, keepdims=True), p)}


def _shares(rows: int, weights: Array | None) -> Array:
    """Each row's share of the mean; all 0 where all weights are."""
    if weights is None:
        return np.full(rows, 1 / rows)
    return weights / total if (total := weights.sum()) > 0 else np.zeros(rows)


def _exp_remainder(v: Array) -> Array:
    """e^v − 1 − v, by its Taylor series where the difference would cancel."""
    small = np.clip(v, -0.5, 0.5)
    series, term = np.zeros_like(v), np.ones_like(v)
    for k in range(1, 20):
        term = term * small / k
        if k > 1:
            series += term
    return np.where(np.abs(v) < 0.5, series, np.expm1(v) - v)
