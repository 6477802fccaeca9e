"""Tables of numbers and categories with gaps, through every command; streamed and in memory."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrep.cli import main
from jaxrep.data import read_table, transform
from jaxrep.data.columns import read_columns
from jaxrep.runs import folder, selection
from jaxrep.training import row_store
from tests.helpers import dying
from tests.helpers.commands import call, done
from tests.helpers.interruptions import kill_and_resume

ROWS = 96
HEADER = ("id", "age", "visits", "member", "job", "since", "note", "y")
SMALL = ("--recipe", "seed", "--hidden-dims", "6", "--latent-dim", "3", "--batch-size", "32")
ROLES = ("--label", "y", "--id-column", "id")
LEARNED = ("age", "visits", "member", "job", "since")
GAPS = 0.15
NOTE = "as long as no category is, and another one in each of the rows"


def make_rows(seed=0):
    """Rows of two groups; a share of the cells that are learned from is missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(ROWS):
        group = i % 2
        cells = [
            f"{30 + 20 * group + rng.normal():.2f}".replace(".", ","),
            str(rng.poisson(2 + 6 * group)),
            "TRUE" if rng.random() < 0.2 + 0.6 * group else "FALSE",
            ("baker", "clerk", "smith")[group + int(rng.integers(2))],
            f"{rng.integers(13, 29)}.0{1 + group}.2020",
        ]
        missing = rng.random(len(cells)) < GAPS
        kept = ["" if gap else cell for cell, gap in zip(cells, missing, strict=True)]
        rows.append([f"r{i}", *kept, f"note {i}, {NOTE}", group])
    return rows


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def cells_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("mixed") / "people.csv", make_rows())


@pytest.fixture(scope="module")
def runs(table):
    """An autoencoder that hides cells, a VAE by kind of two members, and a SimCLR."""
    flags = {
        "autoencoder": ("--views", "hide", "--validation-fraction", "0.1", "--epochs", "60"),
        "vae": ("--likelihood", "by_kind", "--column-likelihood", "visits=poisson"),
        "simclr": ("--views", "scarf"),
    }
    made = {}
    for method, own in flags.items():
        made[method] = table.parent / method
        length = () if "--epochs" in own else ("--epochs", "3")
        members = ("--members", "2") if method == "vae" else ()
        argv = ("train", method, table, "--out", made[method], *SMALL, *ROLES)
        done(*argv, *own, *length, *members)
    return made


@pytest.mark.parametrize("method", ["autoencoder", "vae", "simclr"])
def test_outputs_of_mixed_rows_are_finite(runs, table, tmp_path, method):
    for command in ("embed", "score"):
        out = tmp_path / f"{command}.parquet"
        done(command, runs[method], table, "--out", out)
        found = pq.read_table(out).drop_columns(["id"])
        assert all(np.isfinite(column.to_numpy().astype(float)).all() for column in found.columns)
    assert found.num_rows == ROWS


