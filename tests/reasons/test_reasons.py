"""Reasons: log-probabilities against cells that are hidden by hand, and culprits that are found."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

from jaxrep import methods, reasons
from jaxrep.batch import MISSING, Batch, RowSpec, take
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network
from jaxrep.networks import with_weights
from jaxrep.reasons import _explain, _hidden
from jaxrep.reasons._statistics import _fit_t
from jaxrep.training import fit
from tests.helpers.small import MIXED, make, mixed

DENOISER = {"hidden_dims": (24,), "latent_dim": 16, "epochs": 30}
X = mixed(300)


@functools.cache
def trained(name="denoiser", members=1):
    view = {"views": ("hide",), "hide_rate": 0.3} if name == "autoencoder" else {}
    method = make(name, **DENOISER, **view, members=members)
    weights = fit(method, X, spec=MIXED).weights
    return method, weights, reasons.fit(method, weights, X, MIXED)


def without(x, row, *columns):
    """One row of a batch, some of whose cells are hidden."""
    numbers, codes = x.numbers[row : row + 1].copy(), x.codes[row : row + 1].copy()
    for column in columns:
        if column < MIXED.numbers:
            numbers[0, column] = np.nan
        else:
            codes[0, column - MIXED.numbers] = MISSING
    return Batch(numbers, codes)


def by_hand(x, row, column, *hidden, case=("denoiser", 1)):
    """log p of a cell, by SciPy and a softmax, from a row in which it is missing."""
    method, weights, known = trained(*case)
    own = methods.split_members(weights, method.hyperparameters.members)[0]
    lone = methods.members_of(method)[0]
    network = with_weights(abstract_network(lone, MIXED), own)
    outputs = network.decoder.apart(network.embed(without(x, row, column, *hidden)))
    if column < MIXED.numbers:
        place = float(outputs[0][0, column])
        df, scale = (float(known[name][column]) for name in ("df", "scale"))
        return stats.t.logpdf(x.numbers[row, column], df, place, scale)
    c, layout = column - MIXED.numbers, network.likelihood.layout
    if c in layout.narrow:
        i = layout.narrow.index(c)
        first, last = (at - MIXED.numbers for at in layout.logits[i : i + 2])
        logits = outputs[1][0, first:last]
    else:
        logits = network.embeddings.layers[0].logits(outputs[1][:, -16:])[0]
    p = np.asarray(jax.nn.softmax(logits))[x.codes[row, c]]
    starts = np.concatenate([[0], np.cumsum(MIXED.levels)])
    share = known["shares"][starts[c] + x.codes[row, c]]
    return np.log(0.999 * p + 0.001 * share)


def is_there(x, row, column):
    if column < MIXED.numbers:
        return not np.isnan(x.numbers[row, column])
    return x.codes[row, column - MIXED.numbers] >= 0


@pytest.mark.parametrize("case", [("denoiser", 1), ("denoiser", 2), ("autoencoder", 1)])
def test_log_probabilities_are_those_of_cells_hidden_by_hand(case):
    method, weights, known = trained(*case)
    own = methods.split_members(weights, method.hyperparameters.members)[0]
    lone, rows = methods.members_of(method)[0], np.arange(3)
    cells = [(0, 3), (2, 4), (5, 6), (6, 1), (4, 4)]  # together; the last one is alone
    columns = np.array([[pair] * len(rows) for pair in cells], np.int32)
    some = take(X, rows)
    found = np.asarray(_hidden.log_p(lone, own, known, some, columns, rows=MIXED))
    for p, pair in enumerate(cells):
        for row in rows:
            for k in range(2):
                expected = 0.0
                if is_there(some, row, pair[k]):
                    expected = by_hand(some, row, pair[k], pair[1 - k], case=case)
                assert found[p, row, k] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_scores_are_what_their_formula_says():
    method, weights, known = trained()
    some = take(X, np.arange(30))
    found = reasons.explain(method, weights, known, some, MIXED, 3)
    np.testing.assert_allclose(found.shares.sum(axis=1), 1, rtol=1e-9)
    common = np.asarray(_hidden.log_share(known, some, rows=MIXED), np.float64)
    for row in range(3):
        there = [j for j in range(MIXED.columns) if is_there(some, row, j)]
        a = {j: by_hand(some, row, j) for j in there}
        misfit = {j: common[row, j] / 2 - a[j] for j in there}
        first = sorted(there, key=lambda j: -misfit[j])[: _explain.PARTNERS]
        candidates = first[: _explain.CANDIDATES]
        scores = dict(misfit)
        for j in candidates:
            gained = [by_hand(some, row, i, j) - a[i] for i in first if i != j]
            scores[j] += sum(gained) / 2
        least = min(scores[j] for j in candidates)
        for j in set(there) - set(candidates):
            scores[j] = min(misfit[j], least)
        powers = np.exp(np.array([scores.get(j, -np.inf) for j in range(MIXED.columns)]))
        np.testing.assert_allclose(found.shares[row], powers / powers.sum(), rtol=2e-3, atol=1e-5)
        assert (found.shares[row, [j for j in range(MIXED.columns) if j not in there]] == 0).all()


def test_how_common_a_value_is_counts_in_the_columns_own_distribution():
    _, _, known = trained()
    common = np.asarray(_hidden.log_share(known, X, rows=MIXED), np.float64)
    j = 1
    x = X.numbers[:, j].astype(np.float64)
    density = stats.t.pdf(
        x[:, None], known["df"][j], known["predictions"][j][None], known["scale"][j]
    ).mean(axis=1)
    expected = np.where(np.isnan(x), 0, np.log(density))
    np.testing.assert_allclose(common[:, j], expected, rtol=1e-4, atol=1e-4)
    c = MIXED.numbers  # the first code
    counts = np.bincount(X.codes[X.codes[:, 0] >= 0, 0], minlength=MIXED.levels[0]) + 0.5
    shares = np.log(counts / counts.sum())[X.codes[:, 0]]
    np.testing.assert_allclose(common[:, c], np.where(X.codes[:, 0] > 0, shares, 0), rtol=1e-4)


def test_what_is_expected_is_the_prediction_from_the_other_columns():
    method, weights, known = trained()
    some = take(X, np.arange(20))
    found = reasons.explain(method, weights, known, some, MIXED, MIXED.columns)
    for row in range(5):
        assert sorted(found.columns[row]) == list(range(MIXED.columns))
        assert (np.diff(found.shares[row][found.columns[row]]) <= 0).all()
        for k, column in enumerate(found.columns[row]):
            hidden = without(some, row, column)
            made = map_rows(method, "reconstruct", weights, hidden, MIXED)
            if column < MIXED.numbers:
                assert found.number[row, k] == pytest.approx(made.numbers[0, column], abs=1e-5)
            else:
                assert found.code[row, k] == made.codes[0, column - MIXED.numbers]
                assert 0 < found.probability[row, k] <= 1


def test_a_row_without_cells_blames_all_columns_alike():
    method, weights, known = trained()
    empty = Batch(np.full((1, 4), np.nan, np.float32), np.full((1, 3), MISSING, np.int32))
    found = reasons.explain(method, weights, known, empty, MIXED, 2)
    np.testing.assert_allclose(found.shares, 1 / MIXED.columns)


def test_rows_are_explained_alike_in_any_company():
    method, weights, known = trained()
    whole = reasons.explain(method, weights, known, X, MIXED, 2)
    alone = reasons.explain(method, weights, known, take(X, slice(7, 8)), MIXED, 2)
    np.testing.assert_allclose(alone.shares[0], whole.shares[7], rtol=1e-4, atol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize(("df", "scale"), [(1.0, 0.5), (3.0, 2.0), (30.0, 1.0)])
def test_student_t_is_fitted_to_draws_of_it(df, scale):
    draws = scale * np.random.default_rng(0).standard_t(df, 20_000)
    draws[:5] = np.nan
    found, width = _fit_t(draws)
    # The standard error of a scale is √((df + 3) / (2 df · 20,000)), at most 1 %.
    assert found == df and width == pytest.approx(scale, rel=0.04)


def test_statistics_have_the_shapes_that_a_folder_expects():
    found = {name: array.shape for name, array in trained()[2].items()}
    assert found == reasons.shapes(MIXED)
    assert reasons.shapes(RowSpec(2)).keys() == {"df", "scale", "predictions"}
    assert reasons.shapes(RowSpec(0, (3,))) == {"shares": (3,)}


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("denoiser", {}, True),
        ("denoiser", {"members": 2}, True),
        ("autoencoder", {"views": ("hide",)}, True),
        ("autoencoder", {}, False),
        ("vae", {}, False),
        ("simclr", {"views": ("hide",)}, False),
        ("classifier", {}, False),
    ],
)
def test_networks_that_have_learned_to_fill_cells_can_be_asked(name, settings, expected):
    for rows in (RowSpec(3), RowSpec(3, (4,), (True, False, False, False))):
        assert reasons.can_explain(make(name, **settings), rows) is expected


def test_a_cell_that_breaks_a_rule_is_found():
    """The last two columns follow from the first three; in each row one cell is of another."""
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(1500, 3)).astype(np.float32)
    total = numbers.sum(axis=1, keepdims=True) / 2
    codes = (1 + (total > 0)).astype(np.int32)
    x = Batch(np.concatenate([numbers, total], axis=1), codes)
    rows = RowSpec(4, (3,))
    method = make("denoiser", hidden_dims=(64,), latent_dim=64, epochs=0, steps=1500)
    weights = fit(method, take(x, slice(0, 1300)), spec=rows).weights
    known = reasons.fit(method, weights, take(x, slice(0, 1300)), rows)
    test = take(x, slice(1300, 1500))
    test = Batch(test.numbers.copy(), test.codes.copy())
    culprit = np.arange(200) % 2 * 1 + 3  # the total, or the code
    test.numbers[culprit == 3, 3] += np.where(rng.random(100) < 0.5, -2, 2)
    test.codes[culprit == 4, 0] = 3 - test.codes[culprit == 4, 0]
    far = np.abs(test.numbers[:, 3]) > 0.2  # near 0 the code is anyone's guess
    found = reasons.explain(method, weights, known, test, rows, 1)
    assert (found.columns[:, 0] == culprit)[far].mean() > 0.8
