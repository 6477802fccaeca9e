"""The compilation cache: private, used by the command line, and honest about what it gave."""

import json
import os
import stat
import subprocess
import sys

import pytest

from jaxrep import compile_cache
from jaxrep.errors import InputError

# Without what the other tests have told JAX of the cache.
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("JAX_")}

TRAIN = ("train", "vae", "iris", "--epochs", "1", "--hidden-dims", "3", "--json")


def run(tmp_path, *arguments, **variables):
    """The last line of a command in a process of its own, and what it said."""
    environment = ENVIRONMENT | {"JAXREP_CACHE_DIR": str(tmp_path / "cache")} | variables
    command = [sys.executable, "-m", "jaxrep.cli", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1]), process


def train(tmp_path, out, *arguments, **variables):
    return run(tmp_path, *TRAIN, "--out", str(tmp_path / out), *arguments, **variables)


@pytest.mark.end_to_end
def test_a_second_process_reads_its_programs_and_trains_to_the_same_bits(tmp_path):
    cold, said = train(tmp_path, "cold")
    assert " s compiling, " in said.stdout
    entries = list((tmp_path / "cache").glob("*-cache"))
    warm, said = train(tmp_path, "warm")
    assert " s loading compiled programs, " in said.stdout
    assert list((tmp_path / "cache").glob("*-cache")) == entries
    assert warm["compile_seconds"] < cold["compile_seconds"]
    weights = [(tmp_path / out / "model.safetensors").read_bytes() for out in ("cold", "warm")]
    assert weights[0] == weights[1]

    # Damage is noticed, said, and changes no number.
    for entry in entries:
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 1
        entry.write_bytes(data)
    _, said = train(tmp_path, "damaged")
    assert " s compiling, " in said.stdout
    assert f"{len(entries)} programs could be neither read from nor written to" in said.stderr
    assert (tmp_path / "damaged" / "model.safetensors").read_bytes() == weights[0]


@pytest.mark.end_to_end
def test_the_cache_can_be_left_off(tmp_path):
    _, said = train(tmp_path, "run", "--no-compile-cache")
    assert " s compiling, " in said.stdout
    assert not (tmp_path / "cache").exists()


@pytest.mark.end_to_end
def test_a_folder_that_others_may_write_in_is_left_alone(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    _, said = train(tmp_path, "run")
    assert "warning: others may write in the compilation cache" in said.stderr
    assert not list((tmp_path / "cache").iterdir())


def test_the_folder_is_made_for_its_user_alone(tmp_path):
    compile_cache._make_private(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/xla cannot be made \(Not a directory\)"):
        compile_cache._make_private(tmp_path / "file" / "xla")


def compile_into(folder, limit):
    """Compiles one program in a process whose cache is limited to so many bytes."""
    code = f"""
from pathlib import Path
import jax
from jaxrep import compile_cache
compile_cache.MAX_BYTES = {limit}
compile_cache.switch_on(Path({str(folder)!r}))
jax.jit(lambda x: x + 1)(1.0)
print(compile_cache.use())
"""
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert process.returncode == 0, process.stderr
    return process


def test_the_entries_used_longest_ago_leave_a_full_cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    for i in range(4):
        (folder / f"{i}-cache").write_bytes(bytes(100_000))
        used = (i + 2) % 4  # the third and the fourth were used before the others
        (folder / f"{i}-atime").write_bytes(used.to_bytes(8, "little"))
    compile_into(folder, 250_000)
    kept = {path.name for path in folder.glob("*-cache")}
    assert len(kept) == 3 and {"0-cache", "1-cache"} < kept


def test_an_entry_that_a_killed_process_left_half_written_does_not_close_the_cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    (folder / "half-cache").write_bytes(b"x")  # JAX writes the time of its use after it
    process = compile_into(folder, 1 << 20)
    assert "misses=1, rejected=0" in process.stdout, process.stderr
    (entry,) = folder.glob("*-cache")
    assert entry.name != "half-cache"


FIT = """
import numpy as np
from jaxrep import compile_cache
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.training import fit
x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
fit(Autoencoder(AutoencoderHyperparameters(epochs=1, hidden_dims=(3,), latent_dim=2)), x)
use = compile_cache.use()
print(use.hits, use.misses)
"""


def fit_in_a_process(**variables):
    environment = ENVIRONMENT | variables
    command = [sys.executable, "-c", FIT]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    return [int(number) for number in process.stdout.split()], process.stderr


@pytest.mark.end_to_end
def test_a_fit_in_python_uses_the_cache_as_the_command_line_does(tmp_path):
    cache = str(tmp_path / "cache")
    (hits, misses), _ = fit_in_a_process(JAXREP_CACHE_DIR=cache)
    assert hits == 0 < misses
    assert fit_in_a_process(JAXREP_CACHE_DIR=cache) == ([misses, 0], "")
    # JAX's own folder goes first; `off` leaves it off.
    (hits, _), _ = fit_in_a_process(
        JAXREP_CACHE_DIR=cache, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")
    )
    assert hits == 0
    assert fit_in_a_process(JAXREP_CACHE_DIR="off") == ([0, 0], "")


@pytest.mark.end_to_end
def test_a_fit_in_python_warns_where_the_cache_cannot_be_used(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    counts, said = fit_in_a_process(JAXREP_CACHE_DIR=str(tmp_path / "cache"))
    assert "others may write in the compilation cache" in said and counts[0] == 0
