"""Runs of the command line that are interrupted, killed, and gone on with."""

import functools
import json
import random
import signal
import subprocess
import sys
import time

from jaxrep.cli import main
from jaxrep.runs import folder
from tests.helpers import dying


def after(chunks):
    """Says that a run is interrupted from the n-th time it is asked."""
    asked = iter(range(chunks))
    return lambda: next(asked, None) is None


def interrupt_after(monkeypatch, chunks):
    """Has SIGTERM come to the run that is trained next, between two chunks of steps."""
    from jaxrep.runs import train

    asked = after(chunks)

    class Listening:
        def __enter__(self):
            return asked

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(train, "listening", Listening)


def result_of(capsys, *command):
    """The result of a command that succeeds, and what it said on stderr."""
    code = main([*command, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out.splitlines()[-1]), captured.err


def bits_of(run):
    """Digests of all that training leaves in a run's folder."""
    names = folder.MODEL, folder.LAST, folder.METRICS
    return [folder.files.sha256(run / name) for name in names if (run / name).exists()]


def start(*command, point="never", count=0):
    """Starts a command in a process of its own, which kills itself at a point of `dying`."""
    return subprocess.Popen(
        [sys.executable, dying.__file__, point, str(count), *command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_in(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def has_lines(path, count):
    return lines_in(path) >= count


def wait_until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.005)


def kill_and_resume(command, tmp_path, capsys, kills):
    """Kills a run again and again, and compares its end with that of a run left alone.

    Args:
        command: all but `--out`; so many epochs that no kill comes too late, saved after each.
        tmp_path: where both runs are made.
        capsys: of the test.
        kills: the point inside a save and the call there for each kill; None is at random.

    Returns:
        The run that was killed, finished.
    """
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    result_of(capsys, *command, "--out", str(alone))
    rng = random.Random(" ".join(command[:2]))
    for kill in kills:
        intact = [p for p in killed.glob("checkpoints/*/manifest.json")]
        point, count = kill or ("never", 0)
        process = start(*command, "--out", str(killed), point=point, count=count)
        if kill is None:
            log = killed / "metrics.jsonl"
            enough = lines_in(log) + rng.randint(1, 3)
            wait_until(functools.partial(has_lines, log, enough), process)
            time.sleep(rng.random() * 0.1)
            process.kill()
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, (kill, said)
        assert not intact or "continuing after step" in said
    intact = [p for p in killed.glob("checkpoints/*/manifest.json")]
    result, said = result_of(capsys, *command, "--out", str(killed))
    assert not intact or (result["resumed_from_step"] > 0 and "continuing after step" in said)
    assert bits_of(killed) == bits_of(alone)
    return folder.load(killed)
