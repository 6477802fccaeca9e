"""The losses, as pure functions: of reconstruction, of latents, of views, of classes and targets.

Conventions, the same in `jaxrep.losses`:

- `mse_loss` is the mean over rows and features. In `elbo_loss` the squared error and the KL are
  summed over features and latents and averaged over rows. `nt_xent_loss` is the mean over all 2B
  anchors, `cross_entropy` over rows, both with natural logarithms. `half_squared_error` is the mean
  over rows.
- `observed` says which cells of x are known: the mean is then over a row's observed columns, the
  sum of the ELBO over them alone, and a row without any has weight 0. What stands in x where it is
  not observed, NaN included, changes neither value nor gradient.
- `weights` w gives each row a weight: the mean over rows is Σ wᵢℓᵢ / Σ wᵢ, and 0 with zero gradient
  where all weights are 0. A row of weight 0 must still hold finite numbers; it changes neither
  value nor gradient, and stands in no denominator of NT-Xent. This is how padded batches work.
- bfloat16 and float16 are computed in float32, and the loss is float32.
- Shape letters: B batch, D features, Z latent, P projection, K classes.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_ref.nt_xent import MAX_DENSE, nt_xent

_LEAST_WEIGHT = 1e-37  # of all rows together, where none counts


def mse_by_row(x: Tensor, x_hat: Tensor, *, observed: Tensor | None = None) -> Tensor:
    """Mean squared error of each row: 1/D Σⱼ (xᵢⱼ − x̂ᵢⱼ)².

    Args:
        x: data, `[B, D]`.
        x_hat: reconstruction, `[B, D]`.
        observed: which cells of x are known, booleans `[B, D]`; None if all are.

    Returns:
        One error for each row, `[B]`; 0 where nothing is observed.

    Example:
        >>> print(mse_by_row(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]])))
        tensor([2.])
    """
    return mean_over_columns(_squared_error(x, x_hat, observed), observed)


def mse_loss(
    x: Tensor, x_hat: Tensor, *, weights: Tensor | None = None, observed: Tensor | None = None
) -> Tensor:
    """Mean squared error over all elements: 1/(B·D) Σᵢⱼ (xᵢⱼ − x̂ᵢⱼ)².

    Args:
        x: data, `[B, D]`.
        x_hat: reconstruction, `[B, D]`.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.
        observed: which cells of x are known, booleans `[B, D]`; None if all are.

    Returns:
        A scalar.

    Example:
        >>> print(mse_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]])))
        tensor(2.)
    """
    rows = mse_by_row(x, x_hat, observed=observed)
    return mean_over_rows(rows, observed_weights(weights, observed))


def gaussian_kl(mu: Tensor, log_var: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """KL divergence of N(μ, σ²) from N(0, 1), summed over latents, averaged over rows.

    ½ Σⱼ (μⱼ² + expm1(log σⱼ²) − log σⱼ²). The textbook form −½ Σⱼ (1 + log σⱼ² − μⱼ² − σⱼ²)
    subtracts numbers near 1: close to the prior it is wrong by percents in float32.

    Args:
        mu: means μ, `[B, Z]`.
        log_var: log-variances log σ², `[B, Z]`.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.

    Returns:
        A scalar, in nats.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix B.

    Example:
        >>> print(gaussian_kl(torch.tensor([[1.0, 0.0]]), torch.zeros((1, 2))))
        tensor(0.5000)
    """
    mu, log_var = _at_least_float32(mu), _at_least_float32(log_var)
    rows = 0.5 * (mu**2 + _expm1_minus(log_var)).sum(dim=-1)  # (B,)
    return mean_over_rows(rows, weights)


def total_correlation(
    z: Tensor, mu: Tensor, log_var: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """Total correlation of latents: how far they are from independent, over the rows of a batch.

    1/B Σᵢ (log q(zᵢ) − Σⱼ log qⱼ(zᵢⱼ)), where q(z) = 1/B Σₖ q(z | xₖ) is the mean of the rows'
    posteriors, and qⱼ that of their j-th latents. It is Chen et al.'s minibatch-weighted sampling
    but for the constant (Z − 1) log N of a table of N rows, and like it biased: every zᵢ counts
    its own posterior. Memory: B²·Z numbers.

    Args:
        z: samples of the posteriors, `[B, Z]`.
        mu: their means μ, `[B, Z]`.
        log_var: their log-variances log σ², `[B, Z]`.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike. A row of weight 0
            stands in no mean.

    Returns:
        A scalar, in nats.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        equation 5 and section 4.1.

    Example:
        >>> z = torch.tensor([[3.0, 3.0], [-3.0, -3.0]])  # of latents that say the same
        >>> print(total_correlation(z, z, torch.full((2, 2), -4.0)))
        tensor(0.6931)
    """
    z, mu, log_var = (_at_least_float32(part) for part in (z, mu, log_var))
    apart = (z[:, None, :] - mu).square() * torch.exp(-log_var)
    logs = -0.5 * (apart + log_var + math.log(2 * math.pi))  # (B, B, Z)
    shares = torch.ones_like(z[:, 0]) if weights is None else weights.to(z.dtype)
    shares = shares / shares.sum().clamp_min(_LEAST_WEIGHT)
    # A row of weight 0 is left out of the sums, for log 0 would give its gradient NaN.
    of_share = torch.where(shares > 0, torch.where(shares > 0, shares, 1).log(), -1e30)
    joint = torch.logsumexp(logs.sum(dim=2) + of_share, dim=1)
    single = torch.logsumexp(logs + of_share[None, :, None], dim=1)  # (B, Z)
    return mean_over_rows(joint - single.sum(dim=1), weights)


def elbo_loss(
    x: Tensor,
    x_hat: Tensor,
    mu: Tensor,
    log_var: Tensor,
    *,
    beta: float | Tensor,
    weights: Tensor | None = None,
    observed: Tensor | None = None,
) -> Tensor:
    """Negative evidence lower bound of a β-VAE with unit-variance Gaussian likelihood.

    1/B Σᵢ (Σⱼ (xᵢⱼ − x̂ᵢⱼ)² + β · KL(N(μᵢ, σᵢ²) ‖ N(0, 1))), up to additive constants and with the
    squared error not halved: β = 1 here is β = ½ for a likelihood of variance 1.

    Args:
        x: data, `[B, D]`.
        x_hat: reconstruction from a sample of the posterior, `[B, D]`.
        mu: posterior means μ, `[B, Z]`.
        log_var: posterior log-variances log σ², `[B, Z]`.
        beta: weight β of the KL.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.
        observed: which cells of x are known, booleans `[B, D]`; None if all are.

    Returns:
        A scalar, to be minimised.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014, equation 10.
        Higgins et al., beta-VAE, 2017, equation 4.

    Example:
        >>> x, mu = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
        >>> print(elbo_loss(x, x + 1.0, mu, torch.zeros((1, 2)), beta=4.0))
        tensor(4.)
    """
    weights = observed_weights(weights, observed)
    rows = _squared_error(x, x_hat, observed).sum(dim=-1)
    return mean_over_rows(rows, weights) + beta * gaussian_kl(mu, log_var, weights=weights)


def nt_xent_loss(
    z1: Tensor, z2: Tensor, *, temperature: float | Tensor, weights: Tensor | None = None
) -> Tensor:
    """Normalised-temperature cross entropy between two views of a batch.

    With z the 2B rows of both views, −1/2B Σᵢ log(exp(zᵢ·z₊/τ) / Σ_{k≠i} exp(zᵢ·zₖ/τ)), where z₊ is
    the other view of row i. Every other row of both views is a negative. Large batches are
    computed tile by tile, in memory O(B·P).

    Args:
        z1: projections of the first view, `[B, P]`, rows of length 1 (see `l2_normalize`).
        z2: projections of the second view, `[B, P]`, row i from the same data row as in z1.
        temperature: τ, above 0.
        weights: row weights, `[B]`, at least 0; rows of weight 0 are no negatives either. None
            weighs all rows alike.

    Returns:
        A scalar; exactly 0 where a single row has weight.

    References:
        Chen et al., A Simple Framework for Contrastive Learning, 2020, equation 1 and algorithm 1.

    Example:
        >>> z = torch.eye(2)
        >>> print(nt_xent_loss(z, z, temperature=0.5).round(decimals=4))
        tensor(0.2395)
    """
    z1, z2 = _at_least_float32(z1), _at_least_float32(z2)
    if 2 * len(z1) > MAX_DENSE:
        return nt_xent(z1, z2, temperature=temperature, weights=weights)
    batch = z1.shape[0]
    z = torch.cat([z1, z2])  # (2B, P)
    similarity = z @ z.T / temperature  # (2B, 2B)
    excluded = torch.eye(2 * batch, dtype=torch.bool, device=z.device)
    if weights is not None:
        weights = torch.cat([weights, weights])
        # Anchors of weight 0 keep their denominators: an empty one would be log 0.
        excluded = excluded | (weights > 0)[:, None] & (weights == 0)[None, :]
    positives = torch.arange(2 * batch, device=z.device).roll(batch)
    positive = similarity.gather(1, positives[:, None])[:, 0]  # (2B,)
    denominator = similarity.masked_fill(excluded, -torch.inf).logsumexp(dim=1)
    return mean_over_rows(denominator - positive, weights)


def cross_entropy(
    logits: Tensor,
    classes: Tensor,
    *,
    label_smoothing: float | Tensor = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy of classes with smoothed labels, averaged over rows.

    −Σₖ qₖ log pₖ with p = softmax(logits) and q = (1 − ε) · onehot(class) + ε/K.

    Args:
        logits: one for each class, `[B, K]`.
        classes: the class of each row, from 0 to K − 1, int32 `[B]`. Rows of weight 0 may have any
            number.
        label_smoothing: ε, in [0, 1].
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.

    Returns:
        A scalar, in nats.

    References:
        Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016, section 7.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [1000.0, 0.0]])
        >>> print(cross_entropy(logits[:1], torch.tensor([1])).round(decimals=4))
        tensor(0.6931)
        >>> print(cross_entropy(logits[1:], torch.tensor([0]), label_smoothing=0.0045))
        tensor(2.2500)
    """
    log_p = torch.log_softmax(_at_least_float32(logits), dim=-1)  # (B, K)
    count = logits.shape[-1]
    epsilon = torch.as_tensor(label_smoothing, dtype=log_p.dtype, device=log_p.device)
    is_class = classes[:, None] == torch.arange(count, device=log_p.device)
    q = (1 - epsilon) * is_class + epsilon / count
    return mean_over_rows(-(q * log_p).sum(dim=-1), weights)


