"""The report of a run on a table of numbers, categories, one of them wide, and gaps."""

import html
import re

import numpy as np
import pytest

from jaxrep.data.schema import CategoricalColumn, Number, Schema
from jaxrep.report import samples
from jaxrep.report.subject import of_run
from jaxrep.runs.folder import load
from tests.helpers import mixed
from tests.helpers.commands import done
from tests.helpers.parsed import Parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    mixed.write(folder / "people.parquet")
    done("train", "vae", folder / "people.parquet", "--out", folder / "run", *mixed.FLAGS)
    done("report", folder / "run", "--no-parity")
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "run" / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def subject(folder):
    return of_run(load(folder / "run"), None, 0.01, note=lambda message: None)


def cells(text, caption):
    """The rows of a table of the page, by what their first cells say."""
    body = re.search(rf"<caption>{caption}.*?<tbody>(.*?)</tbody>", text, re.DOTALL)[1]
    rows = [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]
    return {row[0]: row[1:] for row in rows}


def test_the_page_counts_numbers_and_categories(text):
    page = Parsed(text)
    shown = "\n".join(page.texts)
    assert "3 numbers, 2 categories" in shown
    names = {a["id"] for a in page.of("section")}
    assert {"columns", "samples", "interpolations", "units", "anomalies"} <= names


def test_errors_are_in_nats_and_in_the_units_of_their_kind(text, subject):
    found = cells(text, "Error of each column")
    assert next(iter(found)) == "town" and found.keys() == {*subject.run.schema.names}
    terms, x = subject.terms_in_table_order, subject.x
    for i, column in enumerate(subject.run.schema.columns):
        nats, in_units, wrong = found[column.name]
        is_there = np.array(mixed.make_table()[column.name].is_valid())
        assert float(nats) == pytest.approx(terms[is_there, i].mean(), rel=1e-3)
        assert (in_units == "–") == isinstance(column, CategoricalColumn) != (wrong == "–")
    jobs = subject.run.schema.categorical[1]
    assert jobs.name == "job"
    is_there = x.codes[:, 1] >= 0
    share = np.mean(x.codes[is_there, 1] != subject.x_hat.codes[is_there, 1])
    assert found["job"][2] == f"{100 * share:.3g} %"


def test_the_worst_rows_name_the_column_that_most_of_the_score_is_of(text, subject):
    found = cells(text, "The rows with the highest scores")
    for row, told in found.items():
        terms = subject.terms_in_table_order[int(row)]
        assert told[-2] == subject.run.schema.names[terms.argmax()]
        assert told[-1] == f"{100 * terms.max() / terms.sum():.0f} %"


def test_samples_are_compared_by_kind_over_the_cells_that_are_there(text):
    numbers = cells(text, "Samples and data, numbers")
    levels = cells(text, "Samples and data, categories")
    assert numbers.keys() == {"age", "height", "member"} and levels.keys() == {"town", "job"}
    ages = mixed.make_table()["age"].drop_null().to_numpy()
    assert float(numbers["age"][1]) == pytest.approx(ages.mean(), rel=1e-3)
    jobs, counts = np.unique(mixed.make_table()["job"].drop_null(), return_counts=True)
    most = counts.argmax()
    assert levels["job"][1] == f"{jobs[most]} ({100 * counts[most] / counts.sum():.3g} %)"


@pytest.mark.quick
def test_the_distance_of_levels_is_half_of_what_their_shares_differ_by():
    job = CategoricalColumn("job", ("other", "smith"), has_gaps=True)
    data = np.array([0, 0, 1, -1, np.nan])  # a level may be called as those of no level are
    compared = samples._compared(Schema((job,)), data[:, None], np.array([[0.0], [1.0]]))
    (one,) = compared["Categories"]
    assert one.distance == pytest.approx((0 + 0.25 + 0.25) / 2)
    assert one.row() == ["job", one.distance, "other (50 %)", "other (50 %)"]


@pytest.mark.quick
def test_a_column_without_cells_is_not_compared():
    job = CategoricalColumn("job", ("clerk", "smith"), has_gaps=True)
    schema = Schema((job, Number("age", 40.0, 10.0, None, has_gaps=True)))
    data, made = np.full((3, 2), np.nan), np.array([[0.0, 3.0], [1.0, 5.0]])
    compared = samples._compared(schema, data, made)
    assert compared["Categories"][0].row() == ["job", None, None, "clerk (50 %)"]
    assert compared["Numbers"][0].row() == ["age", None, None, 4.0, None, 1.0]


def test_a_row_whose_cells_are_all_missing_but_one_is_shown(folder, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = mixed.make_table(40)
    for name in ("age", "job"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.nulls(40, table[name].type))
    pq.write_table(table, tmp_path / "gaps.parquet")
    argv = ("report", folder / "run", "--data", tmp_path / "gaps.parquet")
    done(*argv, "--out", tmp_path / "gaps.html", "--no-parity")
    found = cells((tmp_path / "gaps.html").read_text("utf-8"), "Error of each column")
    assert found["age"] == found["job"] == ["–", "–", "–"]
