"""Scales for long tails: what is fitted, by hand and by other libraries, and the way back."""

import json
import math
from statistics import NormalDist

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrep.commands._columns import TableColumns
from jaxrep.data import Columns, apply, fit, invert
from jaxrep.data.columns import SCALES, parse_scales, read_columns
from jaxrep.data.fit._ranks import Ranks
from jaxrep.data.schema import Log1p, Number, Quantile, Robust, Schema, Standard
from jaxrep.data.transform import among_others, drawn, one_hot, scaled, to_features, unscaled
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.methods import AutoencoderHyperparameters
from jaxrep.runs.rows import row_spec
from tests.helpers.refusals import refused

pytestmark = pytest.mark.quick

MAX = np.finfo(np.float64).max
FINITE = st.floats(-MAX, MAX, allow_nan=False)


def fitted(table, rows=None, **said):
    rows = rows or table.num_rows
    blocks = [table.slice(i, rows) for i in range(0, table.num_rows, rows)]
    return fit(lambda: blocks, source="data.csv", columns=Columns(**said))


def column_of(values, scale, rows=None, **said):
    table = pa.table({"x": pa.array(values)})
    return fitted(table, rows, scale=scale, kinds={"x": "number"}, **said).schema.columns[0]


def long_tailed(count, seed=0):
    return np.random.default_rng(seed).lognormal(3, 2, count)


# What is fitted


@pytest.mark.parametrize("count", [2, 5, 6, 7, 1000, 1001])
def test_robust_is_median_and_interquartile_range(count):
    values = long_tailed(count)
    column = column_of(values, "robust")
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    assert column.scaling == Robust()
    assert column.mean == pytest.approx(median, rel=1e-14)
    assert column.scale == pytest.approx((third - first) / 1.349, rel=1e-13)


def test_a_column_without_an_interquartile_range_stays_standard():
    values = np.array([5.0] * 9 + [1.0, 100.0])
    column = column_of(values, "robust")
    assert column.scaling == Standard()
    assert (column.mean, column.scale) == pytest.approx((values.mean(), values.std()))
    assert column.why == "set by --column; standard, not robust: its interquartile range is 0"


def test_log1p_is_standardised_after_the_signed_logarithm():
    values = np.array([0.0, 1.0, -1.0, 1e-12, math.e - 1, -1e15])
    column = column_of(values, "log1p")
    logs = np.array([0.0, math.log(2), -math.log(2), 1e-12, 1.0, -math.log1p(1e15)])
    assert column.scaling == Log1p()
    assert (column.mean, column.scale) == pytest.approx((logs.mean(), logs.std()), rel=1e-13)
    expected = (logs - logs.mean()) / logs.std()
    np.testing.assert_allclose(scaled(column, values), expected, rtol=1e-12)


def test_a_column_whose_logarithms_are_equal_stays_standard():
    column = column_of([1e16, 1e16 + 40, 1e16 + 80], "log1p")
    assert column.scaling == Standard()
    assert "standard, not log1p: the logarithms of its values are all equal" in column.why


def test_normal_scores_are_those_of_the_middle_of_a_rank_range():
    column = column_of([3.0, 1.0, 1.0, 7.0, 3.0, 3.0, -2.0, 3.0], "quantile")
    # Of 8 rows -2 has the ranks 0 to 1, 1 those of 1 to 3, 3 those of 3 to 7, and 7 the last.
    middles = [0.5 / 8, 2 / 8, 5 / 8, 7.5 / 8]
    assert column.scaling.values == (-2.0, 1.0, 3.0, 7.0)
    assert column.scaling.scores == pytest.approx([NormalDist().inv_cdf(p) for p in middles])
    assert (column.mean, column.scale) == (0.0, 1.0)


def test_all_distinct_values_are_kept_up_to_a_thousand():
    rng = np.random.default_rng(0)
    values = np.append(rng.integers(0, 999, 40_000), 10**6).astype(float)
    column = column_of(values, "quantile")
    known, counts = np.unique(values, return_counts=True)
    assert len(known) == 1000
    assert column.scaling.values == tuple(known)
    middles = (np.cumsum(counts) - counts / 2) / len(values)
    expected = [NormalDist().inv_cdf(p) for p in middles]
    assert column.scaling.scores == pytest.approx(expected, rel=1e-12)


