"""Log-likelihoods: against the closed form of a linear-Gaussian VAE, and what is refused."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import torch

import torch_ref.batch
import torch_ref.methods
import torch_ref.weights
from jaxrep.batch import Batch, RowSpec
from jaxrep.errors import InputError
from jaxrep.inference import map_rows
from jaxrep.methods import VAE, Autoencoder, AutoencoderHyperparameters, VAEHyperparameters
from jaxrep.parity._models import draw_weights
from jaxrep.runs.density import log_likelihood

D, Z = 5, 2
SPEC = RowSpec(D, likelihoods=("gaussian",) * D)


@dataclasses.dataclass(frozen=True)
class FakeRun:
    """What `log_likelihood` asks of a run."""

    method: VAE
    weights: dict
    rows: RowSpec


def linear_gaussian(likelihood="gaussian", prior="normal"):
    """A VAE without hidden layers, whose q is as good as a diagonal Gaussian can be; W and σ²."""
    hp = VAEHyperparameters(
        hidden_dims=(), latent_dim=Z, prior=prior, likelihood="by_kind", initial_weights="pytorch"
    )
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(Z, D)), rng.normal(size=D)
    variance = np.full(D, 0.5) if likelihood == "squared" else rng.uniform(0.3, 1.5, D)
    spec = SPEC if likelihood == "gaussian" else RowSpec(D)
    precision = np.eye(Z) + (w / variance) @ w.T
    gain = np.linalg.solve(precision, w / variance)  # μ = gain (x − b)
    weights = {
        "decoder.0.kernel": w,
        "decoder.0.bias": b,
        "mu.kernel": gain.T,
        "mu.bias": -gain @ b,
        "log_var.kernel": np.zeros((D, Z)),
        "log_var.bias": np.log(np.diag(np.linalg.inv(precision)) * 1.3),
    }
    if likelihood == "gaussian":
        weights["likelihood.log_var"] = np.log(variance)
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    exact = scipy.stats.multivariate_normal(b, w.T @ w + np.diag(variance))
    return FakeRun(VAE(hp), weights, spec), exact


@pytest.mark.parametrize("likelihood", ["gaussian", "squared"])
def test_it_is_that_of_a_linear_gaussian_model_to_a_twentieth_of_a_nat(likelihood):
    run, exact = linear_gaussian(likelihood)
    x = exact.rvs(300, random_state=1).astype(np.float32)
    found = log_likelihood(run, Batch(x), samples=20_000)
    np.testing.assert_allclose(found, exact.logpdf(x), atol=0.05)
    few = [log_likelihood(run, Batch(x), samples=2, seed=seed).mean() for seed in range(20)]
    assert np.mean(few) < found.mean() - 0.02  # a bound, and looser


def test_the_prior_that_counts_is_the_one_that_rows_are_drawn_from():
    run, _ = linear_gaussian(prior="mixture")
    # A mixture of one Gaussian N(m, S): x is then N(W m + b, W S Wᵀ + σ²).
    mean, spread = np.array([1.0, -2.0]), np.array([[1.5, 0.0], [0.4, 0.7]])
    prior = {
        "prior.ends": np.full((1, 1), 40),
        "prior.means": mean[None],
        "prior.factors": spread.reshape(1, -1),
    }
    weights = run.weights | {name: array.astype(np.float32) for name, array in prior.items()}
    w, b = weights["decoder.0.kernel"], weights["decoder.0.bias"]
    covariance = w.T @ spread @ spread.T @ w + np.diag(np.exp(weights["likelihood.log_var"]))
    shifted = scipy.stats.multivariate_normal(mean @ w + b, covariance)
    x = shifted.rvs(100, random_state=1).astype(np.float32)
    found = log_likelihood(dataclasses.replace(run, weights=weights), Batch(x), samples=20_000)
    np.testing.assert_allclose(found, shifted.logpdf(x), atol=0.2)
    assert np.abs(found - shifted.logpdf(x)).mean() < 0.05


def test_missing_cells_leave_the_likelihood_of_the_others():
    run, exact = linear_gaussian()
    spec = SPEC._replace(gaps=(False, False, False, False, True))
    weights = run.weights | {
        "mu.kernel": np.vstack([run.weights["mu.kernel"], np.zeros((1, Z))]).astype(np.float32),
        "log_var.kernel": np.zeros((D + 1, Z), np.float32),
    }
    hp = dataclasses.replace(run.method.hyperparameters, draw_missing=False)
    run = dataclasses.replace(run, rows=spec, weights=weights, method=VAE(hp))
    x = exact.rvs(50, random_state=1).astype(np.float32)
    x[:, -1] = np.nan
    found = log_likelihood(run, Batch(x), samples=5000)
    others = scipy.stats.multivariate_normal(exact.mean[:-1], exact.cov[:-1, :-1])
    np.testing.assert_allclose(found, others.logpdf(x[:, :-1]), atol=0.25)


def test_both_twins_have_the_same_weights(x64):
    hp = VAEHyperparameters(hidden_dims=(6,), latent_dim=Z, prior="normal")
    rows = RowSpec(3, (4,), (True, False, False, True), ("gaussian", "squared", "gaussian"))
    method = VAE(hp)
    weights = draw_weights(method, rows)
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(9, 3)), rng.integers(0, 4, (9, 1), dtype=np.int32)
    numbers[0, 0], codes[1] = np.nan, -1
    eps = rng.normal(size=(5, Z))
    ours = map_rows(method, "log_weights", weights, Batch(numbers, codes), rows, also=(eps,))
    twin = torch_ref.methods.VAE(**dataclasses.asdict(hp))
    network = twin.init(torch_ref.batch.RowSpec(*rows), torch.Generator()).double()
    torch_ref.weights.with_weights(network, weights)
    batch = torch_ref.batch.Batch(torch.from_numpy(numbers), torch.from_numpy(codes))
    theirs = network.log_weights(batch, torch.from_numpy(eps)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_what_has_no_density_at_hand_is_refused():
    run, _ = linear_gaussian()
    x = Batch(np.zeros((2, D), np.float32))
    diffusion = VAE(dataclasses.replace(run.method.hyperparameters, prior="diffusion"))
    with pytest.raises(InputError, match=r"prior of this run is diffusion.*--prior mixture"):
        log_likelihood(dataclasses.replace(run, method=diffusion), x)
    with pytest.raises(InputError, match="samples is 0"):
        log_likelihood(run, x, samples=0)
    other = Autoencoder(AutoencoderHyperparameters())
    with pytest.raises(InputError, match="autoencoder has no density; a VAE has"):
        log_likelihood(dataclasses.replace(run, method=other), x)
