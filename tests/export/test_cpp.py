"""The C++ program in docs/cpp: compiled as its page says, it gives Python's scores."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrep.data import transform
from jaxrep.export import export_run
from jaxrep.methods import AutoencoderHyperparameters
from jaxrep.runs import folder, outputs
from jaxrep.runs.train import train
from jaxrep.runs.training_rows import Columns
from tests.helpers.exports import make_run, raw_rows

PAGE = Path(__file__).parents[2] / "docs" / "cpp" / "README.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A folder with the program, as the page's own lines make it."""
    path = tmp_path_factory.mktemp("cpp")
    shutil.copy(PAGE.with_name("score.cpp"), path)
    [lines] = (
        b for b in re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.S) if "-I" in b
    )
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["bash", "-e", "-c", lines], cwd=path, env=os.environ | {"PATH": paths}, check=True
    )
    return path


@pytest.fixture(scope="module")
def model(program):
    """A run on categories, gaps and times, and its file `model.pt` beside the program."""
    rng = np.random.default_rng(0)
    lines = ["time,job,age"]
    for _ in range(50):
        job, age = rng.choice(["clerk", "smith", ""]), rng.choice(["", "30.5", "41"])
        lines.append(f"{1_700_000_000 + 1000 * rng.normal():.3f},{job},{age}")
    (program / "people.csv").write_text("\n".join(lines) + "\n")
    settings = AutoencoderHyperparameters(epochs=2, hidden_dims=(8,), latent_dim=2)
    columns = Columns()
    train(str(program / "people.csv"), program / "run", settings, columns)
    run = folder.load(program / "run")
    export_run(run, program / "model.pt")
    return run


def write_rows(path, header, rows):
    lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")


def score(program, *arguments):
    return subprocess.run(["./score", *arguments], cwd=program, capture_output=True, text=True)


def test_it_gives_the_scores_that_python_gives(program, model):
    table = outputs.read_table_of(model, str(program / "people.csv"))
    raw = transform.to_raw(model.schema, table, source="people.csv")
    raw[0, 1] = -1  # a category that training did not know
    write_rows(program / "rows.csv", "time,job,age", raw)
    done = score(program, "model.pt", "rows.csv")
    header, *lines = done.stdout.splitlines()
    assert (header, done.stderr, done.returncode) == ("score", "", 0)
    features = transform.to_features(model.schema, raw, source="here")
    expected = model.map("score", features)
    assert np.abs(np.array(lines, float) - expected).max() <= 1e-6 * expected.max()


def test_it_gives_the_scores_of_wide_codes_and_of_every_likelihood(program):
    (program / "wide").mkdir()
    run = make_run(program / "wide", "vae", "wide", likelihood="by_kind")
    export_run(run, program / "wide.pt")
    table, raw = raw_rows(run)
    raw = raw[:300]
    raw[::5, [0, 2]] = -1  # categories that training did not know
    raw[7] = np.where(np.arange(raw.shape[1]) == 3, raw[7], np.nan)
    write_rows(program / "wide_rows.csv", ",".join(table.column_names), raw)
    done = score(program, "wide.pt", "wide_rows.csv")
    assert (done.stderr, done.returncode) == ("", 0)
    expected = run.map("score", transform.to_features(run.schema, raw, source="here"))
    found = np.array(done.stdout.splitlines()[1:], float)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        ((), "", "usage: score MODEL.pt ROWS.csv"),
        (("model.pt", "absent.csv"), "", "absent.csv: cannot be read"),
        (("absent.pt", "wrong.csv"), "a\n", "absent.pt: not a TorchScript file of jaxrep's"),
        (("wrong.csv", "wrong.csv"), "a\n", "wrong.csv: not a TorchScript file of jaxrep's"),
        (
            ("model.pt", "wrong.csv"),
            "a,b\n1,2\n",
            "wrong.csv, line 2: has 2 columns, and the model takes 3",
        ),
        (
            ("model.pt", "wrong.csv"),
            "a,b,c\n1,1,1\n2,smith,2\n",
            "wrong.csv, line 3: 'smith' is not a number",
        ),
        (("model.pt", "wrong.csv"), "a,b,c\n1,1,inf\n", "row 0, column 2, counted from 0: inf"),
    ],
)
def test_what_it_cannot_use_ends_it_with_one_line(program, model, arguments, text, message):
    (program / "wrong.csv").write_text(text)
    done = score(program, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_rows_have_no_scores(program, model):
    write_rows(program / "none.csv", "time,job,age", [])
    assert score(program, "model.pt", "none.csv").stdout == "score\n"


def test_an_empty_line_is_a_row_of_one_column_and_none_of_more(program, model):
    rng = np.random.default_rng(0)
    loads = ["" if i % 9 == 0 else repr(rng.normal()) for i in range(40)]
    (program / "loads.csv").write_text("\n".join(["load", *loads]) + "\n")
    settings = AutoencoderHyperparameters(epochs=2, hidden_dims=(4,), latent_dim=1)
    train(
        str(program / "loads.csv"),
        program / "one",
        settings,
        Columns(),
    )
    run = folder.load(program / "one")
    export_run(run, program / "one.pt")
    expected = outputs.score(run, str(program / "loads.csv"))["score"].to_numpy()
    for newline in ("\n", "\r\n"):
        for end in (newline, ""):
            (program / "lines.csv").write_bytes((newline.join(["load", *loads]) + end).encode())
            done = score(program, "one.pt", "lines.csv")
            assert (done.stderr, done.returncode) == ("", 0)
            found = np.array(done.stdout.splitlines()[1:], float)
            assert len(found) == len(loads) == len(expected)
            assert np.abs(found - expected).max() <= 1e-6 * expected.max()
    (program / "gaps.csv").write_text("time,job,age\n\n1700000000,1,30\n\n")
    assert len(score(program, "model.pt", "gaps.csv").stdout.splitlines()) == 2
