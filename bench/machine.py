"""What a measurement depends on besides the code: versions, processor, threads, load, commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import torch

from bench.peer_device import torch_device

ROOT = Path(__file__).parents[1]
PACKAGES = ("jaxrep", "jax", "jaxlib", "flax", "optax", "numpy", "pyarrow", "torch")


def describe() -> dict[str, Any]:
    """Returns versions, processor, devices and threads, for the head of a record."""
    return {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "jax_device": f"{jax.devices()[0].platform} ({jax.devices()[0].device_kind})",
        "jax_threads": _usable_cores(),
        "torch_device": _torch_device_name(),
        "torch_threads": torch.get_num_threads(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def load() -> list[float]:
    """Returns the load average over 1, 5 and 15 minutes, where the system tells."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else []


def commit() -> str:
    """Returns the commit measured, with `-dirty` where files differ; `unknown` without git.

    Results, and the page and the plots made of them, may differ: measuring writes them.
    """
    try:
        described = _git("describe", "--always", "--exclude=*", "--abbrev=12")
        written = (":!bench/results", ":!docs/benchmarks.md", ":!docs/plots")
        changed = _git("status", "--porcelain", "--", ".", *written)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{described}-dirty" if changed else described


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def thread_counts() -> list[int]:
    """Returns the numbers of threads to try PyTorch with: one, and one a core."""
    return sorted({1, _usable_cores()})


def _usable_cores() -> int:
    """XLA's thread pool on the CPU has as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _torch_device_name() -> str:
    device = torch_device()
    return "cpu" if device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
