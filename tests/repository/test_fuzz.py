"""Damaged tables, run folders and exported files: a refusal in one line, or a correct result.

Correct means: of a table, the cells that another reader of the format finds, and finite features of
as many rows; of a run, the embeddings that NumPy computes from the folder's files, and for a run
that was only written anew, those of the sound one. Nothing is left behind by a refusal. All happens
in a process that may take 1.5 GB beyond its start, and that is killed where a case takes too long.
"""

import collections
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import mutated_bundles, mutated_tables

ROOT = Path(__file__).parents[2]
SECONDS = 60  # for a case, on a busy machine
ONCE_WRONG = {"table": (571, 578, 947), "bundle": (325, 330, 711, 828, 943)}


class Worker:
    """A process of `fuzz_worker`, started anew when it has died."""

    def __init__(self, kind, path, formats):
        self.kind, self.path, self.formats = kind, path, formats
        self.process = None
        self.starts = self.resident = self.peak = 0

    def judge(self, number, kind=None):
        """Returns what a case came to; a crash and a time-out are outcomes too."""
        if self.process is None:
            self._start()
        self.process.stdin.write(f"{kind or self.kind} {number}\n")
        answer = self._answer(SECONDS)
        self.peak = max(self.peak, answer.get("peak", 0))
        return answer

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _start(self):
        self.starts += 1
        here = self.path / str(self.starts)
        here.mkdir()
        path = os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path, "FUZZ_FORMATS": " ".join(self.formats)}
        with (here / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.fuzz_worker", self.kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=here,
                env=environment,
                text=True,
                bufsize=1,
            )
        self.resident = self._answer(10 * SECONDS)["resident"]

    def _answer(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        outcome = "died" if ready else "took too long"
        self.stop()
        errors = (self.path / str(self.starts) / "stderr").read_text(errors="replace")
        return {"outcome": outcome, "why": errors[-1500:]}


def run_all(kind, numbers, path, formats=()):
    """Judges cases one after another; fails with all that went wrong."""
    worker = Worker(kind, path, formats)
    found, failures = collections.Counter(), []
    try:
        for number in numbers:
            answer = worker.judge(number)
            found[answer["outcome"]] += 1
            if "why" in answer:
                failures.append(f"{kind} {number}: {answer['outcome']}\n{answer['why']}")
    finally:
        worker.stop()
    print(f"{kind}s: {dict(found.most_common())}")
    print(f"resident {worker.resident >> 20} MB before, {worker.peak >> 20} MB at most")
    assert not failures, f"{len(failures)} failures\n" + "\n\n".join(failures)
    return found


@pytest.mark.end_to_end
def test_sixty_damaged_tables_are_refused_or_read_right(tmp_path):
    found = run_all("table", [*range(57), *ONCE_WRONG["table"]], tmp_path)
    assert found["refused"] >= 15 and found["correct"] >= 8, found


@pytest.mark.end_to_end
def test_sixty_damaged_bundles_are_refused_or_read_right(tmp_path):
    found = run_all("bundle", [*range(63), *ONCE_WRONG["bundle"]], tmp_path, ["safetensors"])
    assert found["refused"] >= 15 and found["correct"] >= 5, found


@pytest.mark.slow
def test_a_thousand_damaged_tables_are_refused_or_read_right(tmp_path):
    run_all("table", range(1000), tmp_path)


@pytest.mark.slow
def test_a_thousand_damaged_bundles_are_refused_or_read_right(tmp_path):
    pytest.importorskip("onnxruntime")
    run_all("bundle", range(1000), tmp_path, list(mutated_bundles.EXPORTED))


@pytest.mark.slow
def test_crashes_hangs_and_hunger_are_noticed_and_the_next_case_is_judged(tmp_path, monkeypatch):
    worker = Worker("table", tmp_path, ())
    try:
        assert worker.judge(9)["outcome"] == "correct"
        assert "MemoryError" in worker.judge(0, "hunger")["why"]
        monkeypatch.setattr("test_fuzz.SECONDS", 12)
        assert worker.judge(0, "crash")["outcome"] == "died"
        assert worker.judge(9)["outcome"] == "correct"
        monkeypatch.setattr("test_fuzz.SECONDS", 1)
        assert worker.judge(0, "hang")["outcome"] == "took too long"
    finally:
        worker.stop()


def test_a_case_is_always_the_same():
    for number in range(16):
        assert mutated_tables.case(number) == mutated_tables.case(number)
