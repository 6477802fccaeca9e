"""Untrained runs to export, and their files taken apart and put together again."""

import contextlib
import io
import json
import zipfile

import numpy as np
import safetensors.numpy

from jaxrep.data import Columns, fit, read_table, transform
from jaxrep.data.targets import Classes, Numbers
from jaxrep.methods import make
from jaxrep.parity._models import draw_weights, of_shape
from jaxrep.runs import folder, outputs
from jaxrep.runs.making import describe
from jaxrep.runs.rows import network_constants, row_spec
from tests.helpers.saved_runs import results
from torch_ref import verify
from torch_ref.files import write_safetensors

ARCHITECTURES = {"plain": ((8,), 2), "deep": ((8, 5), 3), "shallow": ((), 2)}
TARGETS = {
    "classes": Classes("sold", (False, True)),
    "numbers": Numbers("price", mean=250_000.5, scale=40_000.25),
}
SECRET = 314159.2718281828


def plain_matrix(path):
    np.save(path / "plain.npy", np.random.default_rng(0).normal(size=(60, 4)))
    return path / "plain.npy", Columns()


def times_with_gaps(path):
    rng = np.random.default_rng(1)
    lines = ["time,load,level"]
    for i in range(60):
        load = "" if i % 7 == 0 else f"{rng.normal():.4f}"
        level = SECRET if i == 30 else rng.normal(50, 3)
        lines.append(f"{1_700_000_000 + 100 * rng.normal():.3f},{load},{level!r}")
    (path / "times.csv").write_text("\n".join(lines) + "\n")
    return path / "times.csv", Columns()


def mixed(path):
    rng = np.random.default_rng(2)
    lines = ["job,age,city"]
    for i in range(60):
        job = "" if i % 9 == 0 else rng.choice(["clerk", "smith", "baker"])
        lines.append(f"{job},{rng.normal(40, 9):.2f},{rng.choice(['Ulm', 'Bonn'])}")
    (path / "mixed.csv").write_text("\n".join(lines) + "\n")
    return path / "mixed.csv", Columns()


def all_kinds(path):
    """A column of each kind, as a CSV writes them, gaps and blanks among them."""
    rng = np.random.default_rng(3)
    lines = ["income;children;member;city;since;seen;wait;zip;answer;grade"]
    for i in range(60):
        income = "" if i % 7 == 0 else f"{rng.integers(1, 90)}.{rng.integers(100, 1000)},5"
        member = "NA" if i % 11 == 0 else str(i % 3 == 0)
        city = rng.choice([" Ulm", "Bonn ", "Köln"])
        since = f"{1 + i % 28}.{1 + i % 12}.2023"
        seen = f"2024-01-{1 + i % 28:02} 08:{i % 60:02}:07.{i:03}"
        wait = f"{i % 3}:{rng.integers(60):02}:{rng.integers(60):02}"
        number = rng.choice([50667, 89073, 1067])
        answer, grade = rng.choice(["TRUE", "FALSE", "maybe"]), rng.choice(["1.0", "2.50"])
        line = (income, rng.integers(9), member, city, since, seen, wait, number, answer, grade)
        lines.append(";".join(map(str, line)))
    (path / "kinds.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path / "kinds.csv", Columns(kinds={"zip": "category", "grade": "category"})


def long_tails(path):
    rng = np.random.default_rng(4)
    lines = ["amount,income,visits,change"]
    for i in range(80):
        amount, income = rng.lognormal(3, 3), rng.lognormal(8, 2)
        visits = 0 if i % 3 else rng.integers(1000)
        lines.append(f"{amount:.2f},{income:.2f},{visits},{rng.standard_cauchy():.3f}")
    (path / "tails.csv").write_text("\n".join(lines) + "\n")
    return path / "tails.csv", Columns(
        scale="quantile", scales={"amount": "log1p", "change": "robust"}
    )


def spiked_table(path):
    """Numbers that have spikes, with gaps and without, and one that has spikes alone."""
    rng = np.random.default_rng(6)
    lines = ["gain,hours,city,rooms,area"]
    for i in range(1100):
        gain = 0 if i % 3 else rng.integers(1, 9000)
        hours = "" if i % 8 == 0 else rng.choice([40, 40, 38, rng.integers(1, 80)])
        city = "" if i % 9 == 0 else rng.choice(["Ulm", "Bonn", "Köln"])
        lines.append(f"{gain},{hours},{city},{rng.choice([1.5, 2.5])},{rng.normal(60, 20):.2f}")
    (path / "spiked.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path / "spiked.csv", Columns(scale="spikes")


def wide_table(path):
    """Numbers of every likelihood, narrow and wide codes, in turn and with gaps, and no order."""
    rng = np.random.default_rng(5)
    lines = ["city,income,place,visits,member,since"]
    for i in range(3300):
        city = "" if i % 9 == 0 else rng.choice(["Ulm", "Bonn", "Köln"])
        place = "" if i % 11 == 0 else f"p{i % 1050}"
        income = "" if i % 7 == 0 else f"{rng.normal(40, 9):.2f}"
        member = "" if i % 13 == 0 else rng.choice(["true", "false"])
        lines.append(f"{city},{income},{place},{rng.poisson(4)},{member},2023-01-{1 + i % 28:02}")
    (path / "wide.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kinds = {"place": "category", "visits": "count"}
    return path / "wide.csv", Columns(kinds=kinds, likelihoods={"visits": "poisson"})


DATA = {"plain": plain_matrix, "times": times_with_gaps, "mixed": mixed}


def make_run(path, method, data="plain", architecture="plain", **settings):
    """A run that was never trained: drawn weights, written as training would."""
    tables = DATA | {"kinds": all_kinds, "tails": long_tails, "wide": wide_table}
    tables["spiked"] = spiked_table
    source, columns = tables[data](path)
    settings = of_shape(method, *ARCHITECTURES[architecture], **settings)
    table = read_table(str(source))
    schema = fit(lambda: [table], source=str(source), columns=columns).schema
    rows = row_spec(schema, settings)
    weights = draw_float32(make(settings), rows, network_constants(schema, rows))
    config = describe(str(source), settings, columns) | results(path / "run", method)
    if settings.predicts is not None:
        config["target"] = TARGETS[settings.predicts].to_json()
    config["score_quantiles"] = {"levels": [0.0, 1.0], "scores": [0.0, 1.0]}
    folder.begin(path / "run", config, schema)
    folder.append_metrics(path / "run", {"epoch": 1, "loss": 1.0})
    folder.finish(path / "run", config, weights)
    return folder.load(path / "run")


def draw_float32(method, rows, constants):
    """Drawn weights, but for those that follow from a schema."""
    weights = {name: array.astype(np.float32) for name, array in draw_weights(method, rows).items()}
    for name, value in constants.items():
        for own in (own for own in weights if own.endswith(name)):
            weights[own] = np.broadcast_to(value, weights[own].shape).copy()
    return weights


def raw_rows(run):
    table = outputs.read_table_of(run, run.config["data"]["source"])
    return table, transform.to_raw(run.schema, table, source="here")


def run_verify(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verify.main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rezipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def rewritten(source, target, change):
    """Writes a safetensors file again after `change` has had its description and weights."""
    weights = safetensors.numpy.load(source.read_bytes())
    length = int.from_bytes(source.read_bytes()[:8], "little")
    text = json.loads(source.read_bytes()[8 : 8 + length])["__metadata__"]["jaxrep"]
    described = json.loads(text)
    change(described, weights)
    write_safetensors(target, described, weights)
