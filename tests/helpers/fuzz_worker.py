"""A process that reads one damaged thing after another, in bounded memory, and judges each result.

It is told `table 17` or `bundle 17`, a line each, and answers with a line of JSON: `outcome`, and
`why` it is a failure. What kills it, or takes too long, is for whoever started it to notice.
"""

import contextlib
import csv
import functools
import gzip
import io
import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import safetensors.numpy

from jaxrep.cli import main
from jaxrep.data import apply, fit, read_blocks, read_table
from jaxrep.errors import InputError
from jaxrep.runs import folder
from tests.helpers import mutated_bundles, mutated_tables
from torch_ref import verify

MEMORY = 1536 << 20  # beyond what the process takes before its first case
SMALL = ("--epochs", "1", "--hidden-dims", "4", "--latent-dim", "2", "--batch-size", "16")


class Wrong(Exception):
    """Neither a refusal nor a correct result."""


def require(holds, why):
    if not holds:
        raise Wrong(why)


def call(*argv, run=main):
    """Runs a command line; returns exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in argv])
    return code, out.getvalue(), err.getvalue()


def refused(code, out, err):
    """Says whether a command refused, and checks that it did so in one line."""
    if code == 0:
        return False
    last = err.splitlines()[-1] if err else ""  # warnings may stand before
    require(code == 2, f"exit code {code}: {err[-300:]}")
    require(out == "", f"a result beside a refusal: {out[:200]}")
    require(last.startswith("jaxrep: ") and "Traceback" not in err, f"no message: {err[-300:]}")
    return True


# Tables


def judge_table(number, here):
    suffix, data = mutated_tables.case(number)
    path = here / f"table{suffix}"
    path.write_bytes(data)
    if number % 21 == 0:
        return judge_training(path, here)
    notes = []
    try:
        table = read_table(str(path), note=notes.append)
        schema = fit(lambda: [table], source=str(path)).schema
        x = apply(schema, table, source=str(path))
    except InputError as error:
        require(str(error).startswith(str(path)), f"does not name the file: {error!s:.200}")
        return "refused"
    spec, rows = schema.row_spec(), len(x.numbers)
    require(x.numbers.shape == (table.num_rows, spec.numbers) and rows, "numbers of another shape")
    gaps = np.isnan(x.numbers) & np.array(spec.number_gaps, bool)
    require((np.isfinite(x.numbers) | gaps).all(), "numbers that are not finite")
    if x.codes is not None:
        least = -np.array(spec.code_gaps, int)
        right = (x.codes >= least) & (x.codes < np.array(spec.levels))
        require(x.codes.shape == (rows, spec.codes) and right.all(), "codes of no level")
    if table.num_rows > 10 * mutated_tables.ROWS:  # unpacked, much of the same
        return "correct (large)"
    blocks = list(read_blocks(str(path), rows=7))
    require(sum(b.num_rows for b in blocks) == rows, "blocks have another number of rows")
    check_cells(table.to_pydict(), *others(suffix, path, notes))
    if number % 10 == 9 and not suffix.startswith(".csv"):
        require(rows == mutated_tables.ROWS, "rows are missing")
    return "correct"


def judge_training(path, here):
    """The whole way, from the file to a run folder that loads."""
    answer = call("train", "autoencoder", path, "--out", here / "run", *SMALL)
    if "loss" in answer[2] and answer[0] == 1:  # numbers that a training cannot bear
        return "diverged"
    if refused(*answer):
        require(os.listdir(here) == [path.name], f"left behind: {os.listdir(here)}")
        return "refused (train)"
    require(folder.load(here / "run").history, "no metrics")
    return "correct (train)"


def others(suffix, path, notes):
    """Names and columns as another reader has them, told what was found out of a CSV."""
    if suffix == ".parquet":
        found = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
        return found.column_names, list(found.to_pydict().values())
    if suffix.startswith(".np"):
        array = np.load(path, allow_pickle=False)
        if suffix == ".npz":
            array = array["X"] if "X" in array.files else array[array.files[0]]
        return [f"x{i}" for i in range(array.shape[1])], list(array.T)
    opened = gzip.open if suffix == ".csv.gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        said = [re.fullmatch(r"the delimiter is '(.+)'", note) for note in notes]
        delimiter = next((found[1].replace("\\t", "\t") for found in said if found), ",")
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    if any(note.startswith("no header line") for note in notes):
        rows.insert(0, [f"x{i}" for i in range(len(rows[0]))])
    columns = list(zip(*rows[1:], strict=True))
    if any(note.startswith("the first column, 0, 1, 2") for note in notes):
        return rows[0][1:], columns[1:]
    names = [name.strip() for name in rows[0]]
    if any(note.startswith("the first column has no name") for note in notes):
        names[0] = "unnamed_0"
    return names, columns


def check_cells(table, other_names, other_columns):
    require(list(table) == list(other_names), f"columns {list(table)}, not {other_names}")
    for (name, ours), theirs in zip(table.items(), other_columns, strict=True):
        require(len(ours) == len(theirs), f"{name}: {len(ours)} rows, not {len(theirs)}")
        for mine, other in zip(ours, theirs, strict=True):
            require(same(mine, other), f"{name}: {mine!r}, not {other!r}")


def same(mine, other):
    if mine is None or other is None or isinstance(mine, str):
        return mine == other
    return bool(mine == other) or (mine != mine and other != other)


# Bundles


@functools.cache
def sound():
    """The sound run and files, the table that the run was trained on, and its embeddings."""
    here = Path("sound")
    here.mkdir()
    made = mutated_bundles.make_sound(here, os.environ["FUZZ_FORMATS"].split())
    assert call("embed", here / "run", here / "mixed.csv", "--out", here / "z.npy")[0] == 0
    return *made, here / "mixed.csv", np.load(here / "z.npy")


def judge_bundle(number, here):
    whole, files, data, z = sound()
    content = mutated_bundles.case(number, whole, files)
    if len(content) > 1:
        for name, part in content.items():
            (here / "run" / name).parent.mkdir(parents=True, exist_ok=True)
            (here / "run" / name).write_bytes(part)
        return judge_folder(here / "run", data, here, z if number % 10 == 9 else None)
    [(suffix, part)] = content.items()
    path = here / f"model{suffix}"
    path.write_bytes(part)
    outcome = judge_verify(path)
    answer = call("import", path, "--out", here / "run", "--trust")
    if refused(*answer):
        require(os.listdir(here) == [path.name], f"left behind: {os.listdir(here)}")
        require(number % 10 != 9 or suffix in (".pt2", ".onnx"), "a sound file was refused")
        return f"{outcome}, refused (import {suffix})"
    return f"{outcome}, {judge_folder(here / 'run', data, here, None)} (import {suffix})"


def judge_verify(path):
    code, _, err = call(path, run=verify.main)
    require(code in (0, 1, 2) and "Traceback" not in err, f"exit code {code}: {err[-300:]}")
    require(code == 0 or err.count("\n") <= 1, f"more than one line: {err[:300]}")
    return ("verified", "not verified", "not read")[code]


def judge_folder(run, data, here, expected):
    before = sorted(os.listdir(here))
    plain, as_json = call("info", run), call("info", run, "--json")
    require(plain[0] == as_json[0], "info and info --json disagree")
    embedded = call("embed", run, data, "--out", here / "z.npy")
    if refused(*plain) and refused(*embedded):
        require(sorted(os.listdir(here)) == before, f"left behind: {os.listdir(here)}")
        require(expected is None, f"a sound run was refused: {plain[2]:.200}")
        return "refused"
    if not refused(*as_json):
        json.loads(as_json[1].splitlines()[-1], parse_constant=lambda name: 1 / 0)
    if refused(*embedded):  # a run of other columns
        require(sorted(os.listdir(here)) == before, f"left behind: {os.listdir(here)}")
        return "info, embed refused"
    z = np.load(here / "z.npy")
    wanted = embedding(run, data) if expected is None else expected
    require(z.shape == wanted.shape, f"shape {z.shape}")
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * max(1.0, np.nanmax(np.abs(wanted), initial=0))}
    with np.errstate(all="ignore"):
        require(np.allclose(z, wanted, **tolerance, equal_nan=True), "wrong embeddings")
    return "embed correct, info refused" if refused(*plain) else "correct"


def embedding(run, data):
    """The embeddings that a folder's files say, by NumPy alone."""
    schema = json.loads((run / "schema.json").read_text())
    weights = safetensors.numpy.load((run / "model.safetensors").read_bytes())
    with data.open(newline="") as file:
        rows = list(csv.DictReader(file))
    missing = {*schema["missing"], *schema["marks"]}
    numbers, flags, hits = [], [], []
    for column in schema["columns"]:
        cells = [row[column["name"]].strip() for row in rows]
        is_gap = np.array([cell in missing for cell in cells])
        keeps_gaps = column["has_gaps"] and column["fill"] is None
        if column["kind"] != "category":
            fill = column["mean"] if column["fill"] is None else column["fill"]
            x = [fill if cell in missing else float(cell) for cell in cells]
            numbers.append((np.array(x, float) - column["mean"]) / column["scale"])
            flags += [is_gap] if keeps_gaps else []
        else:
            levels = [np.array([c == k for c in cells]) & ~is_gap for k in column["levels"]]
            other = ~np.any(levels, axis=0)
            hits += [other & ~is_gap if keeps_gaps else other, *levels]
            hits += [is_gap] if keeps_gaps else []
    features = [*numbers, *flags, *hits]
    x = np.stack(features, axis=1).astype(np.float32)
    layers = sum(name.startswith("encoder.") and name.endswith("kernel") for name in weights)
    with np.errstate(all="ignore"):
        for i in range(layers):
            x = x @ weights[f"encoder.{i}.kernel"] + weights[f"encoder.{i}.bias"]
            x = np.maximum(x, 0) if i < layers - 1 else x
    return x


# The process


def resident(key):
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith(key)]
    return int(line.split()[1]) << 10


# The last three show that what they do is noticed.
JUDGES = {
    "table": judge_table,
    "bundle": judge_bundle,
    "crash": lambda number, here: os.abort(),
    "hang": lambda number, here: time.sleep(1000),
    "hunger": lambda number, here: str(len(bytearray(2 * MEMORY))),
}


def judged(kind, number):
    here = Path("case")
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = JUDGES[kind](number, here)
        return {"outcome": outcome}
    except Wrong as error:
        return {"outcome": "wrong", "why": str(error)}
    except BaseException:
        return {"outcome": "raised", "why": traceback.format_exc()[-1500:]}


def serve():
    csv.field_size_limit(1 << 30)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print
    for number in (19, 29):  # sound ones: what is loaded once is loaded
        judged(sys.argv[1], number)
    bound = resident("VmData") + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    start = resident("VmRSS")
    print(json.dumps({"outcome": "ready", "resident": start}), file=answers)
    for line in sys.stdin:
        kind, number = line.split()
        answer = judged(kind, int(number))
        print(json.dumps(answer | {"peak": resident("VmHWM")}), file=answers)


if __name__ == "__main__":
    serve()
