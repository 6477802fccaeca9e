"""New rows: how they are drawn, conditions on them, and what is said of what they lack."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jaxrep.cli import main
from jaxrep.data.schema import Boolean, Schema
from jaxrep.errors import InputError
from jaxrep.estimators import VAEEmbedding
from jaxrep.runs.conditions import hold, parse_conditions
from jaxrep.runs.folder import Run
from jaxrep.runs.generating import draw_features, generate, seen_in

ROWS = 400


def make_people(seed=0):
    """People whose pay follows their age, most of them without a debt, few of them abroad."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, ROWS)
    return pd.DataFrame(
        {
            "age": age,
            "pay": np.round(age * 1000 + rng.normal(0, 2000, ROWS), 2),
            "debt": np.where(rng.random(ROWS) < 0.6, 0.0, np.round(rng.gamma(2, 50, ROWS), 1)),
            "country": rng.choice(["France", "Spain", "Malta"], ROWS, p=[0.6, 0.37, 0.03]),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D"),
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return VAEEmbedding(hidden_dims=(32,), latent_dim=4, epochs=250, batch_size=50).fit(
        make_people()
    )


@pytest.fixture(scope="module")
def plain():
    """The same on the scale standard."""
    settings = {"hidden_dims": (8,), "latent_dim": 2, "epochs": 3, "recipe": "seed"}
    return VAEEmbedding(**settings).fit(make_people())


def test_rows_are_made_of_standard_normal_draws(fitted, monkeypatch):
    taken = []
    compute = Run.map

    def watch(self, function, given):
        taken.append((function, given))
        return compute(self, function, given)

    monkeypatch.setattr(Run, "map", watch)
    generate(fitted.run_, 20_000, seed=3)
    [(function, draws)] = taken
    # One for the Gaussian of the mixture, four latents, a cell each of five columns, and a spike.
    assert function == "generate" and draws.shape == (20_000, 1 + 4 + 5 + 1)
    error = 1 / np.sqrt(20_000)
    assert (np.abs(draws.mean(axis=0)) < 4 * error).all()
    assert (np.abs(np.cov(draws.T) - np.eye(11)) < 6 * error).all()


def test_rows_keep_to_the_types_the_values_and_the_ranges_that_were_seen(fitted):
    people, made = make_people(), fitted.sample(2000, seed=1)
    assert list(made) == list(people) and (made.dtypes == people.dtypes).all()
    assert made["age"].between(people["age"].min(), people["age"].max()).all()
    assert made["since"].between(people["since"].min(), people["since"].max()).all()
    assert set(made["age"]) <= set(people["age"])  # whole numbers are those that were seen
    assert (made["debt"] == 0).mean() == pytest.approx((people["debt"] == 0).mean(), abs=0.1)
    assert set(made["country"]) == set(people["country"])
    assert np.corrcoef(made["age"], made["pay"])[0, 1] > 0.6


def test_cells_are_missing_as_often_and_where_they_were():
    people = make_people()
    people.loc[people["country"] == "Spain", ["pay", "debt"]] = None
    people.loc[people["age"] > 70, "country"] = None
    model = VAEEmbedding(hidden_dims=(32,), latent_dim=4, epochs=250, batch_size=50).fit(people)
    made = model.sample(4000)
    gap = (people.isna().mean() - made.isna().mean()).abs()
    assert gap.max() < 0.05
    spain = made["country"] == "Spain"
    assert made.loc[spain, "pay"].isna().mean() > 0.9 > 0.1 > made.loc[~spain, "pay"].isna().mean()
    assert (made["pay"].isna() == made["debt"].isna()).mean() > 0.97
    assert made.loc[made["country"].isna(), "age"].mean() > 65
    assert generate(model.run_, 500, mean=True).column("pay").null_count == 0
    plain = model.set_params(draw_missing=False, epochs=3).fit(people).sample(500)
    assert not plain.isna().any().any()


def test_the_first_rows_of_more_are_those_of_fewer_and_a_seed_decides_them(fitted):
    few, more = fitted.sample(5, seed=2), fitted.sample(500, seed=2)
    pd.testing.assert_frame_equal(few, more.head(5))
    assert not fitted.sample(5, seed=3).equals(few)


def test_the_mean_of_rows_draws_latents_alone(fitted):
    drawn, mean = fitted.sample(2000, seed=1), fitted.sample(2000, seed=1, mean=True)
    apart = [np.std(made["pay"] - 1000 * made["age"]) for made in (drawn, mean)]
    assert apart[1] < apart[0]
    features = [draw_features(fitted.run_, 200, seed=1, mean=mean) for mean in (False, True)]
    assert not np.array_equal(features[0].codes, features[1].codes)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("country=France", [True, False, False]),
        ("country!=France", [False, True, False]),
        ("age>=30", [False, True, True]),
        ("age>29.5,country=Spain", [False, True, False]),
        ("age < 31", [True, True, False]),
        ("age=30", [False, True, False]),
        ("member=true", [True, False, False]),
        ("since<=2021-06-01", [True, False, True]),
    ],
)
def test_conditions_hold_of_the_cells_that_meet_them_and_of_no_missing_one(fitted, text, holds):
    table = pa.table(
        {
            "age": [20, 30, 40],
            "country": ["France", "Spain", None],
            "member": [True, False, None],
            "since": pa.array(["2021-01-01", "2022-01-01", "2021-06-01"]).cast(pa.date32()),
        }
    )
    member = Boolean("member", 0.5, 0.5, None)
    columns = (*fitted.run_.schema.columns, member)
    schema = Schema(tuple(column for column in columns if column.name in table.column_names))
    assert hold(parse_conditions([text]), schema, table).tolist() == holds


