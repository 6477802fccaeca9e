"""The benchmark suite: its statistics, its comparison, its page, and its command line."""

import copy
import importlib
import json
import math
import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench import best_torch, document, kernels, records, trainings, variants
from bench import scale as scaling
from bench.__main__ import main
from bench.compare import compare
from bench.entries import BY_NAME, ENTRIES
from bench.matmuls import Matmuls, flop, layers
from bench.measured import Figure, Measured, Series, interleave
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import (
    AutoencoderHyperparameters,
    SimCLR,
    SimCLRHyperparameters,
    VAEHyperparameters,
    resolve,
)
from jaxrep.training import Devices, init_state, program


def record(scale: float = 1.0, seed: int = 0, samples: int = 7) -> records.Record:
    """A record of the entry `tables` with 3 % of noise; `scale` speeds jaxrep's CSV up."""
    rng = np.random.default_rng(seed)
    series = []
    for case in ("csv", "parquet", "npy"):
        bare = "numpy alone" if case == "npy" else "pyarrow alone"
        for side in ("jaxrep", bare):
            speed = 1e6 * (scale if (case, side) == ("csv", "jaxrep") else 1)
            rates = (speed * (1 + 0.03 * rng.standard_normal(samples))).tolist()
            series.append({"case": case, "side": side, "unit": "rows/s", "samples": rates})
    machine = {
        "versions": {"jax": "1"},
        "processor": "a processor",
        "cores": 2,
        "jax_device": "cpu",
        "jax_threads": 2,
        "torch_device": "cpu",
    }
    return {
        "quick": False,
        "rounds": samples,
        "seconds": 1.0,
        "commit": "abc",
        "machine": machine,
        "load_before": [0.0],
        "load_after": [1.0],
        "series": series,
        "facts": {"rows": 1000},
    }


def test_minimum_median_and_iqr_are_those_of_the_samples():
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 10.0)).tolist()
    series = Series("a", "b", "s", samples)
    assert (series.minimum, series.median, series.iqr) == (1, 5, 4)
    assert not series.higher_is_better
    assert Series("a", "b", "rows/s", samples).higher_is_better


def test_sides_are_measured_in_turn():
    calls = []
    interleave(3, {name: lambda i, name=name: calls.append((i, name)) or 0.0 for name in "ab"})
    assert calls == [(i, name) for i in range(3) for name in "ab"]


@pytest.mark.parametrize(
    ("value", "bound", "verdict"),
    [
        (2.0, "least", "met"),
        (1.9, "least", "missed"),
        (2.0, "most", "met"),
        (2.1, "most", "missed"),
    ],
)
def test_a_target_is_met_on_its_own_side_of_the_bound(value, bound, verdict):
    assert Figure("f", value, "×", 2.0, bound).verdict == verdict
    assert Figure("f", math.nan, "×", 2.0, bound).verdict == ""


@pytest.mark.parametrize(("scale", "verdict"), [(0.8, "worse"), (1.25, "better")])
def test_comparing_finds_a_planted_change_and_nothing_else(scale, verdict):
    changes = list(compare({"tables": record()}, {"tables": record(scale, seed=1)}))
    changed = {(c.case, c.side): c.verdict for c in changes if c.verdict != "same"}
    assert changed == {("csv", "jaxrep"): verdict}
    change = next(c for c in changes if c.verdict == verdict)
    assert change.interval[0] < change.ratio < change.interval[1]
    assert change.interval[0] < scale < change.interval[1]


def test_comparing_takes_seconds_to_be_better_when_they_are_fewer():
    before, after = record(), record(0.8, seed=1)
    for made in (before, after):
        for series in made["series"]:
            series["unit"] = "s"
    verdicts = [change.verdict for change in compare({"tables": before}, {"tables": after})]
    assert verdicts.count("better") == 1 and "worse" not in verdicts


def test_comparing_finds_nothing_in_noise():
    for seed in range(1, 20):
        changes = compare({"tables": record()}, {"tables": record(seed=seed)})
        assert {change.verdict for change in changes} == {"same"}


def test_an_outlier_is_no_change_and_two_samples_are_too_few():
    after = record(seed=1)
    after["series"][0]["samples"][0] = 1.0
    assert {c.verdict for c in compare({"tables": record()}, {"tables": after})} == {"same"}
    few = compare({"tables": record(samples=2)}, {"tables": record(0.5, samples=2)})
    assert {change.verdict for change in few} == {"too few samples"}


