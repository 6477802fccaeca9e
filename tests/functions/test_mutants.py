"""What no other test noticed when `bench/mutation` changed it, by formula and twin by twin.

Networks are stand-ins that answer with given arrays, so that a method is tested alone.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jaxrep.batch
import jaxrep.likelihoods
import jaxrep.networks
import jaxrep.row_coding
import jaxrep.views
import torch_ref.batch
import torch_ref.likelihoods
import torch_ref.methods
import torch_ref.networks
import torch_ref.row_coding
import torch_ref.views
from jaxrep import methods
from tests.helpers import oracles
from tests.helpers.twins import TWINS, twin_of

RNG = np.random.default_rng(0)
X, X_HAT = RNG.normal(size=(2, 5, 4))
MU, LOG_VAR = RNG.normal(size=(2, 5, 3))
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.0])


def make(twin: str, name: str, **hyperparameters):
    method = methods.make(methods.hyperparameters_of(name)(**hyperparameters))
    return method if twin == "jax" else twin_of(method)


def network_type(twin: str, name: str):
    return {"jax": methods, "torch": torch_ref.methods}[twin].get(name).network_type


def untrained(twin: str, name: str):
    if twin == "jax":
        return make(twin, name).init(jaxrep.batch.RowSpec(4), nnx.Rngs(0))
    return make(twin, name).init(torch_ref.batch.RowSpec(4), torch.Generator())


def array(twin: str, values: np.ndarray):
    return jnp.asarray(values) if twin == "jax" else torch.from_numpy(np.array(values))


def batch_of(twin: str, x: np.ndarray, weights: np.ndarray | None = None):
    kind = {"jax": jaxrep.batch.Batch, "torch": torch_ref.batch.Batch}[twin]
    return kind(array(twin, x), weights=None if weights is None else array(twin, weights))


def draw(twin: str, method, x: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    batch = batch_of(twin, x)
    if twin == "jax":
        draws = jaxrep.views.Draws(jax.random.key(seed), batch)
        noise = jaxrep.views.resolve(method.noise(draws, batch))
    else:
        generator = torch.Generator().manual_seed(seed)
        noise = method.noise(torch_ref.views.Draws(generator, batch), batch)
    return {name: np.asarray(drawn) for name, drawn in noise.items()}


HELPING = ("terms", "terms_apart", "observed")


def likelihood(twin: str):
    """That of rows of four numbers."""
    if twin == "jax":
        return jaxrep.likelihoods.RowLikelihood(jaxrep.batch.RowSpec(4))
    return torch_ref.likelihoods.RowLikelihood(torch_ref.batch.RowSpec(4))


def no_embeddings(twin: str):
    """Those of rows without codes, as a network of the twin holds them."""
    if twin == "jax":
        return jaxrep.networks.Embeddings(jaxrep.batch.RowSpec(4), rngs=nnx.Rngs(0))
    rows = torch_ref.batch.RowSpec(4)
    return torch_ref.networks.Embeddings(rows, generator=torch.Generator())


def decoder_of(twin: str, decode):
    """A stand-in that decodes by a function; JAX's gives the outputs of numbers apart, too."""
    if twin == "torch":
        return decode
    return Decoder(decode)


class Decoder:
    def __init__(self, decode):
        self.decode = decode

    def __call__(self, z):
        return self.decode(z)

    def apart(self, z):
        outputs = self.decode(z)
        return outputs, outputs[:, outputs.shape[1] :]  # there are no codes


def no_coding(twin: str):
    """What takes rows without spikes apart: it gives them back."""
    if twin == "jax":
        return jaxrep.row_coding.RowCoding(jaxrep.batch.RowSpec(0))
    return torch_ref.row_coding.RowCoding(torch_ref.batch.RowSpec(0))


def decoding(twin: str, decode, **functions):
    """A network that decodes by a function of its own."""
    decoder = decoder_of(twin, decode)
    network = SimpleNamespace(decoder=decoder, likelihood=likelihood(twin), **functions)
    network.embeddings, network.coding = no_embeddings(twin), no_coding(twin)
    for name in HELPING:
        function = getattr(network_type(twin, "autoencoder"), name)
        setattr(network, name, functools.partial(function, network))
    return network


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
@pytest.mark.parametrize("twin", TWINS)
def test_a_score_is_the_mean_squared_error_of_a_row(twin, name, x64):
    batch, x_hat = batch_of(twin, X), array(twin, X_HAT)

    def encoder(given, embeddings):
        assert given is batch
        return "mu"

    def encode(given):
        assert given is batch
        return "mu", "log_var"

    def decode(z):
        assert z == "mu"
        return x_hat

    decoder = decoder_of(twin, decode)
    network = SimpleNamespace(encoder=encoder, encode=encode, decoder=decoder)
    network.likelihood, network.embeddings = likelihood(twin), no_embeddings(twin)
    network.distance, network.coding = None, no_coding(twin)
    for output in ("embed", "decode", "reconstruct", "score", "score_by_column", "error", *HELPING):
        function = getattr(network_type(twin, name), output)
        setattr(network, output, functools.partial(function, network))
    expected = [oracles.mse_loss(X[i : i + 1], X_HAT[i : i + 1]) for i in range(len(X))]
    np.testing.assert_allclose(network.score(batch), expected, rtol=1e-12)
    by_column = network.score_by_column(batch)
    np.testing.assert_allclose(by_column, (X - X_HAT) ** 2, rtol=1e-12)
    np.testing.assert_array_equal(network.reconstruct(batch).numbers, X_HAT)


