"""What a user's work compiles: each program once, whatever the number of rows."""

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from jaxrep.cli import main
from jaxrep.estimators import VAEEmbedding
from jaxrep.training import members
from tests.helpers.compilations import count_compilations

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(RNG.normal(size=(90, 4)), columns=list("abcd")).assign(
    kind=RNG.choice(["x", "y"], 90)
)
SETTINGS = {"hidden_dims": (7,), "latent_dim": 3, "epochs": 2}


def work(folder, table, draws, **settings):
    """All that is done with a run: in Python, and by the commands."""
    data, labelled, run = (str(folder / name) for name in ("data.csv", "labelled.csv", "run"))
    x = table.drop(columns="kind")
    x.to_csv(data, index=False)
    table.to_csv(labelled, index=False)
    model = VAEEmbedding(**SETTINGS | settings, validation_fraction=0.2)
    z = model.fit_transform(x)
    model.score_samples(x)
    model.inverse_transform(z)
    model.sample(draws)
    model.save(run)
    VAEEmbedding.load(run).transform(x)
    for command in (
        ["evaluate", run, labelled, "--label", "kind"],
        ["report", run, "--data", data],
        ["score", run, data, "--out", str(folder / "scores.csv")],
        ["generate", run, "-n", str(draws), "--out", str(folder / "made.csv")],
    ):
        assert main(command) == 0


def programs(compiled):
    """The names of what was compiled, but for JAX's own functions of single arrays."""
    names = [
        message.split("Finished XLA compilation of ")[1].split(" in ")[0] for message in compiled
    ]
    return [
        name for name in names if "run_members" in name or "validate" in name or "_apply" in name
    ]


@pytest.mark.end_to_end
def test_work_on_another_table_of_the_same_columns_compiles_nothing(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with jax.log_compiles(), count_compilations() as compiled:
        work(tmp_path / "first", TABLE, draws=5)
    trained = [name for name in programs(compiled) if "_apply" not in name]
    assert len(trained) == len(set(trained)) == 2  # a chunk of steps, and the rows held out
    with jax.log_compiles(), count_compilations() as compiled:
        work(
            tmp_path / "second", TABLE[:67], draws=9, beta=2.0, learning_rate=1e-2, epochs=3, seed=4
        )
    assert programs(compiled) == []


def test_a_grid_search_trains_in_one_program():
    members.run_members.clear_cache()
    grid = {"learning_rate": [1e-3, 1e-2], "beta": [1.0, 4.0]}
    with jax.log_compiles(), count_compilations() as compiled:
        GridSearchCV(VAEEmbedding(**SETTINGS | {"latent_dim": 4}), grid, cv=3).fit(
            TABLE.drop(columns="kind")
        )
    assert sum("run_members" in name for name in programs(compiled)) == 1


def test_tables_of_any_length_share_the_program_of_their_width():
    members.run_members.clear_cache()
    with jax.log_compiles(), count_compilations() as compiled:
        for rows, columns in zip(RNG.integers(20, 3000, 9), [3, 4, 5] * 3, strict=True):
            VAEEmbedding(**SETTINGS | {"latent_dim": 2}).fit(RNG.normal(size=(rows, columns)))
    assert sum("run_members" in name for name in programs(compiled)) == 3
