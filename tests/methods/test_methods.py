"""What the methods promise beyond their losses: noise as data, no dead knobs, use when trained."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torch_ref.hyperparameters
import torch_ref.methods
import torch_ref.weights
from jaxrep.hyperparameters import (
    BY_METHOD,
    SCHEDULE,
    AutoencoderHyperparameters,
    SimCLRHyperparameters,
    VAEHyperparameters,
    check,
)
from jaxrep.methods import METHODS, SimCLR
from jaxrep.models import get_weights, with_weights
from jaxrep.training import fit
from jaxrep.training.program import abstract_state
from tests.helpers import small

SMALL = {"hidden_dims": (6,), "latent_dim": 3}
X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def make(name: str, **hyperparameters):
    return METHODS[name](BY_METHOD[name](**SMALL | hyperparameters))


# For every hyperparameter of every method another value than its default, and what else it takes
# to see the difference: weight decay shows once weights have moved, its kind only with it.
OTHER_VALUES = {
    "hidden_dims": (4, 4),
    "latent_dim": 2,
    "epochs": 3,
    "batch_size": 6,
    "learning_rate": 3e-3,
    "optimizer": "adamw",
    "precision": "bfloat16",
    "weight_decay": 0.3,
    "validation_fraction": 0.25,
    "seed": 1,
    "split_seed": 1,
    "noise_std": 0.7,
    "drop_rate": 0.6,
    "views": ("swap",),
    "corruption_rate": 0.2,
    "swap_rate": 0.7,
    "beta": 4.0,
    "temperature": 0.2,
    "proj_dim": 7,
    "microbatch": 4,
}
# The rates of views that are not taken by default count where they are.
WITH = {"corruption_rate": {"views": ("scarf",)}, "swap_rate": {"views": ("swap",)}}
KNOBS = [
    (method, field.name)
    for method, kind in BY_METHOD.items()
    for field in dataclasses.fields(kind)
    # A microbatch changes no parameter, but memory: tests/functions/test_nt_xent.py.
    if field.name not in (*SCHEDULE, "microbatch")
]


# Each of these takes a program of its own. They mean the same for every method that has them, so
# that one stands for the others: the VAE for the engine's, SimCLR for those of views.
ONE_FOR_ALL = dict.fromkeys(("optimizer", "precision"), "vae") | dict.fromkeys(
    ("views", "drop_rate", "corruption_rate", "swap_rate"), "simclr"
)


@functools.cache
def trained(method):
    return fit(method, small.X).weights


def shapes(method):
    return {
        name: array.shape for name, array in abstract_state(method, small.FEATURES).params.items()
    }


@pytest.mark.parametrize(
    ("method", "knob"),
    [
        pytest.param(
            method, knob, marks=[pytest.mark.slow] * (ONE_FOR_ALL.get(knob, method) != method)
        )
        for method, knob in KNOBS
    ],
)
def test_every_hyperparameter_changes_the_shapes_or_the_numbers_of_what_is_trained(method, knob):
    settings = {"epochs": 1, "weight_decay": 0.1} | WITH.get(knob, {})
    one = small.make(method, **settings)
    other = small.make(method, **settings | {knob: OTHER_VALUES[knob]})
    if shapes(one) == shapes(other):
        weights = trained(one), trained(other)
        assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])


@pytest.mark.quick
@pytest.mark.parametrize("method", list(BY_METHOD))
def test_check_knows_a_range_for_every_hyperparameter(method):
    impossible = {"hidden_dims": (0,), "optimizer": "sgd", "precision": "double"}
    for field in dataclasses.fields(BY_METHOD[method]):
        plain = BY_METHOD[method](**WITH.get(field.name, {}))
        check(dataclasses.replace(plain, **{field.name: OTHER_VALUES[field.name]}))
        for value in (impossible.get(field.name, -1), float("nan"), "1", None):
            wrong = dataclasses.replace(plain, **{field.name: value})
            with pytest.raises(ValueError, match=f"^{field.name} is "):
                check(wrong)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("drop_rate", 1.0),
        ("latent_dim", 0),
        ("latent_dim", 2.5),
        ("epochs", True),
        ("seed", 2**32),
        ("split_seed", 2**32),
        ("hidden_dims", (1 << 21,)),
        ("hidden_dims", (8,) * 65),
    ],
)
def test_check_refuses_values_at_the_edge(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
        check(SimCLRHyperparameters(**{name: value}))


@pytest.mark.quick
@pytest.mark.parametrize("method", list(BY_METHOD))
def test_embeddings_and_scores_of_the_twins_agree_in_float64(method, x64):
    ours = make(method)
    model = ours.init_model(5, nnx.Rngs(0))
    weights = {k: v.astype("float64") for k, v in get_weights(model).items()}
    model = with_weights(model, weights)
    kind = torch_ref.hyperparameters.BY_METHOD[method]
    theirs = torch_ref.methods.METHODS[method](kind(**SMALL))
    twin = theirs.init_model(5, torch.Generator()).double()
    torch_ref.weights.with_weights(twin, {k: np.asarray(v) for k, v in weights.items()})
    x = X.astype(np.float64)
    for function in ("embed", "score", "reconstruct", "decode"):
        assert hasattr(ours, function) == hasattr(theirs, function)
        if not hasattr(ours, function):
            continue
        rows = x[:, :3] if function == "decode" else x
        with torch.no_grad():
            expected = getattr(theirs, function)(twin, torch.from_numpy(rows)).numpy()
        found = getattr(ours, function)(model, jnp.asarray(rows))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_simclr_statistics_of_the_twins_agree():
    h = np.maximum(np.random.default_rng(1).normal(size=(50, 4)), 0) * [1, 2, 3, 0]
    ours = SimCLR(SimCLRHyperparameters()).score_statistics(lambda: h.astype(np.float32))
    twin = torch_ref.methods.SimCLR(torch_ref.hyperparameters.SimCLRHyperparameters())
    theirs = twin.score_statistics(lambda: h.astype(np.float32))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_a_dead_simclr_backbone_gives_moderate_scores():
    method = SimCLR(SimCLRHyperparameters(latent_dim=3))
    statistics = method.score_statistics(lambda: np.zeros((20, 3), np.float32))
    assert np.abs(statistics["h_whitening"]).max() <= 1e3 * (1 + 1e-6)


def test_simclr_scores_training_rows_one_on_average_and_far_rows_higher():
    method = make("simclr")
    model = method.init_model(5, nnx.Rngs(0))
    rows = jnp.asarray(np.random.default_rng(2).normal(size=(500, 5)), jnp.float32)
    statistics = method.score_statistics(lambda: np.asarray(method.embed(model, rows)))
    model = with_weights(model, {k: jnp.asarray(v) for k, v in statistics.items()})
    scores = method.score(model, rows)
    assert float(scores.mean()) == pytest.approx(1.0, rel=0.05)
    assert float(method.score(model, 20 * rows).mean()) > 10


def test_a_denoising_autoencoder_corrupts_its_input_and_not_its_target():
    method = make("autoencoder", noise_std=0.5, drop_rate=0.3)
    model = method.init_model(5, nnx.Rngs(0))
    x = jnp.asarray(X)
    noise = method.draw_noise(jax.random.key(0), x, x)
    loss, _ = method.loss(model, x, noise, jnp.ones(len(x)))
    corrupted = jnp.where(noise["keep"], x + 0.5 * noise["normal"], 0)
    assert float(loss) == pytest.approx(float(jnp.mean((x - model(corrupted)[0]) ** 2)), rel=1e-6)


@pytest.mark.parametrize("views", [("noise", "dropout"), ("scarf", "noise"), ("swap",)], ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_the_noise_of_the_words_that_training_keeps_is_the_noise_that_is_drawn(name, views):
    rates = {} if name == "vae" else {"views": views, "noise_std": 0.3 if "noise" in views else 0.0}
    method, key, x = make(name, **rates), jax.random.key(0), jnp.asarray(X)
    words = method.draw_words(key, x, x)
    drawn, made = method.draw_noise(key, x, x), method.noise_of(words, x)
    assert drawn.keys() == made.keys()
    assert all(np.array_equal(drawn[each], made[each]) for each in drawn)
    assert ("word" in words) == ("normal" in drawn)


def test_drop_rate_is_the_share_of_features_dropped():
    method = make("simclr", drop_rate=0.3)
    x = jnp.ones((1000, 50))
    keep = method.draw_noise(jax.random.key(0), x, x)["keep"]
    assert float(keep.mean()) == pytest.approx(0.7, abs=4 * (0.21 / keep.size) ** 0.5)


def test_the_two_views_of_simclr_have_noise_of_their_own():
    x = jnp.ones((6, 5))
    noise = make("simclr").draw_noise(jax.random.key(0), x, x)
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
    twin = torch_ref.methods.VAE(torch_ref.hyperparameters.VAEHyperparameters(**settings))
    assert type(twin.optimizer()([params])) is kind


def test_the_vae_embeds_its_mean_whatever_the_noise():
    method = make("vae")
    model = method.init_model(5, nnx.Rngs(0))
    mu, _ = model.encode(jnp.asarray(X))
    assert jnp.array_equal(method.embed(model, jnp.asarray(X)), mu)


def test_a_method_is_a_tree_whose_leaves_are_the_numbers_it_computes_with():
    method = make("simclr", weight_decay=0.0)
    leaves = {key[0].name: leaf for key, leaf in jax.tree.leaves_with_path(method)}
    assert leaves == {"learning_rate": 1e-3, "temperature": 0.5, "noise_std": 0.1, "drop_rate": 0.1}
    same = make("simclr", weight_decay=0.0, temperature=0.1, epochs=7, seed=3)
    assert jax.tree.structure(method) == jax.tree.structure(same)
    assert jax.tree.structure(method) != jax.tree.structure(make("simclr", latent_dim=4))


def test_hyperparameters_of_the_seed_are_the_defaults():
    autoencoder, vae, simclr = (kind() for kind in BY_METHOD.values())
    assert autoencoder == AutoencoderHyperparameters(
        hidden_dims=(64,), latent_dim=8, epochs=50, batch_size=128, learning_rate=1e-3
    )
    assert vae == VAEHyperparameters(epochs=80, beta=1.0)
    assert simclr == SimCLRHyperparameters(
        epochs=60, weight_decay=1e-4, temperature=0.5, proj_dim=32, noise_std=0.1, drop_rate=0.1
    )
