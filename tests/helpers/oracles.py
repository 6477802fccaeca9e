"""The losses once more, from their definitions, as loops over numpy float64; no shared code."""

import math
from collections.abc import Sequence

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


def cross_entropy(
    logits: np.ndarray,
    classes: np.ndarray,
    *,
    label_smoothing: float,
    weights: np.ndarray | None = None,
) -> float:
    rows = []
    for row, own in zip(logits, classes, strict=True):
        top = float(max(row))
        others = math.fsum(math.exp(float(logit) - top) for logit in row) - 1
        log_sum = math.log1p(others)  # above the largest logit
        targets = smoothed(len(row), int(own), label_smoothing)
        rows.append(
            math.fsum(
                q * (top - float(logit) + log_sum) for q, logit in zip(targets, row, strict=True)
            )
        )
    return weighted_mean(rows, weights)


def half_squared_error(
    prediction: np.ndarray, targets: np.ndarray, *, weights: np.ndarray | None = None
) -> float:
    rows = [(float(t) - float(p)) ** 2 / 2 for p, t in zip(prediction, targets, strict=True)]
    return weighted_mean(rows, weights)


def gradients(loss, arrays: list[np.ndarray], step: float = 1e-6, **kwargs) -> list[np.ndarray]:
    """Central differences of a loss with respect to each of its floating arrays."""
    results = []
    for i, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
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


def shares(weights: np.ndarray | None, batch: int) -> list[float]:
    """What each row's loss counts in the mean."""
    weights = np.ones(batch) if weights is None else weights
    total = math.fsum(float(w) for w in weights)
    return [float(w) / total if total else 0.0 for w in weights]


def mse_loss_gradients(
    x: np.ndarray, x_hat: np.ndarray, *, weights: np.ndarray | None = None
) -> list[np.ndarray]:
    found = [np.zeros(x.shape), np.zeros(x.shape)]
    share = shares(weights, len(x))
    for i, j in np.ndindex(x.shape):
        slope = 2 * (float(x[i, j]) - float(x_hat[i, j])) / x.shape[1] * share[i]
        found[0][i, j], found[1][i, j] = slope, -slope
    return found


def gaussian_kl_gradients(
    mu: np.ndarray, log_var: np.ndarray, *, weights: np.ndarray | None = None
) -> list[np.ndarray]:
    found = [np.zeros(mu.shape), np.zeros(mu.shape)]
    share = shares(weights, len(mu))
    for i, j in np.ndindex(mu.shape):
        found[0][i, j] = float(mu[i, j]) * share[i]
        found[1][i, j] = 0.5 * math.expm1(float(log_var[i, j])) * share[i]
    return found


def elbo_loss_gradients(
    x: np.ndarray,
    x_hat: np.ndarray,
    mu: np.ndarray,
    log_var: np.ndarray,
    *,
    beta: float,
    weights: np.ndarray | None = None,
) -> list[np.ndarray]:
    reconstruction = mse_loss_gradients(x, x_hat, weights=weights)
    kl = gaussian_kl_gradients(mu, log_var, weights=weights)
    return [g * x.shape[1] for g in reconstruction] + [beta * g for g in kl]


def nt_xent_loss_gradients(
    z1: np.ndarray,
    z2: np.ndarray,
    *,
    temperature: float,
    weights: np.ndarray | None = None,
    absolute: bool = False,
) -> list[np.ndarray]:
    """Anchor by anchor, logit by logit; `absolute` sums the terms' magnitudes instead.

    The logit s = zₐ·zₖ/τ of anchor a has the slope softmax − 1 where k is the positive and softmax
    elsewhere; s passes it on to zₐ and to zₖ.
    """
    batch = len(z1)
    views = [*z1.astype(np.float64), *z2.astype(np.float64)]
    share = shares(weights, batch)
    found = np.zeros((2 * batch, z1.shape[1]))
    sign = abs if absolute else float
    for anchor in range(2 * batch):
        if share[anchor % batch] == 0:
            continue
        others = [k for k in range(2 * batch) if k != anchor and share[k % batch] > 0]
        logits = [float(views[anchor] @ views[k]) / temperature for k in others]
        exponentials = [math.exp(logit - max(logits)) for logit in logits]
        for k, exponential in zip(others, exponentials, strict=True):
            terms = [exponential / math.fsum(exponentials)]
            if k == (anchor + batch) % (2 * batch):
                terms.append(-1.0)
            slope = math.fsum(sign(term) for term in terms) * share[anchor % batch] / 2
            for j in range(z1.shape[1]):
                found[anchor, j] += sign(slope * views[k][j] / temperature)
                found[k, j] += sign(slope * views[anchor][j] / temperature)
    return [found[:batch], found[batch:]]


