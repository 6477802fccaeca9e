"""The losses once more, from their definitions, as loops over numpy float64; no shared code."""

import math

import numpy as np


def weighted_mean(rows: list[float], weights: np.ndarray | None) -> float:
    if weights is None:
        weights = np.ones(len(rows))
    total = sum(float(w) for w in weights)
    if total == 0:
        return 0.0
    return math.fsum(float(w) * row for w, row in zip(weights, rows, strict=True)) / total


def mse_loss(x: np.ndarray, x_hat: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    rows = [
        math.fsum((float(a) - float(b)) ** 2 for a, b in zip(p, q, strict=True)) / len(p)
        for p, q in zip(x, x_hat, strict=True)
    ]
    return weighted_mean(rows, weights)


def gaussian_kl(mu: np.ndarray, log_var: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    rows = [
        math.fsum(
            0.5 * (float(m) ** 2 + math.expm1(float(lv)) - float(lv))
            for m, lv in zip(p, q, strict=True)
        )
        for p, q in zip(mu, log_var, strict=True)
    ]
    return weighted_mean(rows, weights)


def elbo_loss(
    x: np.ndarray,
    x_hat: np.ndarray,
    mu: np.ndarray,
    log_var: np.ndarray,
    *,
    beta: float,
    weights: np.ndarray | None = None,
) -> float:
    reconstruction = mse_loss(x, x_hat, weights=weights) * x.shape[1]
    return reconstruction + beta * gaussian_kl(mu, log_var, weights=weights)


def nt_xent_loss(
    z1: np.ndarray, z2: np.ndarray, *, temperature: float, weights: np.ndarray | None = None
) -> float:
    """Algorithm 1 of Chen et al. (2020), pair by pair."""
    batch = len(z1)
    views = [*z1.astype(np.float64), *z2.astype(np.float64)]
    row_weights = np.ones(batch) if weights is None else weights
    present = [row_weights[k % batch] > 0 for k in range(2 * batch)]
    anchors = []
    for i in range(batch):
        for anchor, positive in ((i, i + batch), (i + batch, i)):
            if not present[anchor]:
                anchors.append(0.0)
                continue
            logits = [
                float(views[anchor] @ views[k]) / temperature
                for k in range(2 * batch)
                if k != anchor and present[k]
            ]
            top = max(logits)
            log_sum = top + math.log(math.fsum(math.exp(logit - top) for logit in logits))
            anchors.append(log_sum - float(views[anchor] @ views[positive]) / temperature)
    pairs = [(anchors[2 * i] + anchors[2 * i + 1]) / 2 for i in range(batch)]
    return weighted_mean(pairs, weights)


def gradients(loss, arrays: list[np.ndarray], step: float = 1e-6, **kwargs) -> list[np.ndarray]:
    """Central differences of a loss with respect to each of its arrays."""
    results = []
    for i, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            shifted = []
            for sign in (1, -1):
                moved = array.astype(np.float64).copy()
                moved[index] += sign * step
                shifted.append(loss(*arrays[:i], moved, *arrays[i + 1 :], **kwargs))
            gradient[index] = (shifted[0] - shifted[1]) / (2 * step)
        results.append(gradient)
    return results