def test_of_more_values_the_quantiles_of_evenly_spaced_ranks_are_kept():
    values = long_tailed(30_001)
    column = column_of(values, "quantile")
    ranks = np.arange(1000) * 30_000 // 999
    assert column.scaling.values == tuple(np.sort(values)[ranks])
    expected = [NormalDist().inv_cdf((rank + 0.5) / 30_001) for rank in ranks]
    assert column.scaling.scores == pytest.approx(expected, rel=1e-12)


def test_many_ties_among_many_values_have_the_middle_of_their_range():
    values = np.append(np.zeros(20_000), long_tailed(10_000))
    column = column_of(values, "quantile")
    score = NormalDist().inv_cdf(1 / 3)
    assert scaled(column, 0.0) == pytest.approx(score, rel=1e-12)
    assert len(column.scaling.values) < 1000 and column.scaling.values[-1] == values.max()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_blocks_of_any_length_give_the_same_scale(scale, rows):
    values = np.round(long_tailed(3000), 1)
    found, whole = (column_of(values, scale, n) for n in (rows, None))
    rounded = {} if scale in ("robust", "quantile") else {"rel": 1e-13}
    if rounded:
        assert (found.mean, found.scale) == pytest.approx((whole.mean, whole.scale), **rounded)
        assert found.scaling == whole.scaling
    else:
        assert msgspec.structs.replace(found, fill=whole.fill) == whole


@pytest.mark.parametrize("bits", [1, 4, 12, 16])
@pytest.mark.parametrize("kind", ["normal", "ties", "wide", "zeros"])
def test_values_of_ranks_and_their_ties_are_exact(bits, kind):
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.normal(size=3000),
        "ties": np.round(rng.normal(size=3000), 2),
        "wide": rng.normal(size=3000) * 10.0 ** rng.integers(-300, 300, 3000),
        "zeros": rng.choice([0.0, -0.0, 5e-324, -5e-324], 3000),
    }[kind]
    ranks = Ranks(lambda count: np.arange(0, count, 3), bits)
    while not ranks.found:
        for block in np.array_split(values, 4):
            ranks.add(block)
        ranks.end_showing()
    ordered = np.sort(values)
    np.testing.assert_array_equal(ranks.values, ordered[::3])
    np.testing.assert_array_equal(ranks.below, np.searchsorted(ordered, ordered[::3]))
    above = np.searchsorted(ordered, ordered[::3], side="right")
    np.testing.assert_array_equal(ranks.equal, above - ranks.below)


def test_gaps_do_not_count_among_ranks():
    present = long_tailed(500)
    gappy = pa.array([*present, *[None] * 100])
    for scale in ("robust", "quantile"):
        found, expected = column_of(gappy, scale), column_of(present, scale)
        assert found.has_gaps and found.scaling == expected.scaling
        assert (found.mean, found.scale) == (expected.mean, expected.scale)


@pytest.mark.parametrize("scale", SCALES)
def test_a_missing_cell_without_gaps_in_training_is_the_feature_0(scale):
    column = column_of(long_tailed(201), scale)
    x = to_features(Schema((column,)), np.array([[np.nan]]), source="new")
    assert x.numbers.tolist() == [[0.0]]


# The way there and back


@pytest.mark.parametrize("count", [50, 20_000])
def test_normal_scores_give_the_kept_values_back_to_the_bit(count):
    column = column_of(long_tailed(count), "quantile")
    kept = np.array(column.scaling.values)
    np.testing.assert_array_equal(scaled(column, kept), column.scaling.scores)
    np.testing.assert_array_equal(unscaled(column, column.scaling.scores), kept)


def test_between_quantiles_scores_are_linear_and_beyond_them_they_stay_at_the_ends():
    column = Number("x", 0.0, 1.0, None, scaling=Quantile((0.0, 10.0, 30.0), (-2.0, 0.0, 1.0)))
    values = np.array([-MAX, -1.0, 0.0, 2.5, 10.0, 25.0, 30.0, 31.0, MAX, np.nan])
    scores = [-2.0, -2.0, -2.0, -1.5, 0.0, 0.75, 1.0, 1.0, 1.0, np.nan]
    np.testing.assert_array_equal(scaled(column, values), scores)
    back = unscaled(column, [-9.0, -1.5, 0.75, 9.0, np.nan])
    np.testing.assert_array_equal(back, [0.0, 2.5, 25.0, 30.0, np.nan])