def test_reconstructions_draws_and_paths_have_the_columns_of_the_table(runs, table, tmp_path):
    run = runs["vae"]
    outputs = {
        "reconstruct": (run, table),
        "generate": (run, "-n", "9"),
        "interpolate": (run, table, "--rows", "0", "95", "--steps", "4"),
    }
    for command, argv in outputs.items():
        done(command, *argv, "--out", tmp_path / "o.parquet")
        made = pq.read_table(tmp_path / "o.parquet")
        learned = made.select(list(LEARNED))
        assert [str(field.type) for field in learned.schema] == [
            *("double", "int64", "bool", "string", "date32[day]"),
        ]
        assert all(column.null_count == 0 for column in learned.columns), command
        assert set(made["job"].to_pylist()) <= {"baker", "clerk", "smith"}
    done("embed", run, table, "--out", tmp_path / "z.parquet")
    done("decode", run, tmp_path / "z.parquet", "--out", tmp_path / "d.parquet")
    done("reconstruct", run, table, "--out", tmp_path / "r.parquet")
    assert pq.read_table(tmp_path / "d.parquet").equals(pq.read_table(tmp_path / "r.parquet"))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prepared_folder_trains_as_its_table_does(table, tmp_path, streamed):
    flags = (*SMALL, "--epochs", "2", "--batch-size", "96")
    prepared = done("prepare", table, "--out", tmp_path / "rows", *ROLES)
    assert (prepared["numbers"], prepared["codes"]) == (4, 1)
    done("train", "vae", table, "--out", tmp_path / "a", *ROLES, *flags)
    stream = ("--stream", "always" if streamed else "never")
    done("train", "vae", tmp_path / "rows", "--out", tmp_path / "b", *flags, *stream)
    one, other = (folder.load(tmp_path / name) for name in "ab")
    assert one.schema == other.schema and one.rows == other.rows
    losses = [[epoch["loss"] for epoch in run.history] for run in (one, other)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    # Of a store they are counted in buckets, and not interpolated between two rows.
    scores = [run.config["score_quantiles"]["scores"] for run in (one, other)]
    np.testing.assert_allclose(scores[0][0], scores[1][0], rtol=1e-3)
    np.testing.assert_allclose(scores[0][-1], scores[1][-1], rtol=1e-3)


@pytest.mark.parametrize(("scale", "warned"), [("standard", True), ("spikes", False)])
def test_a_prepared_folder_on_another_scale_than_the_recipes_is_warned_of(
    table, tmp_path, capsys, scale, warned
):
    done("prepare", table, "--out", tmp_path / "rows", *ROLES, "--scale", scale)
    flags = ("--hidden-dims", "4", "--latent-dim", "2", "--epochs", "1", "--out", tmp_path / "run")
    capsys.readouterr()
    assert main(["train", "vae", *map(str, (tmp_path / "rows", *flags))]) == 0
    assert ("on another scale than spikes" in capsys.readouterr().err) == warned


def test_a_head_is_trained_on_mixed_rows(runs, table, tmp_path):
    flags = ("--validation-fraction", "0.2", "--schedule", "constant", "--epochs", "200")
    for name in ("autoencoder", "vae"):
        held_out = []
        for stream in ("never", "always"):
            out = tmp_path / f"{name}_{stream}"
            argv = ("finetune", runs[name], table, "--label", "y", "--out", out, *flags)
            held_out.append(done(*argv, "--stream", stream)["held_out"])
        assert held_out[0]["accuracy"] > 0.7
        # The head comes to the same optimum in blocks, by other steps.
        assert held_out[1] == pytest.approx(held_out[0], rel=1e-3)
        assert done("resume", out, "--epochs", "202")["resumed_from_step"] > 0
        result = done("predict", out, table, "--out", tmp_path / "p.csv")
        assert result["rows"] == ROWS


def test_a_mixed_run_that_is_killed_ends_with_the_bits_of_one_left_alone(
    table, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(row_store, "BLOCK_BYTES", dying.BLOCK_BYTES)
    flags = (*SMALL, *ROLES, "--epochs", "12", "--checkpoint-every", "1", "--views", "hide")
    command = ["train", "autoencoder", str(table), *flags, "--stream", "always"]
    kill_and_resume(command, tmp_path, capsys, [("manifest", 3), ("arrays", 4)])


# Filling.


def test_fill_touches_missing_cells_alone_and_writes_them_as_the_column_does(runs, table, tmp_path):
    result = done("reconstruct", runs["autoencoder"], table, "--fill", "--out", tmp_path / "f.csv")
    before, after = cells_of(table), cells_of(tmp_path / "f.csv")
    assert len(after) == len(before) and after[0] == list(HEADER)
    filled = dict.fromkeys(LEARNED, 0)
    groups = {name: ([], []) for name in LEARNED}
    for old, new in zip(before[1:], after[1:], strict=True):
        for name, was, now in zip(HEADER, old, new, strict=True):
            if was or name not in LEARNED:
                assert now == was
            else:
                filled[name] += 1
                groups[name][int(old[-1])].append(now)
    assert result["filled"] == filled and min(filled.values()) > 0
    assert result["cells"] == {}
    everyone = [cell for name in LEARNED for group in groups[name] for cell in group]
    assert all(everyone)
    assert all("," in cell for group in groups["age"] for cell in group)
    assert set(groups["member"][0] + groups["member"][1]) <= {"TRUE", "FALSE"}
    assert set(groups["job"][0] + groups["job"][1]) <= {"baker", "clerk", "smith"}
    assert all(cell[-8:-5] in (".01", ".02") for group in groups["since"] for cell in group)
    # The age of a group of 50 is reconstructed as greater than that of a group of 30.
    younger, older = ([float(cell.replace(",", ".")) for cell in g] for g in groups["age"])
    assert np.mean(younger) < np.mean(older)
    # What is filled is read again, and then there is nothing to fill.
    again = done("reconstruct", runs["autoencoder"], tmp_path / "f.csv", "--fill", "--out",
                 tmp_path / "g.csv")  # fmt: skip
    assert again["filled"] == {}
    assert cells_of(tmp_path / "g.csv") == after


def test_fill_keeps_the_types_and_the_order_of_a_typed_table(tmp_path):
    rng = np.random.default_rng(0)
    gaps = rng.random((5, 40)) < 0.2
    columns = {
        "b": pa.array(rng.normal(size=40).astype(np.float32), mask=gaps[0]),
        "n": pa.array(rng.integers(0, 9, 40).astype(np.int16), mask=gaps[1]),
        "flag": pa.array(rng.random(40) < 0.5, mask=gaps[2]),
        "id": pa.array([f"x{i}" for i in range(40)]),
        "kind": pa.array(rng.choice(["u", "v"], 40), mask=gaps[3]).dictionary_encode(),
        "at": pa.array(rng.integers(0, 9, 40) * 86_400, mask=gaps[4]).cast(pa.timestamp("s")),
    }
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), source)
    done("train", "vae", source, "--out", tmp_path / "run", *SMALL, "--epochs", "2")
    argv = ("reconstruct", tmp_path / "run", source, "--fill", "--out", tmp_path / "f.parquet")
    result = done(*argv)
    before, after = read_table(str(source)), read_table(str(tmp_path / "f.parquet"))
    assert after.schema.names == before.schema.names
    assert after.schema.types == before.schema.types
    counts = dict(zip(("b", "n", "flag", "kind", "at"), gaps.sum(axis=1).tolist(), strict=True))
    assert result["filled"] == counts
    for name in columns:
        pairs = zip(before[name].to_pylist(), after[name].to_pylist(), strict=True)
        assert all(now is not None and was in (None, now) for was, now in pairs), name


