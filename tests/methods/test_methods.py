"""What the methods promise beyond their losses: noise as data, corruption, optimisers."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import torch_ref.batch
import torch_ref.methods
import torch_ref.views
import torch_ref.weights
from jaxrep import losses, methods, optim
from jaxrep.batch import Batch, RowSpec
from jaxrep.networks import get_weights
from jaxrep.views import Draws, resolve
from tests.helpers import oracles
from tests.helpers.small import of_seed
from tests.helpers.twins import TWINS, twin_of

SMALL = {"hidden_dims": (6,), "latent_dim": 3}
X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def make(name: str, **settings):
    return methods.make(methods.hyperparameters_of(name)(**of_seed(name) | SMALL | settings))


def draw_noise(method, x):
    return resolve(method.noise(Draws(jax.random.key(0), Batch(x)), Batch(x)))


def test_a_denoising_autoencoder_corrupts_its_input_and_not_its_target():
    method = make("autoencoder", noise_std=0.5, drop_rate=0.3)
    network = method.init(RowSpec(5), nnx.Rngs(0))
    x = jnp.asarray(X)
    noise = draw_noise(method, x)
    loss, _ = method.loss(network, Batch(x, weights=jnp.ones(len(x))), noise)
    corrupted = jnp.where(noise["keep"], x + 0.5 * noise["normal"], 0)
    x_hat = network.reconstruct(Batch(corrupted)).numbers
    assert float(loss) == pytest.approx(float(jnp.mean((x - x_hat) ** 2)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("vae", ()),
        ("autoencoder", ("noise", "dropout")),
        ("simclr", ("noise", "dropout")),
        ("simclr", ("scarf", "noise")),
        ("simclr", ("swap",)),
    ],
)
def test_noise_made_of_the_bits_that_training_keeps_is_the_noise_that_is_drawn(name, views):
    rates = {} if name == "vae" else {"views": views, "noise_std": 0.3 if "noise" in views else 0.0}
    method, x = make(name, **rates), jnp.asarray(X)
    kept = jax.jit(lambda key: method.noise(Draws(key, Batch(x)), Batch(x)))(jax.random.key(0))
    drawn, made = draw_noise(method, x), resolve(kept)
    assert drawn.keys() == made.keys()
    assert all(np.array_equal(drawn[each], made[each]) for each in drawn)
    bits = [leaf for leaf in jax.tree.leaves(kept) if leaf.dtype == jnp.int32]
    assert len(bits) == ("normal" in drawn)  # once, of whatever arrays come of them


def test_drop_rate_is_the_share_of_features_dropped():
    method = make("simclr", drop_rate=0.3)
    x = jnp.ones((1000, 50))
    keep = draw_noise(method, x)["keep"]
    assert float(keep.mean()) == pytest.approx(0.7, abs=4 * (0.21 / keep.size) ** 0.5)


def test_the_two_views_of_simclr_have_noise_of_their_own():
    x = jnp.ones((6, 5))
    noise = draw_noise(make("simclr"), x)
    for name in ("normal", "keep"):
        assert not jnp.array_equal(noise[name][0], noise[name][1]), name


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_method_steps_with_the_optimiser_that_its_hyperparameters_name(name, x64):
    settings = {"optimizer": name, "weight_decay": 0.5, "learning_rate": 0.1}
    params = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    params.grad = torch.tensor([-0.3], dtype=torch.float64)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    kind([params], lr=0.1, weight_decay=0.5).step()
    optimizer, start = make("vae", **settings).optimizer(), jnp.array([2.0])
    update, _ = optimizer.update(jnp.array([-0.3]), optimizer.init(start), start)
    assert float(start[0] + update[0]) == pytest.approx(params.item(), rel=1e-12)
    twin = torch_ref.methods.VAE(**dataclasses.asdict(make("vae", **settings).hyperparameters))
    assert type(twin.optimizer()([("params", params)])) is kind


@pytest.mark.parametrize("microbatch", [0, 5])
def test_a_clean_anchor_leaves_the_first_view_as_it_is_and_corrupts_the_second(microbatch):
    method = make("simclr", clean_anchor=True, noise_std=0.5, drop_rate=0.3, microbatch=microbatch)
    network = method.init(RowSpec(5), nnx.Rngs(0))
    x = jnp.asarray(X)
    noise = draw_noise(method, x)
    assert {name: array.shape for name, array in noise.items()} == dict.fromkeys(
        ("keep", "normal"), (1, *X.shape)
    )
    corrupted = jnp.where(noise["keep"][0], x + 0.5 * noise["normal"][0], 0)
    z1, z2 = network.project(Batch(x)), network.project(Batch(corrupted))
    expected = losses.nt_xent_loss(z1, z2, temperature=method.hyperparameters.temperature)
    found, _ = method.loss(network, Batch(x, weights=jnp.ones(len(x))), noise)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_vae_embeds_its_mean_whatever_the_noise():
    network = make("vae").init(RowSpec(5), nnx.Rngs(0))
    batch = Batch(jnp.asarray(X))
    mu, _ = network.encode(batch)
    assert jnp.array_equal(network.embed(batch), mu)


def test_a_method_is_a_tree_whose_leaves_are_the_numbers_it_computes_with():
    method = make("simclr", weight_decay=0.0)
    leaves = {key[0].name: leaf for key, leaf in jax.tree.leaves_with_path(method)}
    assert leaves == {
        "learning_rate": 1e-3,
        "other_rate": 0.01,
        "temperature": 0.5,
        "noise_std": 0.1,
        "drop_rate": 0.1,
    }
    same = make("simclr", weight_decay=0.0, temperature=0.1, epochs=7, seed=3)
    assert jax.tree.structure(method) == jax.tree.structure(same)
    assert jax.tree.structure(method) != jax.tree.structure(make("simclr", latent_dim=4))


def two_views(twin, **settings):
    """The views of X that a network is given in SimCLR's loss, the noise, and the loss."""
    method, given = make("simclr", noise_std=0.5, drop_rate=0.3, **settings), []
    if twin == "jax":
        batch = Batch(jnp.asarray(X))
        noise = resolve(method.noise(Draws(jax.random.key(0), batch), batch))
    else:
        method, batch = twin_of(method), torch_ref.batch.Batch(torch.from_numpy(X))
        draws = torch_ref.views.Draws(torch.Generator().manual_seed(0), batch)
        noise = method.noise(draws, batch)

    def project(rows):
        given.append(np.asarray(rows.numbers).reshape(2, *X.shape))
        return rows.numbers / 4

    loss, _ = method.loss(SimpleNamespace(project=project), batch, noise)
    return given[0], {name: np.asarray(array) for name, array in noise.items()}, float(loss)


