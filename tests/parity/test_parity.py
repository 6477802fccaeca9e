"""The cross-check itself: what it compares, what it says, and what it leaves alone."""

import json
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxrep.batch import RowSpec
from jaxrep.cli import main
from jaxrep.errors import InputError, MissingPackageError
from jaxrep.methods import VAEHyperparameters, make
from jaxrep.parity import Check, Report, _oracles, cross_check, run_suites
from jaxrep.parity._bounds import judge
from jaxrep.parity._functions import ARGUMENTS, SETTINGS, _draw, _weightings
from jaxrep.runs.train import Columns, train
from tests.helpers import oracles

X = np.linspace(-2.0, 2.0, 12).reshape(3, 4)


def only(report):
    [check] = report.checks
    return check


# Any two functions


def test_outputs_in_trees_are_compared_leaf_by_leaf():
    report = cross_check(
        lambda p, i: {"a": p["w"] * i, "b": ((p["w"] ** 2).sum(), i + 1)},
        lambda p, i: {"a": p["w"] * i, "b": ((p["w"] ** 2).sum() + 1e-9, i + 1)},
        ({"w": X}, np.arange(12).reshape(3, 4)),
        name="tree",
    )
    assert {(c.dtype, c.array) for c in report.failures} == {("float64", "['b'][0]")}
    assert {c.array for c in report.checks if c.check == "tree: value"} == {
        "['a']",
        "['b'][0]",
        "['b'][1]",
    }
    assert {c.array for c in report.checks if c.check == "tree: gradient of input 0"} == {"['w']"}


def test_inputs_may_have_names():
    report = cross_check(
        lambda *, x, y: x @ y.T, lambda *, x, y: x @ y.T, {"x": X, "y": X}, name="product"
    )
    assert report.passed
    assert {c.check for c in report.checks} == {
        "product: value",
        "product: gradient of x",
        "product: gradient of y",
    }


def test_a_wrong_gradient_of_a_right_value_is_caught():
    @jax.custom_jvp
    def square(x):
        return x**2

    square.defjvp(lambda primals, tangents: (primals[0] ** 2, primals[0] * tangents[0]))
    report = cross_check(square, torch.square, (X,), name="square")
    assert {c.check for c in report.failures} == {"square: gradient of input 0"}


def test_gradients_of_several_outputs_are_not_summed_into_silence():
    # The plain sum of a softmax has no gradient at all; with drawn weights it has one.
    report = cross_check(
        lambda x: jax.nn.softmax(x, -1), lambda x: torch.softmax(x, -1).detach(), (X,)
    )
    assert {c.check for c in report.failures} == {"<lambda>: gradient of input 0"}


@pytest.mark.parametrize("gradients", [False, ()])
def test_gradients_can_be_left_out(gradients):
    report = cross_check(jnp.sort, lambda x: x.sort().values, (X,), gradients=gradients)
    assert {c.check for c in report.checks} == {"sort: value"}


def test_integers_and_booleans_must_be_equal_exactly():
    same = cross_check(lambda x: x > 0, lambda x: x > 0, (X,), name="sign")
    assert same.passed
    other = cross_check(lambda x: (x > 0) * 2, lambda x: (x >= X.min()) * 2, (X,), name="sign")
    assert not other.passed
    assert other.failures[0].message == "jax has 0 at [0, 0], torch 2"


def test_functions_without_floats_are_compared_too():
    count = np.arange(6)
    report = cross_check(lambda i: i * 2, lambda i: i * 2, (count,))
    assert report.passed
    assert {c.dtype for c in report.checks} == {"float64", "float32"}


def test_an_input_that_an_output_does_not_depend_on_has_gradient_zero():
    assert cross_check(lambda x, y: x * 1, lambda x, y: x * 1, (X, X)).passed


def test_an_oracle_takes_the_place_of_torchs_float64_result():
    agreed = cross_check(jnp.tanh, torch.tanh, (X,), oracle=np.tanh)
    assert agreed.passed
    both_wrong = cross_check(jnp.tanh, torch.tanh, (X,), oracle=lambda x: np.tanh(x) + 1e-6)
    assert {c.check for c in both_wrong.failures} == {"tanh: value"}
    assert "the reference" in both_wrong.failures[0].message


