"""Views of rows with codes and gaps: whole cells are replaced, and numbers draw what they drew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.hyperparameters import VIEWS, ViewHyperparameters
from jaxrep.methods import abstract_network
from jaxrep.networks import RowLayout
from jaxrep.training import fit
from jaxrep.views import (
    Draws,
    corrupt,
    draw_other,
    draw_views,
    replace_by_other,
    resolve,
    rows_seen,
)
from tests.helpers.small import MIXED, X, make, mixed

ROWS, DONORS, D, C = 8000, 1000, 3, 2
RNG = np.random.default_rng(0)


def with_gaps(numbers, codes, share=0.2):
    numbers, codes = numbers.astype(np.float32), codes.astype(np.int32)
    numbers[RNG.uniform(size=numbers.shape) < share] = np.nan
    codes[RNG.uniform(size=codes.shape) < share] = MISSING
    return Batch(jnp.asarray(numbers), jnp.asarray(codes))


# What is in a background cell says its row and column, in numbers and codes alike; no row to be
# corrupted has any of that.
AT = np.arange(DONORS)[:, None]
BACKGROUND = with_gaps(AT + 1e4 * np.arange(1, D + 1), AT + 1 + 10**4 * np.arange(1, C + 1))
BATCH = with_gaps(-np.ones((ROWS, D)), np.ones((ROWS, C)))


def view(seed=0, batch=BATCH, **settings):
    """Corrupted rows, and the noise that did it."""
    hyperparameters = ViewHyperparameters(**settings)
    draws = Draws(jax.random.key(seed), BACKGROUND)
    noise = resolve(draw_views(hyperparameters, draws, batch))
    found = corrupt(hyperparameters, batch, noise)
    return jax.tree.map(np.asarray, found), {name: np.asarray(a) for name, a in noise.items()}


def is_share(count, size, rate):
    """Whether a count is one that n independent choices make, at one in a million."""
    return stats.binomtest(int(count), int(size), rate).pvalue > 1e-6


def rows_of(cells, first):
    """The background row that a cell is from, −1 where it is a gap, in which none is told."""
    columns = 1e4 * np.arange(1, cells.shape[1] + 1) + first
    return np.where(np.isnan(cells) | (cells == MISSING), -1, cells - columns).astype(int)


@pytest.mark.parametrize("rate", [0.05, 0.6])
@pytest.mark.parametrize("name", ["scarf", "swap"])
def test_replaced_cells_are_those_of_background_rows_gaps_with_them(name, rate):
    found, noise = view(views=(name,), **{VIEWS[name]: rate})
    for cells, before, others, own, values, first in (
        (found.numbers, BATCH.numbers, BACKGROUND.numbers, name, f"{name}_values", 0),
        (found.codes, BATCH.codes, BACKGROUND.codes, f"{name}_codes", f"{name}_code_values", 1),
    ):
        replaced, others = noise[own], np.asarray(others)
        for column in replaced.T:
            assert is_share(column.sum(), len(column), rate)
        # Exactly what was drawn, and nothing of what was there, stands in a replaced cell.
        np.testing.assert_array_equal(cells, np.where(replaced, noise[values], np.asarray(before)))
        # Statistically: gaps as often as in the background, in a replaced cell.
        gaps = np.isnan(cells) | (cells == MISSING)
        for j, column in enumerate(replaced.T):
            donor = rows_of(cells, first)[column, j]
            known = donor >= 0
            assert (cells[column, j][known] == others[donor[known], j]).all()
            share = float(np.mean(np.isnan(others[:, j]) | (others[:, j] == MISSING)))
            assert is_share(gaps[column, j].sum(), column.sum(), share)
            assert stats.chisquare(np.bincount(donor[known] // 100, minlength=10)).pvalue > 1e-5


def test_swap_takes_numbers_and_codes_of_a_row_from_one_row_and_scarf_each_from_another():
    for name in ("swap", "scarf"):
        found, noise = view(views=(name,), **{VIEWS[name]: 0.6})
        donors = np.concatenate([rows_of(found.numbers, 0), rows_of(found.codes, 1)], axis=1)
        replaced = np.concatenate([noise[name], noise[f"{name}_codes"]], axis=1) & (donors >= 0)
        one, other = donors[:, 0], donors[:, D]  # a number and a code
        both = replaced[:, 0] & replaced[:, D]
        same = (one == other)[both].sum()
        assert same == both.sum() if name == "swap" else is_share(same, both.sum(), 1 / DONORS)


@pytest.mark.parametrize("name", ["scarf", "swap", "hide", "dropout"])
def test_which_codes_are_chosen_is_independent_of_the_numbers_and_of_each_other(name):
    _, noise = view(views=(name,), **{VIEWS[name]: 0.5})
    numbers, codes = {
        "dropout": ("keep", "keep_codes"),
        "hide": ("hide", "hide_codes"),
    }.get(name, (name, f"{name}_codes"))
    chosen = np.concatenate([noise[numbers], noise[codes]], axis=1)
    for i in range(D + C):
        for j in range(i):
            assert is_share((chosen[:, i] & chosen[:, j]).sum(), ROWS, 0.25), (i, j)


def test_views_do_not_share_their_draws_for_codes():
    names = ("scarf", "swap", "hide", "dropout")
    _, noise = view(views=names, **{VIEWS[name]: 0.5 for name in names})
    chosen = [noise[f"{name}_codes"] for name in ("scarf", "swap", "hide", "keep")]
    draws = Draws(jax.random.key(0), BACKGROUND)
    chosen.append(np.asarray(draw_other(0.5, draws, BATCH)["other"]))
    for i, one in enumerate(chosen):
        for other in chosen[:i]:
            assert is_share((one & other).sum(), one.size, 0.25)


@pytest.mark.quick
@pytest.mark.parametrize(
    "views", [("noise",), ("dropout",), ("noise", "dropout"), ("scarf", "swap", "hide", "noise")]
)
def test_what_is_drawn_for_numbers_is_the_same_with_and_without_codes(views):
    settings = {"views": views} | {VIEWS[name]: 0.3 for name in views}
    _, with_codes = view(**settings)
    _, without = view(batch=Batch(BATCH.numbers), **settings)
    assert without.keys() == {name for name in with_codes if "code" not in name}
    for name, drawn in without.items():
        np.testing.assert_array_equal(with_codes[name], drawn, err_msg=name)


@pytest.mark.quick
def test_noise_leaves_codes_and_gaps_as_they_are():
    found, noise = view(views=("noise",), noise_std=0.5)
    np.testing.assert_array_equal(found.codes, BATCH.codes)
    is_missing = np.isnan(np.asarray(BATCH.numbers))
    assert (np.isnan(found.numbers) == is_missing).all()
    np.testing.assert_allclose(
        found.numbers[~is_missing], -1 + 0.5 * noise["normal"][~is_missing], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_dropout_makes_numbers_0_and_codes_other_and_leaves_what_is_missing(rate):
    found, noise = view(views=("dropout",), drop_rate=rate)
    for cells, before, keep in (
        (found.numbers, BATCH.numbers, noise["keep"]),
        (found.codes, BATCH.codes, noise["keep_codes"]),
    ):
        before = np.asarray(before)
        is_missing = (
            np.isnan(before) | (before == MISSING) if before.dtype.kind == "i" else np.isnan(before)
        )
        np.testing.assert_array_equal(cells[is_missing], before[is_missing])
        assert is_missing.any() and (~keep & is_missing).any()
        np.testing.assert_array_equal(cells, np.where(keep | is_missing, before, 0))
        for column in keep.T:
            assert is_share((~column).sum(), len(column), rate)


@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_hide_makes_cells_missing_at_its_rate(rate):
    found, noise = view(views=("hide",), hide_rate=rate)
    assert found.codes.dtype == np.int32
    for cells, before, hidden in (
        (found.numbers, BATCH.numbers, noise["hide"]),
        (found.codes, BATCH.codes, noise["hide_codes"]),
    ):
        gap = np.nan if cells.dtype.kind == "f" else MISSING
        np.testing.assert_array_equal(cells, np.where(hidden, gap, np.asarray(before)))
        for column in hidden.T:
            assert is_share(column.sum(), len(column), rate)


def test_other_replaces_present_codes_at_its_rate_and_nothing_else():
    draws = Draws(jax.random.key(3), BACKGROUND)
    noise = draw_other(0.3, draws, BATCH)
    found = replace_by_other(BATCH, noise)
    np.testing.assert_array_equal(found.numbers, BATCH.numbers)
    before, after = np.asarray(BATCH.codes), np.asarray(found.codes)
    assert ((after == MISSING) == (before == MISSING)).all()
    replaced = (after == 0) & (before > 0)
    assert is_share(replaced.sum(), (before > 0).sum(), 0.3)
    np.testing.assert_array_equal(after[~replaced], before[~replaced])
    assert draw_other(0.0, draws, BATCH) == {} == draw_other(0.3, draws, Batch(BATCH.numbers))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_traced_rates_choose_as_many_codes_as_untraced_ones(rate):
    draws = Draws(jax.random.key(0), BACKGROUND)

    def codes(rate):
        hyperparameters = ViewHyperparameters(views=("hide",), hide_rate=rate)
        noise = resolve(draw_views(hyperparameters, draws, BATCH))
        hidden = corrupt(hyperparameters, BATCH, noise)
        return replace_by_other(hidden, draw_other(rate, draws, hidden)).codes

    np.testing.assert_array_equal(jax.jit(codes)(rate), codes(rate))


@pytest.mark.parametrize("name", ["autoencoder", "simclr"])
def test_with_hide_a_network_takes_any_cell_that_is_missing(name):
    rows = RowSpec(5, (3, 4))
    for views, gaps in ((("hide",), True), (("swap",), False)):
        method = make(name, views=views)
        spec = rows_seen(method.hyperparameters, rows)
        assert spec == (rows.with_gaps() if gaps else rows)
        network = abstract_network(method, rows)
        part = network.encoder if name == "autoencoder" else network.backbone
        assert part.layout.inputs == RowLayout(spec).inputs
    assert rows_seen(ViewHyperparameters(views=("hide",), hide_rate=0.0), rows) == rows


@pytest.mark.slow
def test_an_autoencoder_learns_to_fill_in_what_is_hidden():
    """Of two equal columns each is known from the other, where one is hidden."""
    x = np.repeat(X[:, :1], 2, axis=1)
    runs = [
        fit(make("autoencoder", views=views, epochs=60, learning_rate=0.01), x)
        for views in (("hide",), ("noise",))
    ]
    assert runs[0].history[-1]["loss"] < 0.5 * runs[0].history[0]["loss"]
    assert runs[0].weights["encoder.0.kernel"].shape == (4, 6)  # two numbers, two flags
    assert runs[1].weights["encoder.0.kernel"].shape == (2, 6)


def test_a_row_hidden_from_the_input_is_still_a_target(x64):
    method = make("autoencoder", views=("hide",), hide_rate=0.5, other_rate=0.0)
    batch = mixed(12)
    noise = {"hide": np.ones((12, 4), bool), "hide_codes": np.ones((12, 3), bool)}
    seen = corrupt(method.hyperparameters, batch, noise)
    assert np.isnan(seen.numbers).all() and (seen.codes == MISSING).all()
    network = method.init(MIXED, nnx.Rngs(0))
    loss, _ = method.loss(network, batch, noise)
    terms = network.terms(batch, network.embed(seen))
    observed = np.concatenate([~np.isnan(batch.numbers), batch.codes >= 0], axis=1)
    assert ((np.asarray(terms) != 0) == observed).all()
    rows = np.asarray(terms).sum(axis=1) / observed.sum(axis=1)
    assert float(loss) == pytest.approx(rows.mean(), rel=1e-6)