@pytest.mark.slow
def test_fill_warns_of_columns_whose_gaps_the_run_has_not_seen(tmp_path):
    rows = make_rows()
    whole = [[*row[:1], row[1] or "40,5", *row[2:]] for row in rows]
    source = write_csv(tmp_path / "whole.csv", whole)
    holes = write_csv(tmp_path / "holes.csv", [[row[0], "", *row[2:]] for row in whole])
    for views, is_warned in (((), True), (("--views", "hide"), False)):
        run = tmp_path / f"run{len(views)}"
        done("train", "autoencoder", source, "--out", run, *SMALL, *ROLES, "--epochs", "2", *views)
        argv = ("reconstruct", run, holes, "--fill", "--out", tmp_path / "f.csv", "--json")
        code, out, err = call(*argv)
        assert code == 0 and json.loads(out.splitlines()[-1])["filled"]["age"] == ROWS
        assert ("no missing cells in 'age'," in err and "--recipe filling" in err) == is_warned
    # A network that has seen hidden cells is told of the gaps, whatever the training table had.
    hiding = folder.load(run)
    raw = transform.to_raw(hiding.schema, read_table(str(holes)), source="holes")
    x = transform.to_features(hiding.schema, raw, source="holes")
    assert (x.numbers[:, 0] == 0).all()
    x.numbers[:, 0] = np.nan
    expected = transform.to_values(hiding.schema, hiding.map("reconstruct", x))[:, 0]
    filled = [float(row[1].replace(",", ".")) for row in cells_of(tmp_path / "f.csv")[1:]]
    np.testing.assert_allclose(filled, expected, rtol=1e-12)


def test_a_run_that_refuses_gaps_fills_none(tmp_path):
    whole = [row for row in make_rows() if all(row[1:6])]
    source = write_csv(tmp_path / "whole.csv", whole)
    argv = ("train", "vae", source, "--out", tmp_path / "run", *SMALL, *ROLES, "--epochs", "1")
    done(*argv, "--impute", "refuse")
    holes = write_csv(tmp_path / "holes.csv", make_rows())
    argv = ("reconstruct", tmp_path / "run", holes, "--fill", "--out", tmp_path / "f.csv")
    code, _, err = call(*argv)
    assert code == 2 and "missing" in err and "'age'" in err
    assert not (tmp_path / "f.csv").exists()


# Likelihoods.


def test_likelihoods_follow_from_the_kinds_and_a_columns_own_wins(runs, table, tmp_path):
    run = folder.load(runs["vae"])
    names = [column.name for column in run.schema.numeric]
    assert dict(zip(names, run.rows.number_likelihoods, strict=True)) == {
        "age": "gaussian",
        "visits": "poisson",
        "member": "bernoulli",
        "since": "gaussian",
    }
    visits, member = run.schema.numeric[1:3]
    np.testing.assert_array_equal(
        run.weights["likelihood.mean"][0], np.float32([visits.mean, member.mean])
    )
    np.testing.assert_array_equal(
        run.weights["likelihood.scale"][1], np.float32([visits.scale, member.scale])
    )
    assert folder.load(runs["autoencoder"]).rows.likelihoods == ()
    # The schema of a run keeps them, and so does a TOML file.
    assert read_columns(runs["vae"] / "schema.json").likelihoods == {"visits": "poisson"}
    (tmp_path / "c.toml").write_text('[likelihoods]\nvisits = "poisson"\n')
    argv = ("train", "vae", table, "--schema", tmp_path / "c.toml", *SMALL, *ROLES)
    done(*argv, "--epochs", "1", "--out", tmp_path / "run")
    expected = ("squared", "poisson", "squared", "squared")
    assert folder.load(tmp_path / "run").rows.likelihoods == expected


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("age=poisson", "poisson is for counts"),
        ("visits=bernoulli", "bernoulli is for booleans"),
        ("job=gaussian", "'job' is a category"),
        ("note=squared", "'note' is left out"),
        ("agee=squared", "did you mean 'age'?"),
        ("age=normal", "must be NAME=KIND"),
        ("=poisson", "must be NAME=KIND"),
    ],
)
def test_a_likelihood_that_a_column_cannot_have_is_refused(table, tmp_path, flag, said):
    argv = ("prepare", table, "--out", tmp_path / "rows", *ROLES, "--column-likelihood", flag)
    code, _, err = call(*argv)
    assert code == 2 and said in err and f"--column-likelihood {flag.split('=')[0]}"[:20] in err
    assert not (tmp_path / "rows").exists()