def test_a_standard_column_keeps_its_bits():
    values = long_tailed(1000)
    column = column_of(values, "standard")
    features = ((values - column.mean) / column.scale).astype(np.float32)
    x = to_features(Schema((column,)), values[:, None], source="x")
    assert x.numbers.tobytes() == features.tobytes()
    back = features.astype(np.float64) * column.scale + column.mean
    assert unscaled(column, features).tobytes() == back.tobytes()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.filterwarnings("error")
def test_extremes_are_finite_there_and_back(scale):
    values = np.array([-MAX, -1.0, -5e-324, 0.0, 5e-324, 1.0, 3.0, MAX])
    column = column_of(values, scale)
    features = scaled(column, values)
    assert np.isfinite(features).all() and (np.diff(features) >= 0).all()
    far = unscaled(column, features)
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far / MAX, values / MAX, atol=1e-12)


def test_two_quantiles_may_be_further_apart_than_the_largest_number():
    column = Number("x", 0.0, 1.0, None, scaling=Quantile((-MAX, MAX), (-1.0, 1.0)))
    values = np.array([-MAX, -MAX / 2, 0.0, MAX / 4, MAX])
    np.testing.assert_array_equal(scaled(column, values), [-1.0, -0.5, 0.0, 0.25, 1.0])
    np.testing.assert_allclose(unscaled(column, scaled(column, values)) / MAX, values / MAX)


def test_a_far_feature_of_log1p_is_the_largest_number_and_no_infinity():
    column = Number("x", 0.0, 1.0, None, scaling=Log1p())
    back = unscaled(column, [1e30, -1e30])
    assert np.isfinite(back).all() and (np.abs(back) > 1e308).all()


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_numbers_survive_the_way_there_and_back(scale, data):
    some = st.floats(-1e12, 1e12).map(lambda x: round(x, 3))
    values = data.draw(st.lists(some, min_size=3, max_size=60, unique=True))
    column = column_of(values, scale)
    new = np.array(data.draw(st.lists(st.sampled_from(values) | some, min_size=1, max_size=9)))
    new = np.clip(new, min(values), max(values))
    back = unscaled(column, scaled(column, new))
    # A number of the size of the largest has the digits of that.
    assert np.abs(back - new).max() <= 1e-9 * np.abs([*values, 1.0]).max()


@settings(deadline=None, max_examples=60)
@given(st.lists(FINITE, min_size=3, max_size=40, unique=True), st.lists(FINITE, min_size=2))
def test_scores_are_finite_and_ascend_with_the_numbers(values, new):
    column = column_of([*values, -1.0, 0.5], "quantile")
    scores = scaled(column, np.sort(new))
    assert np.isfinite(scores).all() and (np.diff(scores) >= -1e-15).all()
    assert np.isfinite(unscaled(column, scores)).all()


def test_whole_tables_come_back_in_their_types():
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "count": rng.integers(0, 50, 300),
            "born": pa.array(rng.integers(0, 20_000, 300).astype(np.int32)).cast(pa.date32()),
            "wait": pa.array(rng.integers(1, 10**6, 300)).cast(pa.duration("ms")),
            "sum": np.round(rng.normal(size=300) * 1e3, 2),
        }
    )
    for scale in SCALES:
        schema = fitted(table, scale=scale).schema
        # None of these values has a twentieth of the rows.
        expected = "quantile" if scale == "spikes" else scale
        assert {column.scaling.kind for column in schema.columns} == {expected}
        back = invert(schema, apply(schema, table, source="x"))
        assert back.schema.types == table.schema.types
        assert back["count"].to_pylist() == table["count"].to_pylist()


# What is asked for


TABLE = pa.table(
    {
        "sum": [0.5, 1.5, 2.5, 100.0],
        "age": [30, 40, 40, 25],
        "member": [True, False, True, True],
        "job": ["a", "b", "a", "b"],
        "one": [1.5, 1.5, 1.5, 1.5],
    }
)


