"""The cross-check of a trained run: its own weights, on its own rows, through both frameworks."""

import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np

from jaxrep.inference import map_rows
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._evaluate import require_torch
from jaxrep.parity._models import loss_case, use_case, use_in_torch
from jaxrep.parity._report import Report
from jaxrep.runs.folder import Run

MAX_ROWS = 1000


def check_run(run: Run, x: np.ndarray) -> Report:
    """Compares what a trained run gives in JAX with what its weights give in PyTorch.

    Embeddings, reconstructions and scores, as functions and as the commands compute them; the loss
    and its gradients on a batch.

    Args:
        run: the trained run.
        x: rows as the run's features, `[N, D]`; at most 1,000 of them are taken, evenly spread.

    Returns:
        The report.

    Raises:
        MissingPackageError: PyTorch is not installed.
    """
    require_torch()
    import torch_ref.hyperparameters
    import torch_ref.methods

    started = time.perf_counter()
    name = run.method.name
    settings = dataclasses.asdict(run.method.hyperparameters)
    twin = torch_ref.methods.METHODS[name](torch_ref.hyperparameters.BY_METHOD[name](**settings))
    rows = x[np.unique(np.linspace(0, len(x) - 1, MAX_ROWS).astype(int))]
    batch = rows[: run.method.hyperparameters.batch_size]
    told = f"{len(rows)} rows"
    commands = Case(
        check=f"commands on {name}",
        case=told,
        jax_function=functools.partial(_as_commands_do, run),
        torch_function=functools.partial(use_in_torch, twin),
        inputs={"weights": run.weights, "x": rows},
        dtypes=("float32",),
        jit=False,
    )
    everywhere = np.ones(len(batch))
    cases = [
        use_case(run.method, twin, run.weights, rows, told),
        commands,
        loss_case(run.method, twin, run.weights, batch, everywhere, f"{len(batch)} rows"),
    ]
    return Report(tuple(check_cases(cases)), time.perf_counter() - started)


def _as_commands_do(run: Run, *, weights: Any, x: jax.Array) -> Any:
    """Embeds, reconstructs and scores in padded batches, as `jaxrep embed` and the others do."""
    return {
        use: map_rows(run.method, use, weights, np.asarray(x), input_dim=x.shape[1])
        for use in ("embed", "reconstruct", "score")
        if hasattr(run.method, use)
    }
