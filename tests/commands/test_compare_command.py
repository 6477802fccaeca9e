"""`jaxrep compare`: tables in files, its page, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.helpers.commands import call, done

ROWS = 300


def rows(seed):
    draws = np.random.default_rng(seed)
    size = draws.normal(size=ROWS)
    return pa.table(
        {
            "size": size,
            "kind <b>": np.where(size + draws.normal(size=ROWS) > 0, "big & tall", "small"),
            "born": draws.integers(0, 9999, ROWS).astype("datetime64[D]"),
            "code": draws.integers(1, 4, ROWS),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real rows as CSV, made ones as Parquet, and a holdout."""
    path = tmp_path_factory.mktemp("compare")
    pyarrow.csv.write_csv(rows(0), path / "real.csv")
    pyarrow.parquet.write_table(rows(1), path / "made.parquet")
    pyarrow.csv.write_csv(rows(2), path / "holdout.csv")
    return path


@pytest.fixture(scope="module")
def argv(folder):
    return ("compare", folder / "real.csv", folder / "made.parquet")


def test_tables_of_any_kind_are_compared(folder, argv):
    found = done(*argv, "--holdout", folder / "holdout.csv", "--target", "kind <b>")
    assert found["made"] == str(folder / "made.parquet")
    assert {c["name"]: c["kind"] for c in found["columns"]} == {
        "size": "number",
        "kind <b>": "category",
        "born": "datetime",
        "code": "count",
    }
    assert 0 < found["column_error"] < 0.1 and 0 < found["pair_error"] < 0.15
    assert found["closeness"]["copies"] == 0 and found["usefulness"]["real"] > 0.6
    as_category = done(*argv, "--column", "code=category", "--drop", "born")
    assert [c["measure"] for c in as_category["columns"]][-1] == "TVComplement"
    assert as_category["left_out"] == ["born"] and as_category["usefulness"] is None


def test_what_is_printed_names_the_worst_first(argv):
    code, out, err = call(*argv)
    assert code == 0 and not err
    assert out.startswith("300 real, 300 made rows")
    assert "told apart, AUC (0.5: not at all)" in out and "copies of real rows" in out


def test_the_page_shows_every_column_and_escapes_its_name(folder, argv):
    out = folder / "page.html"
    _, said, _ = call(*argv, "--out", out)
    assert said.splitlines()[-1] == f"wrote {out}"
    page = out.read_text()
    assert page.count("<svg") == 2 and 'role="img"' in page
    assert "kind &lt;b&gt;" in page and "<b>" not in page.replace("<body", "")
    assert "big &amp; " in page and "CorrelationSimilarity" in page
    assert 'src="http' not in page and 'href="http' not in page


def test_a_run_s_schema_says_what_columns_are(folder, argv):
    toml = folder / "columns.toml"
    toml.write_text('drop = ["size"]\n[columns]\ncode = "category"\n')
    found = done(*argv, "--schema", toml)
    assert found["left_out"] == ["size"]
    assert found["columns"][-1]["kind"] == "category"


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--target", "kind"), ["real.csv: there is no column 'kind' to predict"]),
        (("--column", "sizes=number"), ["'sizes'"]),
        (("--holdout", "none.csv"), ["none.csv"]),
        (("--out", "no-such-folder/page.html"), ["no-such-folder"]),
    ],
)
def test_what_is_wrong_is_refused(argv, flags, facts):
    code, _, err = call(*argv, *flags)
    assert code == 2 and err.count("\n") == 1
    assert all(fact in err for fact in facts), err


def test_no_table_is_written_over(folder, argv):
    code, _, err = call(*argv, "--out", folder / "real.csv")
    assert code == 2 and "is the table to read" in err


def test_a_made_table_that_lacks_a_column_is_refused(folder, tmp_path):
    pyarrow.csv.write_csv(rows(1).drop_columns(["born"]), tmp_path / "made.csv")
    code, _, err = call("compare", folder / "real.csv", tmp_path / "made.csv")
    assert code == 2 and "made.csv" in err and "'born'" in err


def test_the_json_has_no_nan(argv, folder, tmp_path):
    table = rows(1)
    pyarrow.parquet.write_table(
        table.set_column(0, "size", pa.nulls(ROWS, pa.float64())), tmp_path / "made.parquet"
    )
    _, out, _ = call("compare", folder / "real.csv", tmp_path / "made.parquet", "--json")
    found = json.loads(out.splitlines()[-1], parse_constant=pytest.fail)
    assert found["columns"][0]["score"] is None
