"""Python in processes of their own, in a folder of a test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(folder, *arguments, modules=None):
    """Starts Python in a folder, with this repository and a folder of `modules` to import from."""
    path = os.pathsep.join(str(p) for p in (ROOT, modules, os.getenv("PYTHONPATH")) if p)
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    """Waits for a process that has to succeed; returns what it printed."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out