def test_one_scale_is_for_all_numbers_but_those_with_their_own():
    schema = fitted(TABLE, scale="quantile", scales={"sum": "log1p", "one": "log1p"}).schema
    found = {c.name: c.scaling.kind for c in schema.columns if c.kind != "category"}
    assert found == {"sum": "log1p", "age": "quantile", "member": "standard"}


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({"scales": {"member": "log1p"}}, ["'member' is a boolean, which is always standard"]),
        ({"scales": {"job": "robust"}}, ["'job' is a category", "--scale 'job=robust'"]),
        ({"scales": {"age": "log1p"}, "drop": ("age",)}, ["'age' is not learned from"]),
        ({"scales": {"agee": "log1p"}}, ["--scale names 'agee'", "did you mean 'age'"]),
        ({"scales": {"age": "log"}}, ["column 'age': 'log' is not a scale; use standard"]),
        ({"scale": "log"}, ["'log' is not a scale"]),
    ],
)
def test_a_scale_that_a_column_cannot_have_is_refused(said, facts):
    refused(*facts, call=lambda: fitted(TABLE, **said))


def test_the_printed_lines_say_the_scale():
    made = fitted(TABLE, scales={"sum": "quantile"})
    assert "from 0.5 to 100; scaled by quantile" in "\n".join(made.lines("x"))
    assert "scaled" not in "\n".join(fitted(TABLE).lines("x"))


def test_flags_say_the_scale_of_all_columns_or_of_one():
    assert parse_scales([]) == (None, {})
    assert parse_scales(["a=b=log1p", "robust"]) == ("robust", {"a=b": "log1p"})
    for texts in (["log"], ["a=log"], ["=log1p"], ["robust", "log1p"], ["a=robust=b"]):
        with pytest.raises(InputError, match="--scale"):
            parse_scales(texts)


def test_files_say_scales_and_the_schema_of_a_run_gives_them_again(tmp_path):
    path = tmp_path / "columns.toml"
    path.write_text('scale = "robust"\n[scales]\nsum = "log1p"\n')
    said = read_columns(path)
    assert said == Columns(scale="robust", scales={"sum": "log1p"})
    path.write_text('[scales]\nsum = "log"\n')
    with pytest.raises(InputError, match=r"--schema .*'log'"):
        read_columns(path)
    schema = fitted(TABLE, scales={"sum": "log1p", "age": "quantile"}).schema
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema.to_json()))
    again = read_columns(path)
    assert (again.scale, again.scales) == ("standard", {"sum": "log1p", "age": "quantile"})
    assert Schema.from_json(json.loads(path.read_text())) == schema


@pytest.mark.parametrize(
    ("scaling", "reason"),
    [
        ({"kind": "log"}, "log"),
        ({"kind": "log1p", "mean": 1.0}, "mean"),
        ({"kind": "quantile", "values": [1.0], "scores": [1.0]}, "length >= 2"),
        ({"kind": "quantile", "values": [1.0, 2.0], "scores": [1.0, 2.0, 3.0]}, "3 scores"),
        ({"kind": "quantile", "values": [2.0, 1.0], "scores": [1.0, 2.0]}, "values that do not"),
        ({"kind": "quantile", "values": [1.0, 2.0], "scores": [1.0, 1.0]}, "scores that do not"),
        ({"kind": "quantile", "values": [1.0, "2"], "scores": [1.0, 2.0]}, "float"),
        ({"kind": "quantile", "values": [0.0, math.inf], "scores": [1.0, 2.0]}, "float"),
        ({"kind": "quantile", "values": [*range(1001)], "scores": [*range(1001)]}, "1000"),
    ],
)
def test_a_scale_that_cannot_be_is_refused(scaling, reason):
    from torch_ref.description import FileFormatError, check_description

    plain = fitted(TABLE).schema.to_json()
    plain["columns"][0]["scaling"] = scaling
    with pytest.raises(ModelFormatError, match=reason):
        Schema.from_json(plain)
    with pytest.raises(FileFormatError, match="schema: "):
        check_description({"method": "pca", "hyperparameters": {}, "schema": plain})


def test_a_boolean_in_a_file_is_standard():
    from torch_ref.description import FileFormatError, check_description

    plain = fitted(TABLE).schema.to_json()
    plain["columns"][2]["scaling"] = {"kind": "log1p"}
    with pytest.raises(ModelFormatError, match="a boolean is always standard"):
        Schema.from_json(plain)
    with pytest.raises(FileFormatError, match="a boolean is always standard"):
        check_description({"method": "pca", "hyperparameters": {}, "schema": plain})


# Beside gaps and likelihoods


GAPPY = pa.table({"sum": pa.array([0.0, None, 3.0, 100.0, None, 8.0]), "n": [1, 2, 2, 9, 5, 3]})


