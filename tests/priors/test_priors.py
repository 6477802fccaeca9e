"""Priors: latents as a function of normal draws, their density, and what they are fitted to."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch

import jaxrep.priors
import torch_ref.priors
from jaxrep.networks import with_weights
from jaxrep.priors import _diffusion, _mixture
from jaxrep.priors._gaussians import fit_gaussians
from jaxrep.priors._mixture import sample_posteriors

pytestmark = pytest.mark.quick

Z = 3


def apart(rows=2000, seed=0):
    """Means and log σ² of posteriors in two clouds, a third of them around (4, 4, 4)."""
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(rows, Z)) * [1.0, 0.5, 0.2] + 4 * (np.arange(rows) % 3 == 0)[:, None]
    return mu, np.full((rows, Z), np.log(0.01))


def fitted(seed=0):
    return jaxrep.priors.MixturePrior(Z).fit(*apart(seed=seed))


def ours_with(arrays, dtype=np.float64):
    arrays = {name: np.asarray(array, dtype) for name, array in arrays.items()}
    return with_weights(jaxrep.priors.MixturePrior(Z), arrays)


def theirs_with(arrays, dtype=torch.float64):
    prior = torch_ref.priors.MixturePrior(Z)
    for name, array in arrays.items():
        setattr(prior, name, torch.from_numpy(np.asarray(array)).to(dtype))
    return prior


def as_mixture(arrays):
    """Shares, means and covariances, from what is kept of them."""
    shares = np.diff(scipy.stats.norm.cdf(arrays["ends"][:, 0].astype(np.float64)), prepend=0)
    factors = arrays["factors"].astype(np.float64).reshape(-1, Z, Z)
    return shares, arrays["means"].astype(np.float64), factors @ factors.swapaxes(1, 2)


def test_a_mixture_has_the_shares_means_and_covariances_of_what_it_is_fitted_to():
    z = sample_posteriors(*apart(), 50_000)
    shares, means, covariances = as_mixture(fitted())
    mean = shares @ means
    spread = means - mean
    whole = np.einsum("k,kij->ij", shares, covariances) + (spread.T * shares) @ spread
    assert shares.sum() == pytest.approx(1, abs=1e-6) and len(shares) == 20
    # Each step of expectation maximisation keeps the mean. Drawing covariances to each other does
    # not keep their sum, but nearly; without it the sum is exact (test_gaussians.py).
    np.testing.assert_allclose(mean, z.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole, np.cov(z.T, bias=True), rtol=0.01, atol=0.01)
    # The clouds lie four deviations from where they are cut: a sample in 30,000 is beyond.
    assert shares[means[:, 1] > 2].sum() == pytest.approx((z[:, 1] > 2).mean(), abs=3e-4)


@pytest.mark.parametrize(("rows", "components"), [(5, 1), (250, 2), (30_000, 300)])
def test_a_mixture_has_a_component_for_every_100_rows_300_at_most(rows, components):
    mu, log_var = apart(rows)
    found = jaxrep.priors.MixturePrior(Z).fit(mu, log_var)
    assert {name: array.shape for name, array in found.items()} == {
        "ends": (components, 1),
        "means": (components, Z),
        "factors": (components, Z * Z),
    }
    assert all(array.dtype == np.float32 for array in found.values())


@pytest.mark.parametrize(("rows", "shrinkage"), [(1000, 1000), (32_768, 80), (200_000, 40)])
def test_covariances_are_drawn_to_each_other_as_by_40_rows(rows, shrinkage, monkeypatch):
    asked = []

    def watch(z, means, **settings):
        asked.append(settings["shrinkage"])
        return fit_gaussians(z[:100], means[:1], **settings)

    monkeypatch.setattr(_mixture, "fit_gaussians", watch)
    jaxrep.priors.MixturePrior(Z).fit(*apart(rows))
    assert asked == [shrinkage]


def test_posteriors_are_sampled_with_their_own_means_and_spreads():
    mu, log_var = np.array([[-3.0, 0.0, 5.0], [7.0, 1.0, 2.0]]), np.log([[4.0, 1, 1], [0.25, 9, 1]])
    found = sample_posteriors(mu, log_var, 20_000).reshape(2, 10_000, Z)
    error = np.exp(0.5 * log_var) / 100  # of the mean of 10,000
    assert (np.abs(found.mean(axis=1) - mu) < 4 * error).all()
    np.testing.assert_allclose(found.var(axis=1), np.exp(log_var), rtol=4 * (2 / 10_000) ** 0.5)


def test_draws_become_latents_of_the_mixture(x64):
    arrays = fitted()
    draws = np.random.default_rng(1).normal(size=(200_000, 1 + Z))
    z = np.asarray(ours_with(arrays)(jnp.asarray(draws)))
    shares, means, covariances = as_mixture(arrays)
    mean = shares @ means
    whole = np.einsum("k,kij->ij", shares, covariances) + ((means - mean).T * shares) @ (
        means - mean
    )
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(z.T), whole, rtol=0.02, atol=0.02)


def test_the_first_draw_picks_the_gaussian_and_the_others_the_place_in_it(x64):
    arrays = {
        "ends": np.array([[0.0], [40.0]]),
        "means": np.array([[1.0, 0, 0], [0, 0, -9.0]]),
        "factors": np.array([np.eye(Z).ravel(), 2 * np.eye(Z).ravel()]),
    }
    draws = jnp.array([[-1e-9, 0, 0, 1.0], [0.0, 0, 0, 1.0], [50.0, 0, 0, 1.0]])
    found = ours_with(arrays)(draws)
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 0, -7], [0, 0, -7]])


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_before_it_is_fitted_a_prior_is_standard_normal(prior, x64):
    made = jaxrep.priors.make_prior(prior, Z)
    draws = np.random.default_rng(0).normal(size=(7, made.draws))
    np.testing.assert_array_equal(made(jnp.asarray(draws)), draws[:, -Z:].astype(np.float64))
    z = np.random.default_rng(1).normal(size=(7, Z))
    expected = scipy.stats.multivariate_normal(np.zeros(Z)).logpdf(z)
    np.testing.assert_allclose(made.log_density(jnp.asarray(z)), expected, rtol=1e-12)


def test_the_density_of_a_mixture_is_that_of_its_gaussians(x64):
    arrays = fitted()
    z = np.random.default_rng(2).normal(size=(50, Z)) * 3
    shares, means, covariances = as_mixture(arrays)
    of_each = [
        np.log(share) + scipy.stats.multivariate_normal(mean, covariance).logpdf(z)
        for share, mean, covariance in zip(shares, means, covariances, strict=True)
    ]
    expected = scipy.special.logsumexp(of_each, axis=0)
    np.testing.assert_allclose(ours_with(arrays).log_density(jnp.asarray(z)), expected, rtol=1e-8)
    theirs = theirs_with(arrays).log_density(torch.from_numpy(z))
    np.testing.assert_allclose(theirs, expected, rtol=1e-8)


def test_both_twins_make_the_same_latents_of_the_same_draws(x64):
    arrays = fitted()
    draws = np.random.default_rng(3).normal(size=(500, 1 + Z))
    ours = np.asarray(ours_with(arrays)(jnp.asarray(draws)))
    theirs = theirs_with(arrays)(torch.from_numpy(draws)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


def some_layers(rng, dtype=np.float64):
    """Weights of a diffusion of Z latents by their names, and as its functions take them."""
    dims = [(Z + 64, 512), (512, 512), (512, 512), (512, Z)]
    weights = {}
    for i, size in enumerate(dims):
        weights[f"kernel{i}"] = (rng.normal(size=size) * size[0] ** -0.5).astype(dtype)
        weights[f"bias{i}"] = rng.normal(size=size[1]).astype(dtype)
    return weights, [(weights[f"kernel{i}"], weights[f"bias{i}"]) for i in range(4)]


def test_the_velocity_of_gaussian_latents_carries_noise_to_them(x64, monkeypatch):
    scale = np.array([0.3, 1.0, 1.5])
    draws = np.random.default_rng(4).normal(size=(400, Z))

    def exact(layers, y, angle):
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        variance = cos**2 * scale[None, :] ** 2 + sin**2  # of y
        return sin * cos * (1 - scale[None, :] ** 2) / variance * y

    monkeypatch.setattr(_diffusion, "velocity", exact)
    found = jaxrep.priors.DiffusionPrior(Z)(jnp.asarray(draws))
    np.testing.assert_allclose(found, scale * draws, rtol=0.02, atol=3e-3)


def test_both_twins_have_the_same_velocity_loss_and_latents(x64):
    rng = np.random.default_rng(5)
    weights, layers = some_layers(rng)
    weights |= {"mean": rng.normal(size=Z), "scale": rng.uniform(0.5, 2, Z)}
    theirs = torch_ref.priors.DiffusionPrior(Z)
    for name, array in weights.items():
        setattr(theirs, name, torch.from_numpy(array))
    z, noise, angle = rng.normal(size=(9, Z)), rng.normal(size=(9, Z)), rng.uniform(0, 1.5, (9, 1))
    given = [torch.from_numpy(array) for array in (z, angle, noise)]
    loss = jaxrep.priors.velocity_loss(layers, *map(jnp.asarray, (z, angle, noise)))
    assert float(loss) == pytest.approx(float(theirs.loss(*given)), rel=1e-12)
    ours = with_weights(jaxrep.priors.DiffusionPrior(Z), weights)
    np.testing.assert_allclose(ours(jnp.asarray(noise)), theirs(given[2]), rtol=1e-9, atol=1e-9)


def test_the_loss_is_least_at_the_mean_velocity_of_all_that_may_have_been_mixed():
    # Of latents that are all alike the noise is known from the mixture, and so is the velocity.
    def loss_of(velocity):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_diffusion, "velocity", velocity)
            return float(jaxrep.priors.velocity_loss([], z, angle, noise))

    rng = np.random.default_rng(6)
    z, angle = jnp.full((50, Z), 2.0), jnp.asarray(rng.uniform(0.3, 1.2, (50, 1)), jnp.float32)
    noise = jnp.asarray(rng.normal(size=(50, Z)), jnp.float32)

    def known(layers, y, angle):
        eps = (y - jnp.cos(angle) * z) / jnp.sin(angle)
        return jnp.cos(angle) * eps - jnp.sin(angle) * z

    assert loss_of(known) == pytest.approx(0, abs=1e-9)
    assert loss_of(lambda *given: known(*given) + 0.1) == pytest.approx(0.01, rel=1e-3)


def test_a_diffusion_learns_latents_that_no_gaussian_has(monkeypatch):
    monkeypatch.setattr(_diffusion, "_FEWEST", 1000)
    rng = np.random.default_rng(7)
    turn = rng.uniform(0, 2 * np.pi, 1500)
    mu = np.stack([3 * np.cos(turn), 3 * np.sin(turn) + 1], axis=1)  # a ring
    prior = jaxrep.priors.DiffusionPrior(2)
    arrays = prior.fit(mu, np.full(mu.shape, np.log(0.01)))
    made = with_weights(prior, arrays)(jnp.asarray(rng.normal(size=(2000, 2)), jnp.float32))
    radius = np.hypot(made[:, 0], made[:, 1] - 1)
    assert np.abs(radius - 3).mean() < 0.35
    turns = np.arctan2(made[:, 1] - 1, made[:, 0])
    assert scipy.stats.kstest((turns + np.pi) / (2 * np.pi), "uniform").statistic < 0.08


def test_a_diffusion_has_no_density_at_hand():
    assert not isinstance(jaxrep.priors.DiffusionPrior(Z), jaxrep.priors.DensityPrior)
    assert isinstance(jaxrep.priors.MixturePrior(Z), jaxrep.priors.DensityPrior)