def test_rows_are_drawn_until_enough_meet_the_conditions(fitted):
    notes = []
    where = parse_conditions(["country=Spain,age>=60"])
    made = generate(fitted.run_, 300, seed=4, where=where, note=notes.append).to_pandas()
    assert len(made) == 300
    assert (made["country"] == "Spain").all() and (made["age"] >= 60).all()
    (note,) = notes
    drawn = int(note.split()[0].replace(",", ""))
    everyone = generate(fitted.run_, 1 << 16, seed=4).to_pandas().head(drawn)
    kept = everyone[(everyone["country"] == "Spain") & (everyone["age"] >= 60)]
    assert f"{300 / drawn:.2%} met" in note and len(kept) == 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("town=Paris", "there is no column 'town'; there are age, pay"),
        ("country=Frnce", "'Frnce' is none of the 3 values that 'country' had in training"),
        ("country>France", "'country' holds categories, which = and != compare"),
        ("age=old", "'old' is no count, which 'age' holds"),
        ("since>soon", "'soon' is no datetime"),
        ("age", "must be COLUMN=VALUE"),
        ("age>1000", "none of 65,536 rows drawn met the conditions"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused(fitted, monkeypatch, text, said):
    monkeypatch.setattr("jaxrep.runs.generating.MOST_DRAWN", 100)
    with pytest.raises(InputError, match=said):
        generate(fitted.run_, 10, where=parse_conditions([text]))


def test_a_column_that_was_left_out_is_told_from_one_that_is_not_there():
    people = make_people().assign(number=np.arange(ROWS) + 1000)
    model = VAEEmbedding(recipe="seed", steps=5, columns={"number": "id"})
    schema = model.fit(people).run_.schema
    where = parse_conditions(["number>1200"])
    with pytest.raises(InputError, match="'number' was left out of training, and new rows"):
        hold(where, schema, pa.table({"age": [1]}))


def test_too_few_rows_that_meet_the_conditions_are_refused_with_how_many_there_are(
    fitted, monkeypatch
):
    monkeypatch.setattr("jaxrep.runs.generating.MOST_DRAWN", 1)
    monkeypatch.setattr("jaxrep.runs.generating._BLOCK", 1000)
    where = parse_conditions(["country=Malta"])
    with pytest.raises(InputError, match=r"of 1,000 rows drawn \d+ met the conditions, and 900"):
        generate(fitted.run_, 900, where=where)


def test_values_outside_of_what_was_seen_and_levels_that_are_lost_are_said(plain, fitted):
    notes = []
    generate(plain.run_, 2000, note=notes.append)
    (outside,) = [note for note in notes if "range in training" in note]
    assert "age" in outside and "train with --scale spikes" in outside
    notes.clear()
    generate(fitted.run_, 2000, note=notes.append)
    assert not notes
    config = dict(fitted.run_.config)
    seen = config["seen"]
    assert seen["ranges"] == {} and set(seen["levels"]["country"]) == {"France", "Spain", "Malta"}
    assert sum(seen["levels"]["country"].values()) == pytest.approx(1)
    weights = dict(fitted.run_.weights)
    name = max(n for n in weights if n.startswith("decoder") and n.endswith("bias"))
    lost = weights[name].copy()
    lost[4 + 1 + list(fitted.run_.schema.categorical[0].levels).index("Malta")] = -50
    run = dataclasses.replace(fitted.run_, weights=weights | {name: lost})
    generate(run, 2000, note=notes.append)
    (warned,) = notes
    assert "column 'country': new rows have hardly any Malta (" in warned


def test_what_training_has_seen_is_in_the_tables_units(plain):
    people, run = make_people(), plain.run_
    features, _ = plain._features(people)
    seen = seen_in(run.schema, features)
    assert seen["ranges"]["age"] == pytest.approx([people["age"].min(), people["age"].max()])
    assert seen == run.config["seen"]


def test_little_is_said_of_few_rows(fitted):
    notes = []
    generate(fitted.run_, 20, note=notes.append)  # in which a level of 3 % may well not be
    assert not notes


@pytest.mark.parametrize(("beta", "collapses"), [(1e4, True), (0.02, False)])
def test_latents_that_have_collapsed_are_said_with_what_to_do(beta, collapses, tmp_path, capsys):
    make_people().to_csv(tmp_path / "people.csv", index=False)
    flags = ("--beta", str(beta), "--hidden-dims", "8", "--latent-dim", "2", "--steps", "1500")
    source, out = str(tmp_path / "people.csv"), str(tmp_path / "run")
    assert main(["train", "vae", source, "--out", out, *flags]) == 0
    said = "the latents have collapsed" in capsys.readouterr().err
    assert said == collapses
