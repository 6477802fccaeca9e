"""Views of tables: rates that are what their names say, values from the right column and row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

import jaxrep.views
import torch_ref.methods
import torch_ref.views
from jaxrep import methods
from jaxrep.batch import Batch
from jaxrep.hyperparameters import VIEWS, ViewHyperparameters, check
from jaxrep.training import fit, sweep
from jaxrep.views import Deferred, Draws, resolve
from jaxrep.views._replacement import _index_and_place
from torch_ref.batch import Batch as TorchBatch

TWINS = ("jax", "torch")
ROWS, D = 3000, 6
# No value is there twice: which row and column a value is from is always seen.
RNG = np.random.default_rng(0)
STEPS = [RNG.geometric(0.5 ** (1 + j), size=ROWS) for j in range(D)]
BACKGROUND = np.stack(
    [RNG.permutation(1e6 * j + np.cumsum(steps)) for j, steps in enumerate(STEPS)], axis=1
).astype(np.float32)
X = -1 - np.arange(20_000 * D, dtype=np.float32).reshape(-1, D)  # values that no row else has


def view(twin, x=X, background=BACKGROUND, rows=None, seed=0, **settings):
    """What a twin makes of rows."""
    hyperparameters = ViewHyperparameters(**settings)  # torch's twin reads the same fields
    if twin == "jax":
        batch = Batch(jnp.asarray(x))
        draws = Draws(jax.random.key(seed), Batch(jnp.asarray(background)), rows)
        noise = resolve(jaxrep.views.draw_views(hyperparameters, draws, batch))
        return np.asarray(jaxrep.views.corrupt(hyperparameters, batch, noise).numbers)
    generator = torch.Generator().manual_seed(seed)
    batch = TorchBatch(torch.from_numpy(x))
    draws = torch_ref.views.Draws(generator, TorchBatch(torch.from_numpy(background)), rows)
    noise = torch_ref.views.draw_views(hyperparameters, draws, batch)
    return torch_ref.views.corrupt(hyperparameters, batch, noise).numbers.numpy()


def made(name, **settings):
    return methods.make(methods.hyperparameters_of(name)(**settings))


def is_share(count, size, rate):
    """Whether a count is one that n independent choices make, at one in a million."""
    return stats.binomtest(int(count), size, rate).pvalue > 1e-6


def assert_share_replaced(found, rate):
    replaced = found != X
    assert is_share(replaced.sum(), X.size, rate)
    for column in replaced.T:
        assert is_share(column.sum(), len(X), rate)


@pytest.mark.quick
@pytest.mark.parametrize("rate", [0.05, 0.6])
@pytest.mark.parametrize(
    ("name", "rate_name"), [("scarf", "corruption_rate"), ("swap", "swap_rate")]
)
@pytest.mark.parametrize("twin", TWINS)
def test_the_share_of_features_replaced_is_the_rate(twin, name, rate_name, rate):
    assert_share_replaced(view(twin, views=(name,), **{rate_name: rate}), rate)


@pytest.mark.parametrize("twin", TWINS)
def test_an_inverted_mask_would_be_seen(twin, monkeypatch):
    views = {"jax": jaxrep.views, "torch": torch_ref.views}[twin]
    right = views.VIEWS["scarf"]

    def inverted(batch, noise, rate):
        return right.apply(batch, noise | {"scarf": ~noise["scarf"]}, rate)

    monkeypatch.setitem(views.VIEWS, "scarf", right._replace(apply=inverted))
    found = view(twin, views=("scarf",), corruption_rate=0.6)
    assert (found != X).mean() == pytest.approx(0.4, abs=0.01)
    with pytest.raises(AssertionError):
        assert_share_replaced(found, 0.6)


@pytest.mark.parametrize("twin", TWINS)
def test_scarf_draws_from_the_distribution_of_its_own_column(twin):
    found = view(twin, views=("scarf",), corruption_rate=0.6)
    for j in range(D):
        drawn = found[found[:, j] != X[:, j], j]
        assert np.isin(drawn, BACKGROUND[:, j]).all()
        assert stats.ks_2samp(drawn, BACKGROUND[:, j]).pvalue > 1e-5
        # And every row as often as any other, in 30 groups of 100.
        of_row = np.searchsorted(np.sort(BACKGROUND[:, j]), drawn)
        assert stats.chisquare(np.bincount(of_row // 100)).pvalue > 1e-5


@pytest.mark.parametrize("twin", TWINS)
def test_scarf_draws_every_feature_of_a_row_from_a_row_of_its_own(twin):
    donors = rows_of(view(twin, views=("scarf",), corruption_rate=0.6))
    both = (donors[:, 0] >= 0) & (donors[:, 1] >= 0)
    same = (donors[both, 0] == donors[both, 1]).sum()
    assert is_share(same, both.sum(), 1 / ROWS)
    assert abs(stats.spearmanr(donors[both, 0], donors[both, 1]).statistic) < 5 * both.sum() ** -0.5


@pytest.mark.parametrize("twin", TWINS)
def test_swap_takes_the_features_of_a_row_from_one_other_row_and_all_rows_alike(twin):
    donors = rows_of(view(twin, views=("swap",), swap_rate=0.6))
    highest = donors.max(axis=1)
    assert ((donors == highest[:, None]) | (donors < 0)).all()
    assert stats.chisquare(np.bincount(highest[highest >= 0] // 100)).pvalue > 1e-5


def rows_of(found):
    """The background rows that values are from, −1 where a feature is as it was."""
    donors = np.full(found.shape, -1)
    for j in range(D):
        order = np.argsort(BACKGROUND[:, j])
        at = np.flatnonzero(found[:, j] != X[:, j])
        donors[at, j] = order[np.searchsorted(BACKGROUND[order, j], found[at, j])]
    return donors


@pytest.mark.parametrize(
    ("name", "rate_name"), [("scarf", "corruption_rate"), ("swap", "swap_rate")]
)
@pytest.mark.parametrize("twin", TWINS)
def test_a_rate_of_0_changes_nothing_and_one_near_1_everything(twin, name, rate_name):
    np.testing.assert_array_equal(view(twin, views=(name,), **{rate_name: 0.0}), X)
    assert (view(twin, views=(name,), **{rate_name: 1 - 2.0**-24}) != X).all()


def test_a_traced_rate_of_0_replaces_nothing_and_any_other_as_much_as_untraced():
    def corrupted(rate):
        hyperparameters = ViewHyperparameters(views=("scarf",), corruption_rate=rate)
        noise = resolve(jaxrep.views.draw_views(hyperparameters, draws, batch))
        return jaxrep.views.corrupt(hyperparameters, batch, noise).numbers

    batch = Batch(jnp.asarray(X[:100]))
    draws = Draws(jax.random.key(0), Batch(jnp.asarray(BACKGROUND)))
    found = jax.jit(jax.vmap(corrupted))(jnp.array([0.0, 0.3, 0.6]))
    for one, rate in zip(found, (0.0, 0.3, 0.6), strict=True):
        np.testing.assert_array_equal(one, corrupted(rate))


@pytest.mark.parametrize("rows", [1, 2, 3, 48, 1000, 40_000, 65_535, 65_536])
def test_bits_give_every_row_alike_and_a_place_of_their_own(rows):
    # The bits whose remainders are equal lie 2³² / 2ᵏ apart, for 2ᵏ the powers of 2 in R.
    power = rows & -rows
    starts = np.random.default_rng(rows).integers(0, 2**32 // power, 200, dtype=np.uint64)
    apart = np.uint64(2**32 // power) * np.arange(power, dtype=np.uint64)
    bits = starts[:, None] + apart
    index, place = (
        np.asarray(found).astype(np.uint64)
        for found in _index_and_place(jnp.asarray(bits, jnp.uint32), rows)
    )
    np.testing.assert_array_equal(index, bits * np.uint64(rows) >> np.uint64(32))
    remainder = bits * np.uint64(rows) % np.uint64(2**32)
    assert (place // np.uint64(power) == remainder // np.uint64(power)).all()
    assert (np.sort(place % np.uint64(power), axis=1) == np.arange(power)).all()


def test_of_too_many_background_rows_evenly_spaced_ones_give_their_values():
    background = np.arange(200_000, dtype=np.float32)[:, None]
    found = view("jax", np.full((50_000, 1), -1, np.float32), background, views=("scarf",))
    taken = found[found >= 0]
    assert (taken % 4 == 0).all()
    assert stats.kstest(taken / 200_000, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("name", ["scarf", "swap"])
@pytest.mark.parametrize("twin", TWINS)
def test_padding_after_background_rows_changes_nothing(twin, name):
    padded = np.concatenate([BACKGROUND, np.full((1096, D), np.nan, np.float32)])
    found = view(twin, X, padded, ROWS, views=(name,))
    np.testing.assert_array_equal(found, view(twin, X, BACKGROUND, views=(name,)))


@pytest.mark.parametrize("name", ["scarf", "swap"])
@pytest.mark.parametrize("twin", TWINS)
def test_the_two_views_of_simclr_are_corrupted_independently(twin, name):
    method = made("simclr", views=(name,))
    if twin == "jax":
        draws = Draws(jax.random.key(0), Batch(jnp.asarray(BACKGROUND)))
        noise = resolve(method.noise(draws, Batch(jnp.asarray(X))))
    else:
        twins = torch_ref.methods.SimCLR(**dataclasses.asdict(method.hyperparameters))
        generator = torch.Generator().manual_seed(0)
        draws = torch_ref.views.Draws(generator, TorchBatch(torch.from_numpy(BACKGROUND)))
        noise = twins.noise(draws, TorchBatch(torch.from_numpy(X)))
    one, other = np.asarray(noise[name])
    rate = getattr(method.hyperparameters, VIEWS[name])
    assert is_share((one & other).sum(), one.size, rate**2)
    values, others = np.asarray(noise[f"{name}_values"])
    assert is_share((values == others)[:, 0].sum(), len(X), 1 / ROWS)


@pytest.mark.parametrize("twin", TWINS)
def test_views_do_not_share_their_draws(twin):
    x = np.where(np.arange(D) % 2 == 0, X, 1.0).astype(np.float32)
    rates = {"corruption_rate": 0.5, "swap_rate": 0.5, "drop_rate": 0.5}
    alone = {
        name: view(twin, x, views=(name,), **{VIEWS[name]: 0.5}) != x
        for name in ("scarf", "swap", "dropout")
    }
    if twin == "jax":  # torch draws one after the other from its generator
        for one, other in (("scarf", "swap"), ("scarf", "dropout"), ("swap", "dropout")):
            both = (alone[one] & alone[other]).sum()
            assert is_share(both, x.size, 0.25), (one, other)
    together = view(twin, x, views=("scarf", "swap", "dropout"), **rates)
    assert is_share((together == x).sum(), x.size, 0.125)


@pytest.mark.quick
@pytest.mark.parametrize("twin", TWINS)
def test_views_are_applied_in_their_order(twin):
    rates = {"drop_rate": 0.5, "corruption_rate": 0.5}
    last_dropped = view(twin, views=("scarf", "dropout"), **rates)
    last_replaced = view(twin, views=("dropout", "scarf"), **rates)
    assert is_share((last_dropped == 0).sum(), X.size, 0.5)
    assert is_share((last_replaced == 0).sum(), X.size, 0.25)


@pytest.mark.parametrize("name", ["autoencoder", pytest.param("simclr", marks=pytest.mark.slow)])
def test_runs_of_a_sweep_over_the_corruption_rate_are_those_alone(name):
    x = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    shared = {"views": ("scarf",), "hidden_dims": (8,), "latent_dim": 4, "epochs": 2}
    runs = [made(name, corruption_rate=rate, batch_size=16, **shared) for rate in (0.2, 0.6, 0.9)]
    result = sweep(runs, x)
    assert result.compiles == 1
    losses = [member.history[-1]["loss"] for member in result.members]
    assert len(set(losses)) == 3
    for method, loss in zip(runs, losses, strict=True):
        assert fit(method, x).history[-1]["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"corruption_rate": 0.3},
            "corruption_rate is 0.3; it must be left out unless views names scarf",
        ),
        ({"views": ("scarf",), "drop_rate": 0.2}, "drop_rate is 0.2; it must be left out unless"),
        ({"views": ("scarf", "scarf")}, "views is .*; it must be different names out of noise,"),
        ({"views": ("mixup",)}, r"views is \('mixup',\); it must be different names"),
        ({"views": "scarf"}, "views is 'scarf'; it must be different names"),
        ({"views": ("scarf",), "corruption_rate": 1.0}, "corruption_rate is 1.0; it must be"),
    ],
)
def test_views_and_rates_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        check(methods.SimCLRHyperparameters(**settings))


def test_rates_of_views_that_are_not_chosen_change_no_program():
    method = made("simclr", views=("scarf",))
    leaves = {key[0].name for key, _ in jax.tree.leaves_with_path(method)}
    assert leaves == {
        "learning_rate",
        "weight_decay",
        "other_rate",
        "temperature",
        "corruption_rate",
    }
    other = dataclasses.replace(method.hyperparameters, noise_std=0.7)
    assert jax.tree.structure(method) == jax.tree.structure(methods.SimCLR(other))


def doubled(array):
    return {"twice": 2 * array}


@dataclasses.dataclass(frozen=True)
class Times:
    factor: int

    def __call__(self, noise):
        (array,) = resolve(noise).values()
        return {"more": self.factor * array}


def test_deferred_noise_is_made_of_its_arrays_wherever_it_stands_in_a_tree():
    noise = {
        "whole": Deferred(doubled, jnp.ones(2)),
        "nested": Deferred(Times(3), Deferred(doubled, jnp.ones(2))),
        "listed": [Deferred(jnp.negative, jnp.ones(1)), jnp.zeros(1)],
        "made": jnp.full(1, 7.0),
    }
    found = jax.tree.map(np.ndarray.tolist, jax.tree.map(np.asarray, resolve(noise)))
    assert found == {
        "whole": {"twice": [2.0, 2.0]},
        "nested": {"more": [6.0, 6.0]},
        "listed": [[-1.0], [0.0]],
        "made": [7.0],
    }


def test_what_is_kept_of_deferred_noise_are_its_arrays_and_its_structure_is_the_function():
    noise = Deferred(Times(3), Deferred(doubled, jnp.ones(2)))
    (bits,) = jax.tree.leaves(noise)
    assert bits.shape == (2,)
    structure = jax.tree.structure
    assert structure(noise) == structure(Deferred(Times(3), Deferred(doubled, jnp.zeros(9))))
    assert structure(noise) != structure(Deferred(Times(4), Deferred(doubled, jnp.ones(2))))
    steps = jax.tree.map(lambda array: jnp.stack([array, 5 * array]), noise)
    found = jax.vmap(resolve)(steps)["more"]
    np.testing.assert_array_equal(found, [[6.0, 6.0], [30.0, 30.0]])


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
def test_bits_kept_for_several_steps_become_the_noise_of_each_step(name, views):
    rates = {} if name == "vae" else {"views": views}
    if rates and "noise" in views:
        rates["noise_std"] = 0.3
    method, batch = made(name, latent_dim=3, **rates), Batch(jnp.asarray(X[:12]))
    background, keys = Batch(jnp.asarray(BACKGROUND)), jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def draw(key):
        return method.noise(Draws(key, background), batch)

    bits = jax.vmap(draw)(keys)
    together = jax.vmap(resolve)(bits)
    for i, key in enumerate(keys):
        for ours, expected in zip(jax.tree.leaves(bits), jax.tree.leaves(draw(key)), strict=True):
            np.testing.assert_array_equal(ours[i], jnp.asarray(expected))  # a rate is a float
        alone = resolve(draw(key))
        assert together.keys() == alone.keys()
        for each, array in alone.items():  # XLA may round the quantiles of a larger array otherwise
            np.testing.assert_allclose(together[each][i], array, rtol=1e-6, err_msg=each)
    # Noise and dropout keep the bits that both are made of, not one array for each.
    kept = [jnp.asarray(array).dtype for array in jax.tree.leaves(draw(keys[0]))]
    assert (np.dtype("int32") in kept) == ("normal" in together)