@pytest.mark.slow
def test_a_sweep_over_likelihoods_compares_by_squares(table, tmp_path):
    argv = ("sweep", "vae", table, "--out", tmp_path / "run", *SMALL, *ROLES, "--epochs", "3")
    done(*argv, "--grid", "likelihood=squared,by_kind", "--save-all")
    swept = pq.read_table(tmp_path / "run" / "sweep.parquet").to_pylist()
    errors = {row["likelihood"]: row["validation_error"] for row in swept}
    held_out = np.random.default_rng(0).permutation(ROWS)[:10]
    rows = make_rows()
    source = write_csv(tmp_path / "held_out.csv", [rows[i] for i in held_out])
    scores = {}
    for i, name in enumerate(errors):
        member = tmp_path / "run" / "members" / f"{i:04d}"
        done("score", member, source, "--out", tmp_path / "s.parquet")
        scores[name] = pq.read_table(tmp_path / "s.parquet")["score"].to_numpy().mean()
    assert errors["squared"] == pytest.approx(scores["squared"], rel=1e-5)
    assert errors["by_kind"] != pytest.approx(scores["by_kind"], rel=1e-3)


@pytest.mark.slow
def test_a_sweep_over_views_compares_runs_that_hide_cells_with_others(table, tmp_path):
    argv = ("sweep", "simclr", table, "--out", tmp_path / "run", *SMALL, *ROLES, "--epochs", "2")
    done(*argv, "--views", "hide", "--grid", "views=hide,noise+dropout")
    losses = pq.read_table(tmp_path / "run" / "sweep.parquet")[selection.COMMON].to_pylist()
    assert np.isfinite(losses).all() and len(set(losses)) == 2


# Categories.


def test_unknown_categories_are_counted_and_change_the_score(runs, table, tmp_path):
    rows = make_rows()
    at = [i for i, row in enumerate(rows) if row[4]][:3]
    for i in at:
        rows[i][4] = "astronaut"
    source = write_csv(tmp_path / "strange.csv", rows)
    scores = {}
    for name, data in (("usual", table), ("strange", source)):
        result = done("score", runs["autoencoder"], data, "--out", tmp_path / "s.parquet")
        assert result["cells"].get("unknown", {}) == ({"job": 3} if name == "strange" else {})
        scores[name] = pq.read_table(tmp_path / "s.parquet")["score"].to_numpy()
    assert np.flatnonzero(scores["strange"] != scores["usual"]).tolist() == at
    done("reconstruct", runs["autoencoder"], source, "--fill", "--out", tmp_path / "f.csv")
    assert [row[4] for row in cells_of(tmp_path / "f.csv")[1:]].count("astronaut") == 3


def test_a_column_of_2000_levels_trains_and_is_reconstructed(tmp_path):
    rng = np.random.default_rng(0)
    city = np.repeat([f"c{i:04d}" for i in range(2000)], 2)
    city = pa.array(city[rng.permutation(4000)], mask=rng.random(4000) < 0.01)
    source = tmp_path / "cities.parquet"
    pq.write_table(pa.table({"city": city, "x": rng.normal(size=4000)}), source)
    flags = (*SMALL, "--epochs", "1", "--column", "city=category")
    done("train", "autoencoder", source, "--out", tmp_path / "run", *flags)
    run = folder.load(tmp_path / "run")
    [levels] = run.rows.levels
    assert levels > 1900 and run.weights["embeddings.0.table"].shape == (levels + 1, 16)
    argv = (tmp_path / "run", source, "--fill", "--out", tmp_path / "f.parquet")
    assert done("reconstruct", *argv)["filled"] == {"city": city.null_count}
    done("reconstruct", tmp_path / "run", source, "--out", tmp_path / "r.parquet")
    assert set(pq.read_table(tmp_path / "r.parquet")["city"].to_pylist()) <= set(city.to_pylist())