def test_a_scale_says_how_large_the_terms_of_a_sum_are():
    def ours(x):
        return (x + 1e4) - 1e4

    def theirs(x):
        return x.clone()

    assert not cross_check(ours, theirs, (X,), jit=False).passed
    assert cross_check(ours, theirs, (X,), jit=False, scale=1e4).passed


def test_a_function_that_cannot_be_traced_runs_uncompiled():
    def ours(x):
        return x * (2.0 if float(x.sum()) > 100 else 3.0)

    traced = cross_check(ours, lambda x: 3 * x, (X,), gradients=False)
    assert traced.failures[0].message.startswith(
        "jax raised ConcretizationTypeError at test_parity"
    )
    assert cross_check(ours, lambda x: 3 * x, (X,), gradients=False, jit=False).passed


def test_different_shapes_are_a_failed_check_and_not_broadcast():
    report = cross_check(lambda x: x.mean(1, keepdims=True), lambda x: x.mean(1), (X,), name="mean")
    assert report.failures[0].message == "jax has shape (3, 1), torch (3,)"
    assert report.failures[0].check == "mean: value"


def test_an_output_on_one_side_only_is_named():
    report = cross_check(lambda x: (x, x), lambda x: (x,), (X,), gradients=False)
    assert {(c.array, c.message) for c in report.failures} == {("[1]", "only jax gives this")}


@pytest.mark.parametrize("side", ["jax", "torch"])
def test_a_nan_on_one_side_only_is_named_with_its_place(side):
    x = np.array([1.0, -1.0, 4.0])
    ours, theirs = jnp.sqrt, torch.sqrt
    if side == "jax":
        report = cross_check(ours, lambda x: torch.sqrt(x.abs()), (x,), name="root")
        expected = "jax has nan at [1], torch 1"
    else:
        report = cross_check(lambda x: jnp.sqrt(jnp.abs(x)), theirs, (x,), name="root")
        expected = "jax has 1 at [1], torch nan"
    assert report.failures[0].message == expected
    json.dumps(report.to_json(), allow_nan=False)


def test_the_same_nan_in_the_same_place_agrees():
    assert cross_check(jnp.sqrt, torch.sqrt, (np.array([4.0, -1.0]),), gradients=False).passed


@pytest.mark.parametrize("side", ["jax", "torch"])
def test_a_function_that_raises_is_a_failed_check_with_place_and_reason(side):
    def raises(x):
        raise KeyError("beta")

    pair = (raises, torch.tanh) if side == "jax" else (jnp.tanh, raises)
    report = cross_check(*pair, (X,))
    for check in report.checks:
        assert not check.passed
        assert check.message.startswith(f"{side} raised KeyError at test_parity.py:")
        assert check.message.endswith("'beta'")


def test_an_oracle_that_raises_is_a_failed_check_too():
    report = cross_check(jnp.tanh, torch.tanh, (X,), oracle=lambda x: x.nothing)
    assert all(c.message.startswith("the oracle raised AttributeError") for c in report.checks)


def test_dtypes_must_be_equal():
    report = cross_check(lambda x: x.astype("float32"), lambda x: x, (X,), dtypes=["float64"])
    assert report.failures[0].message == "jax gives float32, torch float64"


def test_missing_torch_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'jaxrep\[torch\]'"):
        cross_check(jnp.tanh, jnp.tanh, (X,))
    with pytest.raises(ImportError):
        run_suites(suites=["weights"])


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="an input is a str"):
        cross_check(jnp.tanh, torch.tanh, ("x",))
    with pytest.raises(InputError, match="dtypes has 'float8'"):
        cross_check(jnp.tanh, torch.tanh, (X,), dtypes=["float8"])
    with pytest.raises(InputError, match=r"gradients names \['y'\]; the inputs are \[0\]"):
        cross_check(jnp.tanh, torch.tanh, (X,), gradients=["y"])
    with pytest.raises(InputError, match="there are no suites"):
        run_suites(suites=["snakes"])