@pytest.mark.parametrize("scale", SCALES)
def test_missing_numbers_stay_missing_on_any_scale(scale):
    schema = fitted(GAPPY, scale=scale).schema
    batch = apply(schema, GAPPY, source="x")
    np.testing.assert_array_equal(np.isnan(batch.numbers[:, 0]), GAPPY["sum"].is_null())
    back = invert(schema, batch)["sum"]
    np.testing.assert_array_equal(back.is_null(), GAPPY["sum"].is_null())
    np.testing.assert_allclose(
        back.drop_null(), GAPPY["sum"].drop_null(), rtol=1e-5, atol=1e-5
    )  # float32
    present = fitted(GAPPY.slice(2, 2), scale=scale).schema.row_spec()
    assert (schema.row_spec().gaps, present.gaps) == ((True, False), ())
    dense, numbers = one_hot(schema, batch), batch.numbers[:, 0]
    if scale == "spikes":  # which stand among the other numbers
        numbers = among_others(schema.columns[0], numbers).astype(np.float32)
    np.testing.assert_array_equal(dense[:, 0], np.nan_to_num(numbers))


@pytest.mark.parametrize("scale", SCALES)
def test_imputed_numbers_are_the_median_on_any_scale(scale):
    schema = fitted(GAPPY, scale=scale, impute="median").schema
    column = schema.columns[0]
    assert (column.fill, schema.row_spec().gaps) == (5.5, ())
    numbers = apply(schema, GAPPY, source="x").numbers[:, 0]
    assert numbers[[1, 4]].tolist() == [np.float32(scaled(column, 5.5))] * 2


def test_mean_and_deviation_of_logarithms_count_what_is_imputed_and_no_gap():
    present = np.log1p([0.0, 3.0, 100.0, 8.0])
    for impute, logs in ((None, present), ("median", [*present, *np.log1p([5.5, 5.5])])):
        column = fitted(GAPPY, scale="log1p", impute=impute).schema.columns[0]
        expected = np.mean(logs), np.std(logs)
        assert (column.mean, column.scale) == pytest.approx(expected, rel=1e-13)


def test_medians_are_found_only_to_be_imputed():
    for scale in SCALES:
        assert fitted(GAPPY, scale=scale).schema.columns[0].fill is None


@pytest.mark.parametrize("scale", ["robust", "log1p", "quantile"])
def test_poisson_is_for_counts_on_the_standard_scale(scale):
    from torch_ref.description import FileFormatError, check_description

    said = {"scale": scale, "likelihoods": {"n": "poisson"}}
    facts = ["--column-likelihood n=poisson", "on the scale standard", f"the scale {scale}"]
    refused(*facts, call=lambda: fitted(GAPPY, **said))
    schema = fitted(GAPPY, **said | {"scales": {"n": "standard"}}).schema
    assert [c.scaling.kind for c in schema.columns] == [scale, "standard"]
    assert row_spec(schema, AutoencoderHyperparameters()).likelihoods == ("squared", "poisson")

    other = fitted(GAPPY, scale=scale).schema.columns[1].scaling
    columns = (schema.columns[0], msgspec.structs.replace(schema.columns[1], scaling=other))
    changed = msgspec.structs.replace(schema, columns=columns)
    refused(
        "'n' is a count",
        "the scale standard",
        call=lambda: row_spec(changed, AutoencoderHyperparameters()),
    )
    with pytest.raises(ModelFormatError, match="poisson is for counts on the scale standard"):
        Schema.from_json(changed.to_json())
    with pytest.raises(FileFormatError, match="poisson is for counts on the scale standard"):
        check_description({"method": "pca", "hyperparameters": {}, "schema": changed.to_json()})


def test_files_set_scales_and_likelihoods_together(tmp_path):
    path = tmp_path / "columns.toml"
    path.write_text(
        'scale = "robust"\nimpute = "median"\n[columns]\nsum = "number"\n'
        '[likelihoods]\nn = "poisson"\n[scales]\nn = "standard"\n'
    )
    said = read_columns(path)
    kinds, poisson, scales = {"sum": "number"}, {"n": "poisson"}, {"n": "standard"}
    assert said == Columns(
        kinds=kinds, impute="median", likelihoods=poisson, scale="robust", scales=scales
    )
    path = tmp_path / "schema.json"
    schema = fit(lambda: [GAPPY], source="x", columns=said).schema
    path.write_text(json.dumps(schema.to_json()))
    again = read_columns(path)
    assert (again.likelihoods, again.scales) == ({"n": "poisson"}, {"sum": "robust"})
    assert Schema.from_json(json.loads(path.read_text())) == schema


