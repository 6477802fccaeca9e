"""What a measurement depends on besides the code: versions, processor, threads, load."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import torch


def describe() -> dict[str, Any]:
    """Returns versions, processor, threads and load average, for the head of a result."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jaxrep", "jax", "flax", "optax", "torch")},
        },
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "jax_device": str(jax.devices()[0]),
        "load_average": os.getloadavg(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