def half_squared_error(
    prediction: Tensor, targets: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """Half the squared error of one target, averaged over rows: 1/B Σᵢ (tᵢ − t̂ᵢ)²/2.

    Args:
        prediction: t̂, `[B]`.
        targets: t, `[B]`.
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.

    Returns:
        A scalar.

    Example:
        >>> print(half_squared_error(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 5.0])))
        tensor(2.5000)
    """
    return mean_over_rows(0.5 * _squared_error(prediction, targets), weights)


def mean_over_rows(rows: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean over rows: Σ wᵢℓᵢ / Σ wᵢ, and 0 with zero gradient where all weights are 0.

    Args:
        rows: ℓ, a finite number for each row, `[B]`.
        weights: row weights w, `[B]`, at least 0; None weighs all rows alike.

    Returns:
        A scalar, at least float32.

    Example:
        >>> print(mean_over_rows(torch.tensor([1.0, 2.0, 100.0]), torch.tensor([3.0, 1.0, 0.0])))
        tensor(1.2500)
    """
    rows = _at_least_float32(rows)
    if weights is None:
        return rows.mean()
    weights = _at_least_float32(weights)
    total = weights.sum()
    return (weights * rows).sum() / torch.where(total > 0, total, 1.0)


def mean_over_columns(terms: Tensor, observed: Tensor | None = None) -> Tensor:
    """Mean of each row's terms over its observed columns, 0 where nothing is observed.

    Args:
        terms: a finite number for each cell, `[B, D]`; 0 where it is not observed.
        observed: which cells are known, booleans `[B, D]`; None if all are.

    Returns:
        `[B]`.

    Example:
        >>> observed = torch.tensor([[True, False], [False, False]])
        >>> print(mean_over_columns(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), observed))
        tensor([3., 0.])
    """
    if observed is None:
        return terms.mean(dim=-1)
    count = observed.sum(dim=-1).to(terms.dtype)
    return terms.sum(dim=-1) / count.clamp_min(1.0)


def observed_weights(weights: Tensor | None, observed: Tensor | None) -> Tensor | None:
    """Returns row weights that are 0 where nothing of a row is observed.

    Args:
        weights: row weights, `[B]`, at least 0; None weighs all rows alike.
        observed: which cells are known, booleans `[B, D]`; None if all are.

    Returns:
        `[B]`; None where that weighs all rows alike.

    Example:
        >>> print(observed_weights(None, torch.tensor([[True, False], [False, False]])))
        tensor([1., 0.])
    """
    if observed is None:
        return weights
    is_known = observed.any(dim=-1)
    return is_known.float() if weights is None else torch.where(is_known, weights, 0.0)


def l2_normalize(v: Tensor) -> Tensor:
    """Scales each row to length 1: v · rsqrt(max(Σv², ε²)), ε = 1e-12 (1e-4 in float16).

    Value and gradient are finite at v = 0, where dividing by max(‖v‖, ε) has a NaN gradient.

    Args:
        v: rows, `[B, P]`.

    Returns:
        Rows of length 1, or shorter where ‖v‖ < ε; `[B, P]`.

    Example:
        >>> print(l2_normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]])))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    epsilon = 1e-4 if v.dtype == torch.float16 else 1e-12  # 1/ε is the gradient at 0
    wide = _at_least_float32(v)
    squared_length = (wide**2).sum(dim=-1, keepdim=True)  # (B, 1)
    return (wide * torch.rsqrt(squared_length.clamp_min(epsilon**2))).to(v.dtype)


class _ExpM1Minus(torch.autograd.Function):
    """expm1(x) − x, with the derivative expm1(x).

    Differentiated term by term it would be exp(x) − 1, which cancels near 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.expm1(x) - x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * torch.expm1(x)


_expm1_minus: Callable[[Tensor], Tensor] = _ExpM1Minus.apply


def _squared_error(x: Tensor, x_hat: Tensor, observed: Tensor | None = None) -> Tensor:
    difference = _at_least_float32(x) - _at_least_float32(x_hat)
    if observed is not None:  # before it is squared: NaN · 0 would be NaN in the gradient
        difference = torch.where(observed, difference, 0.0)
    return difference**2


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