def test_flags_set_scales_and_likelihoods_together(tmp_path):
    flags = TableColumns(
        column_likelihood=("n=poisson",), scale=("robust", "n=standard"), impute="median"
    )
    expected = Columns(
        impute="median", likelihoods={"n": "poisson"}, scale="robust", scales={"n": "standard"}
    )
    assert flags.columns() == expected
    path = tmp_path / "columns.toml"
    path.write_text('scale = "log1p"\n[scales]\nsum = "quantile"\n')
    found = TableColumns(schema=path, scale=("n=standard",))
    assert found.columns() == Columns(scale="log1p", scales={"sum": "quantile", "n": "standard"})


# Spikes


def spiked(values):
    return column_of(values, "spikes")


def test_values_that_a_twentieth_of_the_rows_share_are_spikes():
    rng = np.random.default_rng(0)
    rest = rng.normal(size=500)
    column = spiked(np.concatenate([rest, np.zeros(400), np.full(90, 7.5), np.full(10, 9.0)]))
    assert column.scaling.spikes == (0.0, 7.5)
    features = scaled(column, [0.0, 7.5, 9.0, *rest, np.nan])
    assert features[:2].tolist() == [8, 9] and np.isnan(features[-1])
    assert (np.abs(features[2:-1]) < 4).all() and abs(features[3:-1].mean()) < 0.05
    np.testing.assert_allclose(unscaled(column, features[3:-1]), rest, atol=1e-12)
    assert unscaled(column, [8.0, 9.0, 8.4, 99.0]).tolist() == [0, 7.5, 0, 7.5]


def test_the_others_have_the_scores_that_they_have_among_themselves():
    rest = np.arange(100.0)
    alone = column_of(rest, "quantile").scaling
    beside = spiked(np.concatenate([rest, np.full(50, 33.5), np.full(50, 1e6)])).scaling
    assert (beside.values, beside.scores) == (alone.values, alone.scores)
    assert beside.is_complete and beside.spikes == (33.5, 1e6)


@pytest.mark.parametrize(
    "values", [[1.0, 2.0] * 30, [1.0] * 30 + [2.0] * 40 + [3.0], [5.0] * 40 + [6.0]]
)
def test_where_hardly_anything_is_no_spike_all_values_come_back(values):
    column = spiked(values)
    assert set(column.scaling.spikes) <= set(values)
    assert unscaled(column, scaled(column, values)).tolist() == values


def test_a_column_without_spikes_is_on_the_scale_quantile():
    values = np.random.default_rng(0).normal(size=300)
    assert spiked(values) == column_of(values, "quantile")


def test_normal_draws_have_values_in_the_shares_of_the_training_rows():
    rng = np.random.default_rng(0)
    shares = {1.0: 0.02, 2.0: 0.3, 10.0: 0.04, 11.0: 0.25, 12.0: 0.39}
    values = np.repeat(list(shares), [int(1000 * share) for share in shares.values()])
    column = column_of(values, "quantile")
    made = drawn(column, rng.normal(size=200_000))
    for value, share in shares.items():
        assert abs((made == value).mean() - share) < 0.004
    assert drawn(column, scaled(column, values)).tolist() == values.tolist()
    assert np.isnan(drawn(column, [np.nan])).all()


def test_drawn_numbers_lie_between_quantiles_where_not_all_values_are_known():
    values = np.random.default_rng(0).normal(size=5000)
    column = column_of(values, "quantile")
    assert not column.scaling.is_complete
    x = np.linspace(-3, 3, 50)
    np.testing.assert_array_equal(drawn(column, x), unscaled(column, x))


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"spikes": [2.0, 1.0]}, "spikes that do not ascend"),
        ({"spikes": []}, "length >= 1"),
        ({"scores": [-1.0, 7.5]}, "scores of 7 or more beside spikes"),
    ],
)
def test_odd_spikes_are_refused(change, fact):
    plain = {"kind": "spikes", "values": [0.0, 1.0], "scores": [-1.0, 1.0], "spikes": [3.0]}
    column = {"kind": "number", "name": "x", "mean": 0.0, "scale": 1.0, "fill": None}
    with pytest.raises(ModelFormatError, match=fact):
        Schema.from_json({"schema_version": 3, "columns": [column | {"scaling": plain | change}]})