def cross_entropy_gradients(
    logits: np.ndarray,
    classes: np.ndarray,
    *,
    label_smoothing: float,
    weights: np.ndarray | None = None,
    absolute: bool = False,
) -> list[np.ndarray]:
    """Softmax − target, class by class; `absolute` adds the two instead."""
    found = np.zeros(logits.shape)
    for i, share in enumerate(shares(weights, len(logits))):
        if share == 0:
            continue
        exponentials = [math.exp(float(logit) - max(logits[i])) for logit in logits[i]]
        targets = smoothed(logits.shape[1], int(classes[i]), label_smoothing)
        for k, exponential in enumerate(exponentials):
            p = exponential / math.fsum(exponentials)
            found[i, k] = share * (p + targets[k] if absolute else p - targets[k])
    return [found]


def smoothed(count: int, own: int, label_smoothing: float) -> list[float]:
    """The targets of a row of a class."""
    return [(1 - label_smoothing) * (k == own) + label_smoothing / count for k in range(count)]


def half_squared_error_gradients(
    prediction: np.ndarray, targets: np.ndarray, *, weights: np.ndarray | None = None
) -> list[np.ndarray]:
    share = shares(weights, len(targets))
    found = np.array([s * (p - t) for s, p, t in zip(share, prediction, targets, strict=True)])
    return [found, -found]


def l2_normalize(v: np.ndarray, *, epsilon: float) -> np.ndarray:
    found = np.zeros(v.shape)
    for i, row in enumerate(v):
        length = math.sqrt(math.fsum(float(a) ** 2 for a in row))
        for j, a in enumerate(row):
            found[i, j] = float(a) / max(length, epsilon)
    return found


def l2_normalize_gradient(
    v: np.ndarray, upstream: np.ndarray, *, epsilon: float, absolute: bool = False
) -> np.ndarray:
    """Pulls a gradient of the rows' directions back: (g − u(u·g)) / ‖v‖, and g/ε where ‖v‖ < ε."""
    found = np.zeros(v.shape)
    sign = abs if absolute else float
    for i, (row, g) in enumerate(zip(v, upstream, strict=True)):
        length = math.sqrt(math.fsum(float(a) ** 2 for a in row))
        if length < epsilon:
            found[i] = [sign(float(b)) / epsilon for b in g]
            continue
        along = math.fsum(sign(float(a) * float(b)) for a, b in zip(row, g, strict=True)) / length
        for j, (a, b) in enumerate(zip(row, g, strict=True)):
            radial = float(a) / length * along
            found[i, j] = (abs(b) + abs(radial) if absolute else float(b) - radial) / length
    return found


def adam_steps(
    params: np.ndarray,
    gradients: np.ndarray,
    *,
    learning_rate: float | Sequence[float],
    weight_decay: float,
    decoupled: bool,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> np.ndarray:
    """Algorithm 1 of Kingma and Ba; decoupled as in algorithm 2 of Loshchilov and Hutter.

    A learning rate of several numbers has one for each step.
    """
    rates = np.broadcast_to(learning_rate, len(gradients))
    found = np.array(params, np.float64)
    for index in np.ndindex(found.shape):
        p, m, v = float(found[index]), 0.0, 0.0
        for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
            g = float(gradient[index]) + (0.0 if decoupled else weight_decay * p)
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            step = (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
            p -= float(rate) * (step + (weight_decay * p if decoupled else 0.0))
        found[index] = p
    return found


def nt_xent_matrix(
    z1: np.ndarray, z2: np.ndarray, *, temperature: float, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Value and gradient `[2, B, P]` from the whole matrix, for batches too large for loops.

    Everything relative to the positive: softmax − 1 there is minus the sum of the others.
    """
    batch, z = len(z1), np.concatenate([z1, z2]).astype(np.float64)
    share = np.tile(np.ones(batch) if weights is None else weights.astype(np.float64), 2)
    rows = np.flatnonzero(share > 0)
    if len(rows) <= 2:
        return 0.0, np.zeros((2, *z1.shape))
    share /= share.sum()
    positive = np.sum(z * np.roll(z, batch, axis=0), axis=1)
    beyond = (z[rows] @ z[rows].T - positive[rows, None]) / temperature
    beyond[rows[:, None] % batch == rows[None, :] % batch] = -np.inf  # the row and its positive
    loss = np.logaddexp(0, np.logaddexp.reduce(beyond, axis=1))
    slope = np.zeros((2 * batch, 2 * batch))
    slope[np.ix_(rows, rows)] = share[rows, None] * np.exp(beyond - loss[:, None])
    slope[rows, (rows + batch) % (2 * batch)] = -slope[rows].sum(axis=1)
    gradient = (slope + slope.T) @ z / temperature
    return float(share[rows] @ loss), gradient.reshape(2, *z1.shape)
