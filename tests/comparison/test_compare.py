"""`compare` of whole tables: what it finds in rows that are right, wrong, copied or made apart."""

import json

import numpy as np
import pyarrow as pa
import pytest

from jaxrep.comparison import compare, render
from jaxrep.data import Columns
from jaxrep.errors import InputError

ROWS = 1500


def people(seed, rows=ROWS):
    """People whose pay depends on their age and job, some of whose cells are missing."""
    draws = np.random.default_rng(seed)
    age = draws.integers(18, 70, rows)
    job = draws.choice(["clerk", "smith", "baker", "judge"], rows, p=[0.5, 0.3, 0.195, 0.005])
    pay = 20.0 * age + 500 * (job == "smith") + draws.normal(0, 100, rows)
    gap = draws.random(rows) < 0.1
    return pa.table(
        {
            "age": age,
            "job": job,
            "pay": pa.array(pay, mask=gap),
            "member": draws.random(rows) < 0.3,
            "height": draws.normal(170, 10, rows),
            "row": np.arange(rows),
        }
    )


@pytest.fixture(scope="module")
def tables():
    return people(0), people(1), people(2)


@pytest.fixture(scope="module")
def found(tables):
    real, made, holdout = tables
    return compare(real, made, holdout, target="job")


def column(found, name):
    return next(column for column in found.columns if column.name == name)


def shuffled(table, *names):
    draws = np.random.default_rng(0)
    for i, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(i, name, table[name].take(draws.permutation(len(table))))
    return table


def test_rows_of_the_same_source_are_told_from_nothing(found):
    assert found.rows == {"real": ROWS, "made": ROWS, "holdout": ROWS}
    assert found.left_out == ("row",) and [c.name for c in found.columns] == [
        "age",
        "job",
        "pay",
        "member",
        "height",
    ]
    assert found.column_error < 0.04 and found.pair_error < 0.08
    # Two samples of 1,500 rows: errors scatter by about .01.
    assert found.floor == pytest.approx((found.column_error, found.pair_error), abs=0.03)
    assert abs(found.apart.auc - 0.5) < 0.05
    assert abs(found.closeness.nearer - 0.5) < 4 * found.closeness.error
    assert found.closeness.copies < 0.01
    assert abs(found.usefulness.made - found.usefulness.real) < 0.06
    assert found.usefulness.measure == "accuracy" and found.usefulness.real > 0.7


def test_columns_that_are_drawn_apart_from_each_other_fail_by_pairs_and_rows(tables, found):
    real, _, holdout = tables
    made = shuffled(real, "pay", "job")
    apart = compare(real, made, holdout, target="job")
    assert apart.column_error == 0.0
    assert apart.pair_error > found.pair_error + 0.02
    assert apart.apart.auc > 0.8
    assert apart.usefulness.made < apart.usefulness.real - 0.1
    worst = min(apart.pairs, key=lambda pair: pair.score)
    assert "pay" in worst.names


def test_copies_are_found(tables):
    real, made, holdout = tables
    half = ROWS // 2
    copied = compare(real, pa.concat_tables([real.slice(0, half), made.slice(0, half)]), holdout)
    assert copied.closeness.copies == pytest.approx(0.5, abs=0.01)
    assert copied.closeness.usual < 0.01
    assert copied.closeness.nearer > 0.5 + 10 * copied.closeness.error
    assert "copies of real rows" in render(copied) and "50.0" in render(copied)


def test_without_a_holdout_nothing_is_said_of_how_near_rows_are(tables):
    real, made, _ = tables
    alone = compare(real, made, target="pay")
    near = alone.closeness
    assert near.nearer is near.usual is near.error is alone.floor is None
    assert alone.usefulness.measure == "R²" and alone.usefulness.rows == ROWS - ROWS // 4
    assert "holdout" not in render(alone)


def test_what_cannot_be_is_counted(tables):
    real, made, _ = tables
    rows = made.to_pydict()
    rows["age"][:3] = [17, 200, 30.5]
    rows["job"] = [
        "king" if i < 5 else "smith" if job == "baker" else job for i, job in enumerate(rows["job"])
    ]
    rows["pay"] = [None] * (ROWS // 2) + rows["pay"][ROWS // 2 :]
    odd = compare(real, pa.table(rows | {"age": [float(x) for x in rows["age"]]}))
    age, job, pay = (column(odd, name) for name in ("age", "job", "pay"))
    assert (age.outside, age.broken) == (2, 1)
    assert (job.outside, job.lost, job.common) == (5, ("baker",), 3)
    assert job.rare == (1, 1) and job.drift > 0.15
    assert pay.missing[1] > 0.5 > 0.2 > pay.missing[0]
    text = render(odd)
    assert "lost: baker; 5 of no real level" in text
    assert "2 out of range; 1 not whole" in text and "missing 5" in text


def test_the_result_is_plain_data(found):
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["column_error"] == found.column_error
    assert len(plain["pairs"]) == 10 and len(plain["columns"]) == 5
    assert plain["floor"].keys() == {"column_error", "pair_error"}


def test_a_column_without_a_cell_has_no_score_and_spoils_no_mean(tables):
    real, made, _ = tables
    gone = made.set_column(2, "pay", pa.nulls(ROWS, pa.float64()))
    found = compare(real, gone)
    assert np.isnan(column(found, "pay").score) and np.isfinite(found.column_error)
    assert "undefined" in render(found) and "undefined %" not in render(found)
    assert json.dumps(found.to_json(), allow_nan=False)


def test_kinds_are_asked_for_as_in_training(tables):
    real, made, _ = tables
    found = compare(real, made, columns=Columns(kinds={"age": "category"}, drop=("pay",)))
    assert column(found, "age").measure == "TVComplement"
    assert found.left_out == ("pay", "row")


def test_a_category_of_very_many_levels_is_compared_in_little_memory():
    draws = np.random.default_rng(0)
    real, made, holdout = (
        pa.table({"town": draws.integers(0, 60_000, 90_000).astype(str)}) for _ in range(3)
    )
    columns = Columns(kinds={"town": "category"})
    found = compare(real, made, holdout, columns=columns)
    assert column(found, "town").rare[0] > 20_000  # and the levels of one row are merged
    assert 0.45 < found.closeness.nearer < 0.6


def test_a_target_that_made_rows_never_have_teaches_nothing(tables):
    real, made, _ = tables
    gone = made.set_column(2, "pay", pa.nulls(ROWS, pa.float64()))
    assert compare(real, gone, target="pay").to_json()["usefulness"]["made"] is None


@pytest.mark.parametrize(
    ("change", "target", "fact"),
    [
        (lambda t: t.slice(0, 5), None, "made: 5 rows; 20 are needed"),
        (
            lambda t: t.drop_columns(["pay"]),
            None,
            "made: not the columns of real: missing .* 'pay'",
        ),
        (lambda t: t, "wage", "real: there is no column 'wage' to predict; there are age, job"),
        (lambda t: t, "row", "no column 'row' to predict"),
    ],
)
def test_what_cannot_be_compared_is_refused(tables, change, target, fact):
    with pytest.raises(InputError, match=fact):
        compare(tables[0], change(tables[1]), target=target)


def test_the_same_seed_gives_the_same_result(tables, found):
    assert compare(*tables, target="job").to_json() == found.to_json()