def test_comparing_tells_of_series_gone_and_new_and_of_runs_of_other_sizes():
    before, after = record(), record()
    after["series"].pop(0)
    assert [c.verdict for c in compare({"tables": before}, {"tables": after})].count("missing") == 1
    assert [c.verdict for c in compare({"tables": after}, {"tables": before})].count("new") == 1
    short = record() | {"quick": True}
    verdicts = {c.verdict for c in compare({"tables": before}, {"tables": short})}
    assert verdicts == {"other sizes"}


def test_the_command_exits_with_1_only_if_something_got_worse(tmp_path, capsys):
    for name, scale in (("old", 1.0), ("slow", 0.8), ("fast", 1.25)):
        made = {"tables": record(scale, seed=len(name))}
        records.write(tmp_path / f"{name}.json", made)
    old, slow, fast = (str(tmp_path / f"{name}.json") for name in ("old", "slow", "fast"))
    assert main(["compare", old, old]) == 0
    assert main(["compare", old, fast]) == 0
    assert main(["compare", old, slow]) == 1
    assert "worse    tables: csv, jaxrep: 0.8" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["[]", "{", '{"tables": {"series": []}}'])
def test_comparing_refuses_what_holds_no_results(content, tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text(content)
    assert main(["compare", str(path), str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_the_list_names_every_entry(capsys):
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BY_NAME)


def test_an_unknown_entry_is_refused_with_the_names_there_are(capsys):
    assert main(["--only", "trainings", "nonsense"]) == 2
    error = capsys.readouterr().err
    assert "nonsense" in error and all(name in error for name in BY_NAME)


def test_the_page_is_what_the_results_give():
    results = records.read_results()
    long = {name for name, entry in BY_NAME.items() if entry.asked_for}
    assert [*results] == [name for name in BY_NAME if name in results or name not in long]
    assert document.PAGE.read_text(encoding="utf-8") == document.text(results)
    for name in results:
        assert (document.PAGE.parent / "plots" / f"{name}.png").exists()


def test_the_page_has_every_number_from_the_samples(tmp_path):
    page = document.text({"tables": record()})
    slower = document.text({"tables": record(0.5)})
    assert page != slower
    median = np.median(record(0.5)["series"][0]["samples"])
    assert f"| csv | {median:,.0f} (" in slower
    written = list(document.write({"tables": record()}, tmp_path / "page.md"))
    assert [path.name for path in written] == ["tables.png", "page.md"]
    assert (tmp_path / "plots" / "tables.png").read_bytes().startswith(b"\x89PNG")


def test_a_missed_target_stays_on_the_page_with_its_reason():
    results = {"trainings": record()}
    results["trainings"]["series"] = [
        {"case": "vae", "side": side, "unit": "rows/s", "samples": [rate]}
        for side, rate in (("jaxrep", 30.0), (trainings.SEED, 10.0), ("PyTorch compiled", 10.0))
    ]
    page = document.text(results)
    assert "| vae: over PyTorch at its best | 3.00 × | at least 4.00 × | missed |" in page
    assert "- *vae: over PyTorch at its best*: PyTorch at its best is" in page


def test_every_entry_says_how_it_measures():
    for entry in ENTRIES:
        assert len(entry.method) > 100 and not entry.method.startswith(entry.title)


def test_reading_tables_is_measured_and_written(tmp_path, monkeypatch, capsys):
    from bench import blobs

    many = blobs.many
    monkeypatch.setattr(blobs, "many", lambda count: many(200))
    path = tmp_path / "out.json"
    assert main(["--quick", "--only", "tables", "--rounds", "1", "--out", str(path)]) == 0
    (made,) = json.loads(path.read_text()).values()
    assert {"commit", "load_before", "load_after"} <= made.keys()
    assert {"jax", "torch", "python"} <= made["machine"]["versions"].keys()
    measured = Measured.from_json(made)
    assert all(len(s.samples) == 1 and s.samples[0] > 0 for s in measured.series)
    assert len(measured.series) == 9
    assert "Reading tables" in capsys.readouterr().out


def test_flops_are_those_of_the_products_that_a_step_needs():
    sizes = layers(AutoencoderHyperparameters(), 32)
    assert sizes == [(32, 64), (64, 8), (8, 64), (64, 32)]
    assert layers(resolve(VAEHyperparameters, "seed"), 32)[1:3] == [(64, 16), (8, 64)]
    assert layers(SimCLRHyperparameters(), 32)[1:] == [(64, 8), (8, 8), (8, 32)]
    kernels = sum(fan_in * out for fan_in, out in sizes)
    assert flop(sizes, 128) == 6 * 128 * kernels - 2 * 128 * 32 * 64


def test_the_bare_products_take_time():
    assert 0 < Matmuls(VAEHyperparameters(), 8).seconds() < 1


@pytest.mark.parametrize("method", list(best_torch.WORKLOADS))
def test_pytorch_at_its_best_takes_the_steps_of_autograd_and_torch_adam(method):
    x = torch.randn((128, 6), generator=torch.Generator().manual_seed(0))
    training = best_torch.Training(method, x, epochs=1, threads=1, compiled=False)
    loss, _, draw, decay = best_torch.WORKLOADS[method](6)
    one = [weight.detach().clone() for weight in training.weights]
    other = [weight.detach().clone() for weight in training.weights]
    eager, functional = best_torch.eager_step, best_torch.functional_step
    steps = [eager(loss, one, decay), functional(loss, other, decay)]
    for _ in range(5):
        noise = draw(x)
        losses = [step(x, noise) for step in steps]
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-4, atol=1e-6)


def test_nt_xent_of_pytorch_at_its_best_has_the_value_and_gradient_of_cross_entropy():
    z = F.normalize(torch.randn((20, 5), generator=torch.Generator().manual_seed(0)), dim=1)
    z.requires_grad_()
    both = torch.cat([z[::2], z[1::2]])
    similarity = (both @ both.T / best_torch.TEMPERATURE).masked_fill(
        torch.eye(20).bool(), -torch.inf
    )
    expected = F.cross_entropy(similarity, torch.arange(20).roll(10))
    value = best_torch.nt_xent(z)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_kernels_are_told_apart_by_the_scopes_of_the_program_that_runs():
    def loss(kernel, x):
        with jax.named_scope("loss"):
            return jnp.sum((x @ kernel) ** 2)

    def step(kernel, x):
        gradient = jax.grad(lambda kernel: loss(kernel, jax.nn.relu(x @ kernel @ kernel)))(kernel)
        with jax.named_scope("optimiser"):
            return kernel - jnp.sin(gradient)

    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    text = jax.jit(step).lower(square, square).compile().as_text() or ""
    found = kernels.read(text).values()
    assert {k.group for k in found if "ynn" in k.name or k.name.startswith("dot")} == {
        kernels.FORWARD,
        kernels.BACKWARD,
        kernels.LOSS,
    }
    assert any(k.group == kernels.OPTIMISER and "sine" in k.name for k in found)


def test_every_scope_that_kernels_are_told_apart_by_is_in_the_programs():
    method = SimCLR(SimCLRHyperparameters())
    state, x = init_state(method, RowSpec(4), 0), Batch(jnp.ones((8, 4)))
    shape = {"spec": RowSpec(4), "batch_size": 4, "chunk": 2, "devices": Devices()}
    lowered = program.run_steps.lower(method, 0, state, x, x, 0, 0, **shape)
    text = lowered.compile().as_text()
    for scope in ("noise", "rows", "loss", "optimiser"):
        assert re.search(rf"jit\(run_steps\)[^\"]*\b{scope}\b", text), scope


def test_records_have_a_commit_even_without_git(monkeypatch):
    from bench import machine

    monkeypatch.setattr(machine, "ROOT", Path("/"))
    assert machine.commit() == "unknown"


def test_a_record_survives_its_file():
    made = record()
    assert Measured.from_json(copy.deepcopy(made)).to_json()["series"] == made["series"]


def test_mutation_names_modules_tests_and_lines_that_there_are(monkeypatch):
    for name in ("", ".commands", ".mutating", ".plugins", ".work_db", ".work_item"):
        monkeypatch.setitem(sys.modules, f"cosmic_ray{name}", MagicMock())  # an extra
    mutation = importlib.import_module("bench.mutation.__main__")
    for module, arguments in mutation.TESTS.items():
        assert (mutation.ROOT / module).is_file(), module
        for argument in arguments.partition(" -k ")[0].split():
            path, _, name = argument.partition("::")
            text = (mutation.ROOT / path).read_text(encoding="utf-8")
            assert f"def {name}(" in text or not name, argument
    for entry in json.loads(mutation.ARGUMENTS.read_text(encoding="utf-8")):
        assert entry["file"] in mutation.TESTS
        lines = (mutation.ROOT / entry["file"]).read_text(encoding="utf-8").splitlines()
        assert entry["line"] in [line.strip() for line in lines], entry


@pytest.mark.parametrize("change", variants.VARIANTS)
def test_what_a_variant_changes_is_there(change):
    with variants.VARIANTS[change][0]():
        pass


def test_the_step_whose_collectives_are_counted_compiles():
    assert scaling.count("autoencoder", Devices())["in_a_step"] == {}
