"""Views of tables: rates that are what their names say, values from the right column and row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

import jaxrep.hyperparameters
import jaxrep.views
import torch_ref.hyperparameters
import torch_ref.methods
import torch_ref.views
from jaxrep.hyperparameters import BY_METHOD, VIEWS, check
from jaxrep.methods import METHODS
from jaxrep.runs import grid, selection
from jaxrep.training import fit, sweep
from tests.helpers import small

TWINS = ("jax", "torch")
ROWS, D = 3000, 6
# No value is there twice: which row and column a value is from is always seen.
RNG = np.random.default_rng(0)
STEPS = [RNG.geometric(0.5 ** (1 + j), size=ROWS) for j in range(D)]
REFERENCE = np.stack(
    [RNG.permutation(1e6 * j + np.cumsum(steps)) for j, steps in enumerate(STEPS)], axis=1
).astype(np.float32)
X = -1 - np.arange(20_000 * D, dtype=np.float32).reshape(-1, D)  # values that no row else has


def made(twin, **settings):
    known = {"jax": jaxrep.hyperparameters, "torch": torch_ref.hyperparameters}[twin]
    return known.ViewHyperparameters(**settings)


def view(twin, x=X, reference=REFERENCE, seed=0, **settings):
    """What a twin makes of rows."""
    hyperparameters = made(twin, **settings)
    if twin == "jax":
        x, reference = jnp.asarray(x), jnp.asarray(reference)
        noise = jaxrep.views.draw_views(hyperparameters, jax.random.key(seed), x, reference)
        return np.asarray(jaxrep.views.corrupt(hyperparameters, x, noise))
    x, reference = torch.from_numpy(x), torch.from_numpy(reference)
    generator = torch.Generator().manual_seed(seed)
    noise = torch_ref.views.draw_views(hyperparameters, generator, x, reference)
    return torch_ref.views.corrupt(hyperparameters, x, noise).numpy()


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
    augment = {"jax": jaxrep.augment, "torch": torch_ref.augment}[twin]
    right = augment.replace_features
    monkeypatch.setattr(
        augment, "replace_features", lambda x, replace, values: right(x, ~replace, values)
    )
    found = view(twin, views=("scarf",), corruption_rate=0.6)
    assert (found != X).mean() == pytest.approx(0.4, abs=0.01)
    with pytest.raises(AssertionError):
        assert_share_replaced(found, 0.6)


@pytest.mark.parametrize("twin", TWINS)
def test_scarf_draws_from_the_distribution_of_its_own_column(twin):
    found = view(twin, views=("scarf",), corruption_rate=0.6)
    for j in range(D):
        drawn = found[found[:, j] != X[:, j], j]
        assert np.isin(drawn, REFERENCE[:, j]).all()
        assert stats.ks_2samp(drawn, REFERENCE[:, j]).pvalue > 1e-5
        # And every row as often as any other, in 30 groups of 100.
        of_row = np.searchsorted(np.sort(REFERENCE[:, j]), drawn)
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
    """The reference rows that values are from, −1 where a feature is as it was."""
    donors = np.full(found.shape, -1)
    for j in range(D):
        order = np.argsort(REFERENCE[:, j])
        at = np.flatnonzero(found[:, j] != X[:, j])
        donors[at, j] = order[np.searchsorted(REFERENCE[order, j], found[at, j])]
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
        return corrupt_with(made("jax", views=("scarf",), corruption_rate=rate))

    def corrupt_with(hyperparameters):
        noise = jaxrep.views.draw_views(hyperparameters, jax.random.key(0), x, reference)
        return jaxrep.views.corrupt(hyperparameters, x, noise)

    x, reference = jnp.asarray(X[:100]), jnp.asarray(REFERENCE)
    found = jax.jit(jax.vmap(corrupted))(jnp.array([0.0, 0.3, 0.6]))
    for one, rate in zip(found, (0.0, 0.3, 0.6), strict=True):
        np.testing.assert_array_equal(one, corrupted(rate))


@pytest.mark.parametrize("rows", [1, 2, 3, 48, 1000, 40_000, 65_535, 65_536])
def test_a_word_gives_every_row_alike_and_a_place_of_its_own(rows):
    # The words whose remainders are equal lie 2³² / 2ᵏ apart, for 2ᵏ the powers of 2 in R.
    power = rows & -rows
    starts = np.random.default_rng(rows).integers(0, 2**32 // power, 200, dtype=np.uint64)
    apart = np.uint64(2**32 // power) * np.arange(power, dtype=np.uint64)
    words = starts[:, None] + apart
    row, place = (
        np.asarray(found).astype(np.uint64)
        for found in jaxrep.views._row_and_place(jnp.asarray(words, jnp.uint32), rows)
    )
    np.testing.assert_array_equal(row, words * np.uint64(rows) >> np.uint64(32))
    remainder = words * np.uint64(rows) % np.uint64(2**32)
    assert (place // np.uint64(power) == remainder // np.uint64(power)).all()
    assert (np.sort(place % np.uint64(power), axis=1) == np.arange(power)).all()


def test_of_too_many_reference_rows_evenly_spaced_ones_lend_their_values():
    reference = np.arange(200_000, dtype=np.float32)[:, None]
    found = view("jax", np.full((50_000, 1), -1, np.float32), reference, views=("scarf",))
    borrowed = found[found >= 0]
    assert (borrowed % 4 == 0).all()
    assert stats.kstest(borrowed / 200_000, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("name", ["scarf", "swap"])
@pytest.mark.parametrize("twin", TWINS)
def test_the_two_views_of_simclr_are_corrupted_independently(twin, name):
    methods = {"jax": METHODS, "torch": torch_ref.methods.METHODS}[twin]
    known = {"jax": jaxrep.hyperparameters, "torch": torch_ref.hyperparameters}[twin]
    method = methods["simclr"](known.SimCLRHyperparameters(views=(name,)))
    source = jax.random.key(0) if twin == "jax" else torch.Generator().manual_seed(0)
    array = jnp.asarray if twin == "jax" else torch.from_numpy
    noise = method.draw_noise(source, array(X), array(REFERENCE))
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


@pytest.mark.parametrize("name", [pytest.param("autoencoder", marks=pytest.mark.slow), "simclr"])
def test_runs_of_a_sweep_over_the_corruption_rate_are_those_alone(name):
    methods = [
        small.make(name, views=("scarf",), corruption_rate=rate, epochs=2)
        for rate in (0.2, 0.6, 0.9)
    ]
    result = sweep(methods, small.X)
    assert result.compiles == 1
    losses = [member.history[-1]["loss"] for member in result.members]
    assert len(set(losses)) == 3
    for method, loss in zip(methods, losses, strict=True):
        assert fit(method, small.X).history[-1]["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_grid_names_views_joined_by_plus():
    hyperparameters = BY_METHOD["simclr"]()
    read = grid.parse(["views=scarf,swap+dropout,none"], hyperparameters)
    assert read == {"views": [("scarf",), ("swap", "dropout"), ()]}
    assert [grid.as_text(value) for value in read["views"]] == ["scarf", "swap+dropout", "none"]
    assert grid.complete(read, hyperparameters, 1)["views"] == read["views"]


@pytest.mark.parametrize("name", ["autoencoder", "simclr"])
@pytest.mark.parametrize("knob", ["views", "corruption_rate", "swap_rate"])
def test_losses_of_different_corruptions_do_not_compare(name, knob):
    hyperparameters = BY_METHOD[name](validation_fraction=0.1)
    with pytest.raises(ValueError, match=f"runs that differ in {knob}"):
        selection.check_selection("loss", name, hyperparameters, {knob: [0.2, 0.3]})


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
        check(BY_METHOD["simclr"](**settings))


def test_rates_of_views_that_are_not_chosen_change_no_program():
    method = METHODS["simclr"](BY_METHOD["simclr"](views=("scarf",)))
    leaves = {key[0].name for key, _ in jax.tree.leaves_with_path(method)}
    assert leaves == {"learning_rate", "weight_decay", "temperature", "corruption_rate"}
    other = dataclasses.replace(method.hyperparameters, noise_std=0.7)
    assert jax.tree.structure(method) == jax.tree.structure(METHODS["simclr"](other))
