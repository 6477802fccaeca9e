"""Runs one session of cosmic-ray in the current folder: `python -m bench.mutation.worker SESSION`.

cosmic-ray starts a new interpreter for every mutant, and importing jax and torch would take most of
the time. Here the libraries are imported once, and the tests of each mutant run in a fork that
imports jaxrep and torch_ref anew.
"""

import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from typing import BinaryIO

import flax.nnx  # noqa: F401
import hypothesis  # noqa: F401
import jax
import ml_dtypes  # noqa: F401
import optax  # noqa: F401
import pytest
import sklearn  # noqa: F401
import torch  # noqa: F401
from cosmic_ray import mutating
from cosmic_ray.commands import execute
from cosmic_ray.config import load_config
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome


def main() -> int:
    """Runs the unmutated tests, then those of every pending mutant."""
    config, session = load_config(f"{sys.argv[1]}.toml"), f"{sys.argv[1]}.sqlite"
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
    outcome, output = run_tests(config.test_command, config.timeout)
    if outcome is not TestOutcome.SURVIVED:
        print(output)
        return 1
    mutating.run_tests = run_tests
    with use_db(session, WorkDB.Mode.open) as database:
        execute(database, config)
    return 0


def run_tests(command: str, timeout: float) -> tuple[TestOutcome, str]:
    """Runs pytest in a fork, in the place of `cosmic_ray.testing.run_tests`.

    Args:
        command: pytest's arguments.
        timeout: seconds, after which the mutant counts as killed.

    Returns:
        The outcome, and what the tests wrote.
    """
    if {"jaxrep", "torch_ref"} & set(sys.modules):
        raise RuntimeError("the mutated packages are imported before the fork")
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become_pytest(command, output)
        status = _wait(child, time.monotonic() + timeout)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if status is None:
        # What was stopped may have left half an entry in the cache of compiled programs.
        shutil.rmtree(jax.config.jax_compilation_cache_dir or "", ignore_errors=True)
        return TestOutcome.KILLED, "timeout"
    return (TestOutcome.KILLED if status else TestOutcome.SURVIVED), text


def _become_pytest(command: str, output: BinaryIO) -> None:
    code = 70
    try:
        os.setsid()
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.dont_write_bytecode = True  # a mutant may have the size and second of the one before
        code = int(pytest.main(shlex.split(command)))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, end: float) -> int | None:
    """Returns the status of a child, or stops it and returns None."""
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    sys.exit(main())