@pytest.mark.parametrize("twin", TWINS)
def test_the_metrics_of_the_vae_are_the_terms_of_its_loss(twin, x64):
    answer = tuple(array(twin, values) for values in (X_HAT, MU, LOG_VAR))
    batch, method = batch_of(twin, X, WEIGHTS), make(twin, "vae", beta=4.0)

    def sample(given, eps):
        assert given.numbers is batch.numbers and eps == "eps"
        return answer

    network = decoding(twin, lambda z: z, sample=sample)
    loss, metrics = method.loss(network, batch, {"eps": "eps"})
    reconstruction = 4 * oracles.mse_loss(X, X_HAT, weights=WEIGHTS)
    kl = oracles.gaussian_kl(MU, LOG_VAR, weights=WEIGHTS)
    assert float(metrics["reconstruction"]) == pytest.approx(reconstruction, rel=1e-12)
    assert float(metrics["kl"]) == pytest.approx(kl, rel=1e-12)
    assert float(loss) == pytest.approx(reconstruction + 4.0 * kl, rel=1e-12)


QUARTERS = SimpleNamespace(project=lambda batch: batch.numbers / 4)


@pytest.mark.parametrize("twin", TWINS)
def test_the_loss_of_simclr_compares_two_corrupted_views_that_pass_as_one_batch(twin, x64):
    normal = RNG.normal(size=(2, *X.shape))
    keep = RNG.uniform(size=normal.shape) < 0.7
    views = np.where(keep, X + 0.25 * normal, 0)
    noise = {"normal": array(twin, normal), "keep": array(twin, keep)}
    method = make(twin, "simclr", temperature=0.5, noise_std=0.25)
    found, _ = method.loss(QUARTERS, batch_of(twin, X, WEIGHTS), noise)
    expected = oracles.nt_xent_loss(*(views / 4), temperature=0.5, weights=WEIGHTS)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("twin", TWINS)
def test_without_noise_the_views_of_simclr_are_two_all_the_same(twin, x64):
    method = make(twin, "simclr", temperature=0.5, noise_std=0.0, drop_rate=0.0)
    found, _ = method.loss(QUARTERS, batch_of(twin, X, WEIGHTS), {})
    expected = oracles.nt_xent_loss(X / 4, X / 4, temperature=0.5, weights=WEIGHTS)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["normal", "keep"])
@pytest.mark.parametrize("twin", TWINS)
def test_the_loss_of_an_autoencoder_corrupts_by_the_views_whose_rates_are_not_0(twin, name, x64):
    drawn = {"normal": RNG.normal(size=X.shape), "keep": RNG.uniform(size=X.shape) < 0.7}[name]
    corrupted = X + 0.25 * drawn if name == "normal" else np.where(drawn, X, 0)
    rates = {"normal": {"noise_std": 0.25}, "keep": {"drop_rate": 0.3}}[name]
    method = make(twin, "autoencoder", **rates)
    twice = decoding(twin, lambda z: 2 * z, embed=lambda batch: batch.numbers)
    noise = {name: array(twin, drawn)}
    found, _ = method.loss(twice, batch_of(twin, X, WEIGHTS), noise)
    expected = oracles.mse_loss(X, 2 * corrupted, weights=WEIGHTS)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def statistics(twin, h):
    return untrained(twin, "simclr").fit_statistics(batch_of(twin, h), lambda *_: h)