def test_half_precision_inputs_are_the_same_numbers_for_both():
    x = np.random.default_rng(0).normal(size=(9, 5))
    report = cross_check(jnp.tanh, torch.tanh, (x,), dtypes=["bfloat16", "float16"])
    assert report.passed
    assert {row.dtype for row in report.accuracy()} == {"bfloat16", "float16"}


def test_inputs_may_be_jax_or_torch_arrays():
    for x in (jnp.asarray(X), torch.tensor(X), jnp.asarray(X, jnp.bfloat16), 0.5):
        assert cross_check(jnp.tanh, torch.tanh, (x,)).passed


def test_nothing_of_the_callers_settings_changes():
    before = (
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
    )
    cross_check(jnp.tanh, torch.tanh, (X,))
    run_suites(quick=True, suites=["weights"])
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32
    after = torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    assert before == after


def test_importing_the_cross_check_neither_loads_torch_nor_switches_float64_on():
    code = (
        "import jax, sys, jaxrep.parity; "
        "print('torch' in sys.modules, jax.config.jax_enable_x64, jax.numpy.ones(1).dtype)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "float32"]


# The judgement

U = 2.0**-24


def verdict(jax_error, torch_error, dtype="float32", size=1.0, **keywords):
    reference = np.array([size, 0.25])
    ours, theirs = (reference + np.array(e) for e in ([jax_error, 0], [0, torch_error]))
    return judge(ours, theirs, reference, dtype=dtype, **keywords)


@pytest.mark.parametrize(
    ("errors", "passed"),
    [
        ((0, 0), True),
        ((31 * U, 0), True),  # 4 · 8u, whatever the other's
        ((33 * U, 0), False),
        ((0, 33 * U), False),
        ((100 * U, 26 * U), True),  # 4 · the other's
        ((100 * U, 24 * U), False),
        ((24 * U, 100 * U), False),
        ((9e3 * U, 9e3 * U), True),
        ((11e3 * U, 11e3 * U), False),  # both wrong alike
    ],
)
def test_float32_errors_are_held_against_each_others(errors, passed):
    assert verdict(*errors).passed is passed


@pytest.mark.parametrize(("error", "passed"), [(0.9e-12, True), (1.1e-12, False)])
def test_float64_holds_to_a_trillionth_of_the_largest_element(error, passed):
    assert verdict(error, 0.0, "float64").passed is passed
    assert verdict(0.0, error, "float64").passed is passed
    assert verdict(10 * error, 0.0, "float64", size=10.0).passed is passed


def test_the_two_may_not_lie_apart_though_each_is_near_enough():
    reference = np.ones(1)
    found = judge(reference + 0.7e-12, reference - 0.7e-12, reference, dtype="float64")
    assert not found.passed
    assert found.difference == pytest.approx(1.4e-12, rel=1e-3)


def test_a_reference_of_zeros_asks_for_zeros():
    zeros = np.zeros(3)
    assert judge(zeros, zeros, zeros, dtype="float32").passed
    assert not judge(zeros + 1e-30, zeros, zeros, dtype="float32").passed
    assert judge(zeros + 1e-7, zeros, zeros, dtype="float32", scale=1.0).passed


def test_the_worst_element_is_named():
    jax_array = np.zeros((2, 3))
    jax_array[1, 2] = 1.0
    found = judge(jax_array, np.zeros((2, 3)), np.zeros((2, 3)), dtype="float64")
    assert found.index == (1, 2)
    assert found.message == "jax has 1 at [1, 2], torch 0, the reference 0"


# The report


def test_a_report_without_checks_has_not_passed():
    assert not Report(()).passed


def test_the_table_shows_the_tightest_case_and_failing_checks_last():
    checks = (
        Check("b", "worse", "float64", passed=False, message="wrong"),
        Check("a", "wide", "float32", passed=True, margin=50.0, jax_error=0.0, torch_error=0.0),
        Check("a", "tight", "float32", passed=True, margin=2.0, jax_error=1e-7, torch_error=1e-7),
    )
    report = Report(checks, 1.0)
    assert [(check.case, cases) for check, cases in report.worst()] == [("tight", 2), ("worse", 1)]
    lines = str(report).splitlines()
    assert "FAILED b (float64, worse): wrong" in lines
    assert lines[-1].startswith("1 of 3 comparisons FAILED")


def test_the_ratio_is_a_geometric_mean_with_errors_of_at_least_a_roundoff():
    checks = [
        Check("a", str(i), "float32", passed=True, jax_error=error, torch_error=1e-7)
        for i, error in enumerate((4e-7, 0.0))
    ]
    [row] = Report(tuple(checks)).accuracy()
    assert row.jax_error == pytest.approx(math.sqrt(4e-7 * U))
    assert row.ratio == pytest.approx(math.sqrt(4e-7 * U) / 1e-7)


# The closed forms that the suites take for truth, against loops and central differences


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_closed_forms_equal_the_loops(name, rows):
    for settings in SETTINGS[name]:
        for weights in _weightings(rows).values():
            inputs = _draw(name, rows, 4)
            found = getattr(_oracles, name)(**inputs, **settings, **weights)
            loop = getattr(oracles, name)
            arrays = list(inputs.values())
            value = loop(*arrays, **settings, **weights)
            assert found.arrays["value"] == pytest.approx(value, rel=1e-12, abs=1e-14)
            expected = oracles.gradients(loop, arrays, **settings, **weights)
            tolerance = 1e-12 * settings.get("temperature", 1.0) ** -3 / 6 + 1e-8
            floating = [name for name, array in inputs.items() if array.dtype.kind == "f"]
            for argument, gradient in zip(floating, expected, strict=True):
                closed = found.arrays[f"gradient of {argument}"]
                assert np.abs(closed - gradient).max() <= tolerance * max(1, np.abs(gradient).max())


TERMS = {
    "squared": {"x": (-2, 2), "mean": (-2, 2)},
    "gaussian": {"x": (-2, 2), "mean": (-2, 2), "log_var": (-3, 3)},
    "bernoulli": {"x": (0, 1), "logit": (-4, 4)},
    "poisson": {"count": (0, 9), "log_rate": (-2, 2)},
}


@pytest.mark.parametrize("kind", TERMS)
def test_slopes_of_closed_terms_are_central_differences(kind):
    rng = np.random.default_rng(0)
    inputs = {name: rng.uniform(*ends, size=(5, 3)) for name, ends in TERMS[kind].items()}
    if kind == "poisson":
        inputs["count"] = inputs["count"].round()
    terms, h = getattr(_oracles, f"{kind}_terms"), 1e-6
    for name in inputs:
        if name == "count":
            continue
        up, down = (terms(**inputs | {name: inputs[name] + e})["value"] for e in (h, -h))
        np.testing.assert_allclose(terms(**inputs)[name], (up - down) / (2 * h), atol=1e-8)


def test_closed_terms_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x, mean, log_var = np.array([0.0, 1.0, 1.0]), np.array([0.3, -2.0, 4.0]), np.array([-1.0, 0, 2])
    found = _oracles.gaussian_terms(x, mean, log_var)["value"]
    np.testing.assert_allclose(found, -stats.norm(mean, np.exp(log_var / 2)).logpdf(x), rtol=1e-12)
    found = _oracles.bernoulli_terms(x, mean)["value"]
    expected = -stats.bernoulli(1 / (1 + np.exp(-mean))).logpmf(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = _oracles.poisson_terms(5 * x, mean)["value"]
    np.testing.assert_allclose(found, -stats.poisson(np.exp(mean)).logpmf(5 * x), rtol=1e-12)


@pytest.mark.parametrize("name", ["mse_loss", "elbo_loss"])
def test_a_closed_loss_of_observed_cells_is_that_of_the_rows_without_the_others(name):
    inputs, settings = _draw(name, 3, 4), {} if name == "mse_loss" else {"beta": 2.0}
    observed = np.array([[True, True, False, True], [False] * 4, [True, False, False, False]])
    oracle = getattr(_oracles, name)
    found = oracle(**inputs, **settings, observed=observed).arrays
    each = []
    for i in (0, 2):
        row = {key: array[i : i + 1] for key, array in inputs.items()}
        for key in ("x", "x_hat"):
            row[key] = row[key][:, observed[i]]
        each.append(oracle(**row, **settings).arrays["value"])
    assert found["value"] == pytest.approx(np.mean(each), rel=1e-12)
    assert (found["gradient of x_hat"][~observed] == 0).all()


def test_the_closed_kl_keeps_its_digits_near_zero():
    v = np.array([[1e-5, -3e-4, 0.4999, -0.5001, 3.0]])
    exact = [math.fsum(x**k / math.factorial(k) for k in range(2, 40)) for x in v[0]]
    found = _oracles.gaussian_kl(np.zeros_like(v), v).arrays["value"]
    assert found == pytest.approx(0.5 * math.fsum(exact), rel=1e-14)


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("parity")
    rng = np.random.default_rng(0)
    np.save(path / "rows.npy", rng.normal(size=(80, 4)) @ rng.normal(size=(4, 6)) + 5)
    settings = VAEHyperparameters(hidden_dims=(8,), latent_dim=3, steps=9, batch_size=32)
    train(str(path / "rows.npy"), path / "run", settings, Columns())
    return path


def parity(capsys, *arguments):
    code = main(["parity", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return code, json.loads(lines[-1]) if lines else None, captured


def test_a_run_is_checked_on_its_own_data(run, capsys):
    code, result, captured = parity(capsys, run / "run", "--out", run / "report.json")
    assert code == 0, captured.err
    assert result["passed"] is True
    assert {row["check"] for row in result["checks"]} == {
        "outputs of vae: value",
        "commands on vae: value",
        "loss of vae: value",
        "loss of vae: gradient of weights",
        "loss of vae: gradient of x.numbers",
    }
    assert {row["case"] for row in result["checks"] if row["check"].startswith("outputs")} == {
        "80 rows"
    }
    assert json.loads((run / "report.json").read_text()) == result
    assert result["environment"]["versions"]["torch"] == torch.__version__
    assert "taking drawn rows" not in captured.err


def test_a_run_whose_data_changed_is_checked_on_drawn_rows(run, capsys, tmp_path):
    source = run / "rows.npy"
    kept = source.read_bytes()
    try:
        np.save(source, np.zeros((3, 6)))
        code, _, captured = parity(capsys, run / "run")
        assert code == 0
        assert "has changed since: taking drawn rows" in captured.err
        source.unlink()
        code, _, captured = parity(capsys, run / "run")
        assert code == 0
        assert "is not there: taking drawn rows" in captured.err
    finally:
        source.write_bytes(kept)
    np.save(tmp_path / "other.npy", np.ones((2, 6)))
    code, result, captured = parity(capsys, run / "run", "--data", tmp_path / "other.npy")
    assert code == 0, captured.err
    assert {row["case"] for row in result["checks"]} == {"2 rows"}


def test_a_run_whose_embedding_parts_exits_with_1(run, capsys, monkeypatch):
    import torch_ref.methods

    right = torch_ref.methods.VAENetwork.embed
    monkeypatch.setattr(torch_ref.methods.VAENetwork, "embed", lambda *a: right(*a) * (1 + 1e-5))
    code, result, captured = parity(capsys, run / "run")
    assert code == 1
    assert result["passed"] is False
    differing = {re.findall(r"\['(\w+)'\]", row["array"])[0] for row in result["failures"]}
    assert differing <= {"embed", "reconstruct", "score", "score_by_column"}
    assert "FAILED" in captured.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere",), "nowhere"),
        (("--data", "rows.csv"), "--data goes with RUN"),
        (("RUN", "--quick"), "--quick goes without RUN"),
        (("--quick", "--out", "nowhere/report.json"), "there is no folder nowhere"),
    ],
)
def test_wrong_flags_exit_with_2(run, capsys, arguments, reason):
    replaced = [str(run / "run") if argument == "RUN" else argument for argument in arguments]
    code, _, captured = parity(capsys, *replaced)
    assert code == 2
    assert reason in captured.err


# What could have passed without being compared


def test_a_trajectory_of_nan_or_of_missing_steps_fails(monkeypatch):
    from jaxrep.parity import _training

    method = make(VAEHyperparameters())
    rows = RowSpec(3)
    recorded = _training.record(method, np.ones((9, 3)) * np.arange(3), 3, rows, light=True)

    def follow(recorded):
        return list(_training.follow_in_torch(method, recorded, rows))

    assert all(check.passed for check in follow(recorded))
    for part in ("weights", "metrics"):
        spoilt = {key: np.full_like(a, np.nan) for key, a in getattr(recorded, part).items()}
        checks = follow(recorded._replace(**{part: spoilt}))
        assert not all(check.passed for check in checks), part
    extra = recorded._replace(metrics={**recorded.metrics, "other": np.zeros(3)})
    assert [c.check for c in follow(extra) if not c.passed] == ["trajectory of vae: other"]
    monkeypatch.setattr("torch_ref.training.replay", lambda *arguments: iter(()))
    checks = follow(recorded)
    assert {check.message for check in checks} == {"torch took 0 steps of 3"}


@pytest.mark.parametrize("oracle", [lambda x: (np.tanh(x),), lambda x: {"a": np.tanh(x)}])
def test_an_oracle_of_another_structure_is_no_oracle(oracle):
    report = cross_check(jnp.tanh, torch.tanh, (X,), oracle=oracle)
    assert not report.passed
    assert "the oracle gives" in report.failures[0].message


def test_a_difference_that_overflows_is_one():
    huge = (np.array([1.0]),)
    report = cross_check(
        lambda x: x * 1.7e308, lambda x: -x * 1.7e308, huge, gradients=False, dtypes=["float64"]
    )
    assert not report.passed


@pytest.mark.parametrize(
    "functions",
    [
        (lambda x: None, lambda x: None),
        (lambda x: x[:0] + 1, lambda x: x[:0] * 7),
        (lambda x: x * (1 + 2j), lambda x: x * (1 + 2j)),
    ],
)
def test_nothing_to_compare_is_a_failure(functions):
    assert not cross_check(*functions, (X,)).passed


def test_a_callers_no_grad_does_not_reach_inside():
    with torch.no_grad():
        assert cross_check(jnp.tanh, torch.tanh, (X,)).passed
        assert not cross_check(
            lambda x: jax.lax.stop_gradient(jnp.tanh(x)), torch.tanh, (X,)
        ).passed


def test_python_numbers_and_torchs_own_tuples_are_outputs_too():
    report = cross_check(
        lambda x: (x.max(1), x.argmax(1), 3.0), lambda x: (*torch.max(x, dim=1), 3.0), (X,)
    )
    assert report.passed, str(report)
    assert cross_check(
        lambda x: (x.max(1), x.argmax(1)), lambda x: torch.max(x, dim=1), (X,)
    ).passed


def test_an_output_that_is_no_number_is_a_failed_check():
    report = cross_check(jnp.tanh, lambda x: "none", (X,))
    assert "torch raised TypeError" in report.failures[0].message


def test_the_callers_arrays_stay_as_they_are():
    count = np.arange(3)

    def oracle(x, i):
        i += 1
        return x * i

    cross_check(
        lambda x, i: x * (i + 1), lambda x, i: x * (i + 1), (np.ones(3), count), oracle=oracle
    )
    assert count.tolist() == [0, 1, 2]


def test_gradients_of_whole_numbers_and_odd_scales_are_refused():
    with pytest.raises(InputError, match="holds no floating numbers"):
        cross_check(jnp.tanh, torch.tanh, (np.arange(3),), gradients=[0])
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="scale is"):
            cross_check(jnp.tanh, torch.tanh, (X,), scale=scale)


def test_noise_that_is_not_finite_is_reported():
    from jaxrep.parity._functions import _moments

    assert _moments("eps", np.full((64, 8), np.nan), np.zeros((4, 2))) == "eps is not finite"
