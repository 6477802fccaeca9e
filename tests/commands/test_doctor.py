"""`jaxrep doctor`: what works is said to work, and each fault is found and told."""

import contextlib
import io
import json
import os
import subprocess
import time
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrep import compile_cache, doctor
from jaxrep.cli import main

CHECKS = ("versions", "devices", "computation", "cache", "disk", "processes", "collective")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder and a cache that no process has used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.compile_cache, "folder", lambda: tmp_path / "cache")
    options = {"jax_compilation_cache_dir": None, "jax_persistent_cache_min_compile_time_secs": 0}
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def call(*argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["doctor", *argv])
    return code, out.getvalue().splitlines()


def test_a_machine_that_works_passes_every_check_two_processes_included():
    code, lines = call("--json")
    assert code == 0, lines
    result = json.loads(lines[-1])
    assert result["passed"]
    found = {check["check"]: check for check in result["checks"]}
    assert tuple(found) == CHECKS
    assert [line.split()[1] for line in lines[:-1]] == list(CHECKS)
    assert found["devices"]["details"]["backend"] == "cpu"
    assert found["versions"]["details"]["numpy"] == np.__version__
    assert found["collective"]["details"]["exit_codes"] == [0, 0]


def test_processes_that_do_not_meet_in_time_fail_and_are_gone(monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(doctor.subprocess, "Popen", Recorded)
    begun = time.monotonic()
    found = doctor._collective(0.2)
    assert time.monotonic() - begun < 5
    assert found.status == "failed" and "within 0.2 s" in found.message
    assert [process.returncode for process in started] == [-9, -9]


def test_processes_that_cannot_start_fail_with_what_they_said(monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", "/bin/ls")
    found = doctor._collective(10)
    assert found.status == "failed"
    assert "-m" in found.message or "ls:" in found.message


def test_a_failed_check_is_exit_code_1(monkeypatch):
    finding = doctor.Finding("disk", "failed", "full: delete something")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    assert call() == (1, ["failed   disk         full: delete something"])


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_a_device_that_computes_wrongly_is_named(monkeypatch, factor):
    matmul = jnp.matmul
    monkeypatch.setattr(doctor.jnp, "matmul", lambda *a, **k: matmul(*a, **k) * factor)
    found = doctor._computation()
    assert found.status == "failed" and "cpu:0" in found.message.lower()
    json.dumps(found.details, allow_nan=False)


def test_what_a_check_raises_is_its_finding(monkeypatch):
    def broken():
        raise RuntimeError("no backend\nand more")

    monkeypatch.setattr(doctor, "_devices", broken)
    found = {f.check: f for f, _ in zip(doctor.examine(), range(2), strict=False)}
    assert found["devices"].status == "failed"
    assert found["devices"].message.startswith("no backend; ")


def test_a_platform_that_is_not_there_is_named(monkeypatch):
    def none():
        raise AssertionError

    monkeypatch.setattr(doctor.jax, "default_backend", none)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found = doctor._devices()
    assert found.status == "failed" and "JAX_PLATFORMS is cuda: unset it" in found.message


def test_a_driver_that_jax_does_not_use_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ACCELERATORS", {str(tmp_path): "a driver; pip install it"})
    found = doctor._devices()
    assert found.status == "warning" and "pip install it" in found.message


def test_a_cache_counts_its_programs(folder):
    (folder / "cache").mkdir(mode=0o700)
    (folder / "cache" / "jit_f-123-cache").write_bytes(b"12345")
    (folder / "cache" / "jit_f-123-atime").write_bytes(bytes(8))
    (folder / "cache" / "notes").write_bytes(b"12345")
    found = doctor._cache()
    assert found.status == "ok"
    counted = {"folder": str(folder / "cache"), "entries": 1, "bytes": 5, "writable": True}
    assert counted.items() < found.details.items()
    # A program that the check compiles twice comes from the cache the second time.
    assert found.details["hits"] >= 1
    assert f"; here {found.details['hits']} came from it" in found.message


def test_a_cache_whose_programs_are_rejected_is_a_warning(folder, monkeypatch):
    monkeypatch.setattr(doctor.compile_cache, "use", lambda: compile_cache.CacheUse(0, 2, 2))
    found = doctor._cache()
    assert found.status == "warning" and "delete the folder" in found.message


def test_a_cache_that_is_left_off_is_said(folder, monkeypatch):
    monkeypatch.setenv("JAXREP_CACHE_DIR", "off")
    found = doctor._cache()
    assert found.status == "ok" and "JAXREP_CACHE_DIR=off" in found.message
    assert not (folder / "cache").exists()


def test_a_cache_that_others_may_write_in_is_a_warning(folder):
    (folder / "cache").mkdir()
    os.chmod(folder / "cache", 0o777)
    found = doctor._cache()
    assert found.status == "warning"
    assert "chmod 700" in found.message and "JAXREP_CACHE_DIR" in found.message


@pytest.mark.parametrize(
    ("free", "status"), [(1 << 34, "ok"), (1 << 28, "warning"), (1 << 20, "failed")]
)
def test_a_disk_is_judged_by_its_free_space(folder, monkeypatch, free, status):
    usage = namedtuple("usage", "free")(free)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    found = doctor._disk()
    assert found.status == status
    assert ("delete something" in found.message) == (status != "ok")


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "n[1-4]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
}
OPEN_MPI_5 = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}


@pytest.mark.parametrize(
    ("environ", "status", "said"),
    [
        ({}, "ok", "one process, alone"),
        ({"SLURM_JOB_ID": "7"}, "ok", "not started by srun"),
        (SLURM, "ok", "process 3 of 4, started by Slurm"),
        (SLURM | {"SLURM_NTASKS": "many"}, "warning", "SLURM_NTASKS"),
        (OPEN_MPI_5, "warning", "give --coordinator HOST:PORT"),
    ],
)
def test_a_launcher_is_known_by_its_variables(environ, status, said):
    found = doctor._processes(environ)
    assert found.status == status and said in found.message, found


def test_a_command_without_the_cache_leaves_no_trace(tmp_path):
    before = os.environ.get("JAXREP_CACHE_DIR")
    arguments = ["train", "autoencoder", "iris", "--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main([*arguments, "--no-compile-cache"]) == 0
    assert os.environ.get("JAXREP_CACHE_DIR") == before and not compile_cache.is_off()
