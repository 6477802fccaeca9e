"""Nobody's settings of JAX change a number, and a process forked after JAX ran is refused."""

import json
import sys

import jax
import numpy as np
import pytest
from helpers import processes
from helpers.processes import ROOT

from jaxrep.batch import RowSpec
from jaxrep.dispatch import computing
from jaxrep.inference import map_rows
from jaxrep.methods import VAE, VAEHyperparameters
from jaxrep.training import fit

X = np.random.default_rng(0).normal(size=(40, 4))
METHOD = VAE(VAEHyperparameters(hidden_dims=(5,), latent_dim=2, steps=6, batch_size=16))

SETTINGS = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_default_matmul_precision": "bfloat16",
    "jax_numpy_dtype_promotion": "strict",
}
DEFAULTS = {name: getattr(jax.config, name) for name in SETTINGS}


@pytest.fixture
def others_settings():
    """All settings at once, as a program beside jaxrep may have them."""
    for name, value in SETTINGS.items():
        jax.config.update(name, value)
    yield
    for name, value in DEFAULTS.items():
        jax.config.update(name, value)


def made(x):
    trained = fit(METHOD, x, validation=x)
    z = map_rows(METHOD, "embed", trained.weights, np.asarray(x), RowSpec(4))
    return {**trained.weights, "z": z, "loss": np.array([e["loss"] for e in trained.history])}


@pytest.fixture(scope="module")
def expected():
    return made(X)


@pytest.mark.parametrize("kind", [np.asarray, jax.numpy.asarray], ids=["numpy", "jax"])
def test_settings_of_others_change_no_bit(expected, others_settings, kind):
    found = made(kind(X))
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert all(getattr(jax.config, name) == value for name, value in SETTINGS.items())


def test_settings_are_jaxs_own_where_jaxrep_computes(others_settings):
    with computing():
        found = {name: getattr(jax.config, name) for name in DEFAULTS}
        assert jax.random.normal(jax.random.key(0), (2,)).dtype == np.float32
    assert found == DEFAULTS


@pytest.mark.slow
def test_settings_in_the_environment_change_no_file(tmp_path, monkeypatch):
    def digests(name):
        folder = tmp_path / name
        folder.mkdir()
        script = ROOT / "tests" / "helpers" / "made_under_settings.py"
        return json.loads(processes.finished(processes.start(folder, script, ".")).splitlines()[-1])

    plain = digests("plain")
    assert len(set(plain.values())) == len(plain)
    for name, value in SETTINGS.items():
        with monkeypatch.context() as environment:
            environment.setenv(name.upper(), str(value))
            assert digests(name) == plain, name


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_process_forked_after_jax_ran_says_what_to_do(tmp_path):
    script = ROOT / "tests" / "helpers" / "forked.py"
    before, *after = processes.finished(processes.start(tmp_path, script)).splitlines()
    assert before == "no error"
    assert len(after) == 6
    for said in after:
        assert said.startswith("ForkedProcessError: ")
        assert '"spawn" or "forkserver"' in said