@pytest.mark.parametrize("twin", TWINS)
def test_the_statistics_of_simclr_are_the_mean_and_the_inverse_root_of_the_covariance(twin):
    h = np.maximum(RNG.normal(size=(50, 4)), 0) * [1, 2, 3, 0] + [0, 1, 0, 0]
    found = statistics(twin, h.astype(np.float32))
    h = h.astype(np.float32).astype(np.float64)
    covariance = np.cov(h, rowvar=False, bias=True)
    ridge = 1e-3 * np.trace(covariance) / 4 + 1e-6
    whitening = found["distance.whitening"].astype(np.float64)
    assert found["distance.mean"].dtype == found["distance.whitening"].dtype == np.float32
    np.testing.assert_allclose(found["distance.mean"], h.mean(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(whitening, whitening.T, rtol=1e-6, atol=1e-9)
    inverse = np.linalg.inv(covariance + ridge * np.eye(4))
    np.testing.assert_allclose(whitening @ whitening, inverse, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("twin", TWINS)
def test_the_statistics_of_simclr_are_computed_in_float64(twin):
    # Far from 0 the rounding of the mean counts, unless it is taken from both factors.
    h = (1e6 * np.arange(1, 4) + RNG.normal(size=(400, 3))).astype(np.float32)
    found = statistics(twin, h)
    covariance = np.cov(h.astype(np.float64), rowvar=False, bias=True)
    raised = covariance + (1e-3 * np.trace(covariance) / 3 + 1e-6) * np.eye(3)
    whitening = found["distance.whitening"].astype(np.float64)
    np.testing.assert_allclose(whitening @ raised @ whitening, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("twin", TWINS)
def test_a_silent_backbone_has_finite_statistics(twin):
    h = np.zeros((20, 3), np.float32)
    whitening = statistics(twin, h)["distance.whitening"]
    np.testing.assert_allclose(whitening, 1e3 * np.eye(3), rtol=1e-6)


@pytest.mark.parametrize("name", ["autoencoder", "simclr"])
@pytest.mark.parametrize("twin", TWINS)
def test_noise_is_drawn_where_its_rate_is_not_zero_and_with_that_rate(twin, name):
    x = np.ones((1000, 50), np.float32)
    for rates, names in (
        ({"noise_std": 0.0, "drop_rate": 0.0}, set()),
        ({"noise_std": 0.1, "drop_rate": 0.0}, {"normal"}),
        ({"noise_std": 0.0, "drop_rate": 0.3}, {"keep"}),
        ({"noise_std": 2.0, "drop_rate": 0.3}, {"normal", "keep"}),
    ):
        noise = draw(twin, make(twin, name, **rates), x)
        assert set(noise) == names
        assert all(drawn.shape[-2:] == x.shape for drawn in noise.values())
        if "keep" in noise:
            within = 4 * (0.21 / noise["keep"].size) ** 0.5
            assert noise["keep"].mean() == pytest.approx(0.7, abs=within)
        if "normal" in noise:  # of standard deviation 1, whatever noise_std is
            assert noise["normal"].std() == pytest.approx(1.0, abs=0.02)


def test_the_torch_twin_keeps_exactly_the_share_of_uniform_numbers_from_the_rate_on(monkeypatch):
    # Of the uniform numbers below 1, the share of those at or above 0.5 is exactly 0.5.
    uniform = torch.tensor([[0.5 - 2.0**-24, 0.5, 0.5 + 2.0**-24]])
    monkeypatch.setattr(torch, "rand", lambda shape, generator: uniform)
    noise = draw("torch", make("torch", "autoencoder", drop_rate=0.5), np.ones((1, 3), np.float32))
    assert noise["keep"].tolist() == [[False, True, True]]


@pytest.mark.parametrize("twin", TWINS)
def test_the_two_views_have_noise_of_their_own(twin):
    for name, drawn in draw(twin, make(twin, "simclr"), np.ones((6, 5), np.float32)).items():
        assert len(drawn) == 2
        assert not np.array_equal(drawn[0], drawn[1]), name


@pytest.mark.parametrize("twin", TWINS)
def test_a_vae_draws_a_normal_number_for_every_latent_of_every_row(twin):
    method = make(twin, "vae", latent_dim=3)
    eps = draw(twin, method, np.ones((5000, 4), np.float32))["eps"]
    assert eps.shape == (5000, 3)
    assert eps.mean() == pytest.approx(0.0, abs=4 / eps.size**0.5)
    assert eps.std() == pytest.approx(1.0, abs=4 / (2 * eps.size) ** 0.5)
    one, other = (draw(twin, method, np.ones((2, 4), np.float32), seed)["eps"] for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("twin", TWINS)
def test_simclr_embeds_with_the_backbone_and_scores_the_embedding(twin):
    network = SimpleNamespace(backbone=lambda batch, embeddings: ("h", batch.numbers))
    kind, network.embeddings = network_type(twin, "simclr"), no_embeddings(twin)
    network.embed, network.distance = functools.partial(kind.embed, network), lambda h: (h, 2)
    batch = batch_of(twin, X)
    assert network.embed(batch) == ("h", batch.numbers)
    assert kind.score(network, batch) == (("h", batch.numbers), 2)


@pytest.mark.parametrize("twin", TWINS)
def test_methods_without_statistics_do_not_embed_for_them(twin):
    def embed(*_):
        raise AssertionError("embedded")

    for name in ("autoencoder", "vae"):
        assert untrained(twin, name).fit_statistics(batch_of(twin, X), embed) == {}


@pytest.mark.parametrize("twin", [methods, torch_ref.methods])
def test_a_method_without_one_of_its_functions_cannot_be_made(twin):
    assert twin.Method.__abstractmethods__ == {"init", "noise", "loss"}
