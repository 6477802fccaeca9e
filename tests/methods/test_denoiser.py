"""The denoiser: its corruption against a definition in NumPy, its score, and what it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from sklearn.metrics import roc_auc_score

import torch_ref.batch
import torch_ref.networks
import torch_ref.views
from jaxrep import views
from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.inference import map_rows
from jaxrep.methods import Denoiser, DenoiserHyperparameters, abstract_network
from jaxrep.networks import LevelScore, with_weights
from jaxrep.training import fit
from jaxrep.training.epoch_plan import EpochPlan
from jaxrep.views import Draws, resolve

SMALL = {"hidden_dims": (12,), "latent_dim": 10, "epochs": 3, "batch_size": 16}
RNG = np.random.default_rng(0)
MIXED = RowSpec(3, (4, 2000), (True, False, False, True, False))


def make(**settings):
    return Denoiser(DenoiserHyperparameters(**SMALL | settings))


def rows(count, spec=MIXED, seed=0):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, spec.numbers)).astype(np.float32)
    codes = rng.integers(0, spec.levels, (count, spec.codes)).astype(np.int32)
    for column, has_gaps in enumerate(spec.gaps):
        part, at = (numbers, column) if column < spec.numbers else (codes, column - spec.numbers)
        if has_gaps:
            part[rng.random(count) < 0.2, at] = np.nan if part is numbers else MISSING
    return Batch(numbers, codes)


def as_torch(batch):
    return torch_ref.batch.Batch(
        *(None if a is None else torch.tensor(np.asarray(a)) for a in batch)
    )


@pytest.mark.parametrize("twin", ["jax", "torch"])
def test_rows_are_corrupted_as_the_process_is_defined(twin):
    batch = rows(500)._replace(numbers=rows(500).numbers.astype(np.float64))
    level = np.linspace(0, 1, 500)[:, None]
    normal, places = RNG.normal(size=(500, 3)), RNG.random((500, 2))
    values = RNG.integers(0, 4, (500, 2)).astype(np.int32)
    # −log ᾱ(u) = ∫₀ᵘ β, by the trapezoid rule: β is linear.
    integral = [np.trapezoid([0.01, 0.01 + 0.99 * u], [0, u]) for u in level[:, 0]]
    remaining = np.exp(-np.array(integral))[:, None]
    kept, noise = np.sqrt(remaining), np.sqrt(1 - remaining)
    expected = kept * batch.numbers + noise * normal
    is_missing = batch.codes == MISSING
    replaced = (places < 1 - kept) & ~is_missing
    assert (is_missing & (places < 1 - kept)).any()  # which stay missing
    if twin == "jax":
        with jax.enable_x64(True):
            found = views.diffuse(
                jax.tree.map(jnp.asarray, batch), *map(jnp.asarray, (level, normal, places, values))
            )
    else:
        found = torch_ref.views.diffuse(
            as_torch(batch), *map(torch.tensor, (level, normal, places, values))
        )
    np.testing.assert_allclose(np.asarray(found.numbers), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(found.codes), np.where(replaced, values, batch.codes))
    assert replaced.any() and (found.codes[0] == batch.codes[0]).all()


def test_noise_has_the_shares_that_are_asked_for():
    # Bounds are four standard errors of as many rows, and more.
    batch, method = rows(4000), make(hide_rate=0.3)
    noise = resolve(
        method.noise(Draws(jax.random.key(1), jax.tree.map(jnp.asarray, rows(300, seed=5))), batch)
    )
    level = np.asarray(noise["level"])
    counts, _ = np.histogram(level, 10, (0, 1))
    assert np.sum((counts - 400) ** 2 / 400) < 28 and level.min() >= 0 and level.max() < 1
    for name in ("hidden", "hidden_codes"):
        hidden = np.asarray(noise[name])
        assert hidden.mean() == pytest.approx(0.15, abs=0.01)
    whole = ~np.asarray(noise["hidden"]).any(axis=1) & ~np.asarray(noise["hidden_codes"]).any(
        axis=1
    )
    assert whole.mean() == pytest.approx(0.5 + 0.5 * 0.7**5, abs=0.03)
    codes = np.asarray(noise["code_values"])
    assert set(np.unique(codes[:, 0])) <= {-1, 0, 1, 2, 3} and len(np.unique(codes[:, 1])) > 200
    places = np.asarray(noise["code_places"])
    assert places.mean() == pytest.approx(0.5, abs=0.02) and 0 <= places.min() < places.max() < 1


def test_a_level_has_two_corruptions_that_are_opposite():
    ours = LevelScore(MIXED, rngs=nnx.Rngs(0))
    theirs = torch_ref.networks.LevelScore(MIXED, generator=torch.Generator())
    for block, read in ((ours, lambda v: np.asarray(v[...])), (theirs, lambda v: v.numpy())):
        normal, places = read(block.normal), read(block.places)
        assert tuple(block.levels) == (0.1, 0.1, 0.2, 0.2, 0.4, 0.4) and len(normal) == 6
        np.testing.assert_array_equal(normal[::2], -normal[1::2])
        np.testing.assert_allclose(places[::2], 1 - places[1::2], atol=1e-6)
        assert len(np.unique(np.abs(normal))) == normal.size / 2


@pytest.mark.parametrize("kind", [LevelScore, torch_ref.networks.LevelScore])
def test_statistics_make_the_mean_score_of_training_rows_zero(kind):
    errors = np.exp(RNG.normal(size=(500, 7)) * [1, 2, 3, 1, 1, 1, 0] + 3).astype(np.float32)
    fitted = kind.fit(errors)
    logs = np.log(errors.astype(np.float64))
    np.testing.assert_allclose(fitted["mean"], logs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted["scale"][:6], logs.std(axis=0)[:6], rtol=1e-5)
    assert fitted["scale"][6] > 0  # whose errors are all the same
    exact = kind.fit(np.zeros((5, 7), np.float32))
    assert all(np.isfinite(array).all() for array in exact.values())


def test_scores_are_of_the_row_alone_and_of_the_seeds_draws():
    run = fit(make(), rows(80), spec=MIXED)
    new = rows(30, seed=2)
    together = map_rows(make(), "score", run.weights, new, MIXED)
    alone = [
        map_rows(make(), "score", run.weights, Batch(*(a[i : i + 1] for a in new[:2])), MIXED)[0]
        for i in range(30)
    ]
    assert together.tobytes() == np.array(alone).tobytes()
    trained = map_rows(make(), "score", run.weights, rows(80), MIXED)
    assert trained.mean() == pytest.approx(0, abs=1e-4)
    other = fit(make(seed=1), rows(80), spec=MIXED).weights
    assert not np.array_equal(run.weights["by_level.normal"], other["by_level.normal"])
    assert set(np.unique(run.weights["by_level.codes"][:, 0])) <= {-1.0, 0.0, 1.0, 2.0, 3.0}


def test_the_score_is_that_of_its_errors_and_these_of_corrupted_rows():
    method = make(anomaly_score="levels")
    run = fit(method, rows(60), spec=MIXED)
    network = with_weights(abstract_network(method, MIXED), run.weights)
    batch = jax.tree.map(jnp.asarray, rows(20, seed=3))
    errors, block = np.asarray(network.errors(batch), np.float64), network.by_level
    expected = ((np.log(errors) - np.asarray(block.mean[...])) / np.asarray(block.scale[...])).mean(
        axis=1
    )
    np.testing.assert_allclose(np.asarray(network.score(batch)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        errors[:, 0],
        np.asarray(network.score_by_column(batch)).sum(axis=1)
        / np.asarray(network.observed(batch)).sum(axis=1),
        rtol=1e-5,
    )


def test_a_hidden_cell_is_told_from_the_others():
    # The second column is the first one's negative, so that one tells the other.
    x = RNG.normal(size=(600, 1)).astype(np.float32)
    table = np.concatenate([x, -x, RNG.normal(size=(600, 1)).astype(np.float32)], axis=1)
    method = make(hidden_dims=(32,), latent_dim=32, epochs=60, hide_rate=0.4)
    run = fit(method, table)
    hidden = table.copy()
    hidden[:, 1] = np.nan
    spec = RowSpec(3)
    found = map_rows(method, "reconstruct", run.weights, hidden, spec).numbers[:, 1]
    assert np.corrcoef(found, table[:, 1])[0, 1] > 0.97


def test_it_finds_rows_that_break_a_relation_that_no_column_shows():
    angle = RNG.uniform(0, 2 * np.pi, 800)
    normal = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * RNG.normal(size=(800, 2))
    odd = 0.6 * RNG.uniform(-1, 1, (100, 2))  # inside the circle
    method = make(hidden_dims=(64,), latent_dim=64, epochs=0, batch_size=64)
    x = np.concatenate([normal[400:], odd]).astype(np.float32)
    run = fit(method, normal[:400].astype(np.float32))
    assert run.steps == 2000
    scores = map_rows(method, "score", run.weights, x, RowSpec(2))
    assert roc_auc_score(np.arange(500) >= 400, scores) > 0.9


@pytest.mark.parametrize(
    ("count", "steps"), [(1, 2000), (2560, 2000), (3840, 3000), (7680, 6000), (10**8, 12000)]
)
def test_no_epochs_are_as_many_steps_as_the_rule_makes_of_the_rows(count, steps):
    assert EpochPlan(count, min(count, 128), epochs=0).steps == steps
    assert EpochPlan(count, min(count, 128), epochs=0, limit=5).steps == 5