@pytest.mark.parametrize("twin", TWINS)
def test_with_a_clean_anchor_simclr_corrupts_the_second_view_alone(twin):
    (first, second), noise, loss = two_views(twin, clean_anchor=True)
    assert {name: array.shape for name, array in noise.items()} == {
        "normal": (1, *X.shape),
        "keep": (1, *X.shape),
    }
    corrupted = np.where(noise["keep"][0], X + 0.5 * noise["normal"][0], 0)
    np.testing.assert_array_equal(first, X)
    np.testing.assert_allclose(second, corrupted, rtol=1e-6, atol=1e-6)
    assert not np.allclose(second, X)
    expected = oracles.nt_xent_loss(X / 4, corrupted / 4, temperature=0.5)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("twin", TWINS)
def test_without_one_both_views_are_corrupted(twin):
    views, noise, _ = two_views(twin)
    corrupted = np.where(noise["keep"], X + 0.5 * noise["normal"], 0)
    np.testing.assert_allclose(views, corrupted, rtol=1e-6, atol=1e-6)
    assert not any(np.allclose(view, X) for view in views)


class TwoRates(methods.get("autoencoder")):
    """An autoencoder whose encoder learns at a tenth of the rate."""

    def learning_rates(self):
        return two_rates(self)


class TorchTwoRates(torch_ref.methods.get("autoencoder")):
    def learning_rates(self):
        return two_rates(self)


def two_rates(method):
    rate = method.hyperparameters.learning_rate
    return {"encoder": 0.1 * rate, "decoder": rate}


def steps_of_two_rates(twin, method, params, gradients):
    """Parameters by name after a step for each gradient, in float64."""
    steps = len(gradients)
    if twin == "jax":
        optimizer = TwoRates(method.hyperparameters).optimizer(steps)
        state = optimizer.init(params)
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params
    theirs = TorchTwoRates(**dataclasses.asdict(method.hyperparameters))
    network = theirs.init(RowSpec(5), torch.Generator()).double()
    torch_ref.weights.with_weights(network, params)
    optimizer = theirs.optimizer(steps)(network.named_parameters())
    for gradient in gradients:
        for name, parameter in network.named_parameters():
            kernel = name.endswith("weight")
            own = torch.from_numpy(gradient[torch_ref.weights.flat_name(name)])
            parameter.grad = (own.T if kernel else own).clone()
        optimizer.step()
    return torch_ref.weights.get_weights(network)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("twin", TWINS)
def test_parts_share_clipping_schedule_and_decay_and_have_rates_of_their_own(twin, name, x64):
    steps, clip, rate, decay = 6, 0.7, 0.1, 0.2
    settings = {"optimizer": name, "learning_rate": rate, "weight_decay": decay}
    method = make("autoencoder", schedule="cosine", clip_norm=clip, **settings)
    shapes = {
        key: array.shape for key, array in get_weights(method.init(RowSpec(5), nnx.Rngs(0))).items()
    }
    rng = np.random.default_rng(0)
    params = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    # The encoder's gradients are small: clipped by their own norm, they would stay as they are.
    sizes = {key: 0.01 if key.startswith("encoder") else 1.0 for key in shapes}
    gradients = [
        {key: sizes[key] * rng.normal(size=shape) for key, shape in shapes.items()}
        for _ in range(steps)
    ]
    gradients[3] = {key: 0.01 * array for key, array in gradients[3].items()}  # not clipped
    norms = [np.sqrt(sum((g**2).sum() for g in each.values())) for each in gradients]
    cosine = [0.5 * (1 + np.cos(np.pi * t / steps)) for t in range(steps)]
    found = steps_of_two_rates(twin, method, params, gradients)
    for key, start in params.items():
        own = rate * (0.1 if key.startswith("encoder") else 1.0)
        expected = oracles.adam_steps(
            start,
            [g[key] * min(1, clip / norm) for g, norm in zip(gradients, norms, strict=True)],
            learning_rate=[own * factor for factor in cosine],
            weight_decay=decay,
            decoupled=name == "adamw",
        )
        np.testing.assert_allclose(found[key], expected, rtol=1e-10, atol=1e-12, err_msg=key)


def test_a_method_of_one_rate_keeps_the_optimiser_of_one_rate():
    params = {"encoder.0.kernel": jnp.ones((2, 2))}
    found = make("vae").optimizer().init(params)
    alone = optim.adam(learning_rate=1e-3, weight_decay=0.0).init(params)
    assert jax.tree.structure(found[1]) == jax.tree.structure(alone)
