"""Throughput of the seed's three trainings, jaxrep and PyTorch interleaved."""

from typing import Any

import numpy as np
import torch

from bench import seed_torch
from jaxrep.data import load, preprocessing
from jaxrep.hyperparameters import BY_METHOD
from jaxrep.methods import METHODS
from jaxrep.training import fit


def measure(rounds: int) -> list[dict[str, Any]]:
    """Trains every method `rounds` times on both sides, in turn.

    Args:
        rounds: how often; a first, unmeasured jaxrep run compiles.

    Returns:
        For each method the rows per second of every round, their median and interquartile range
        on both sides, the ratio of the medians, and jaxrep's compile time.
    """
    x = _blobs()
    tensor = torch.from_numpy(x)
    torch.set_flush_denormal(True)  # as XLA does
    results = []
    for name, method in METHODS.items():
        compile_seconds = fit(method(BY_METHOD[name]()), x).compile_seconds
        ours, theirs = [], []
        for seed in range(rounds):
            ours.append(fit(method(BY_METHOD[name](seed=seed)), x).rows_per_second)
            theirs.append(seed_torch.train(name, tensor, seed))
        results.append(
            {
                "method": name,
                "rows": len(x),
                "features": x.shape[1],
                "compile_seconds": compile_seconds,
                "jaxrep": _summary(ours),
                "seed": _summary(theirs),
                "ratio_of_medians": float(np.median(ours) / np.median(theirs)),
            }
        )
    return results


def _blobs() -> np.ndarray:
    table = load("blobs")
    prepared, _ = preprocessing.fit(table, source="blobs", label="label")
    return preprocessing.apply(prepared, table, source="blobs")


def _summary(samples: list[float]) -> dict[str, Any]:
    low, median, high = np.percentile(samples, [25, 50, 75])
    return {"samples": samples, "median": float(median), "iqr": float(high - low)}
