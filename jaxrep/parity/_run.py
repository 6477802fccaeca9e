"""The cross-check of a trained run: its own weights, on its own rows, through both frameworks."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxrep.inference import map_rows
from jaxrep.methods import members_of, split_members
from jaxrep.outputs import OUTPUTS
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._evaluate import require_torch
from jaxrep.parity._models import loss_case, output_case, outputs_in_torch, twin_of
from jaxrep.parity._report import Report
from jaxrep.runs.folder import Run

MAX_ROWS = 1000


def check_run(run: Run, x: np.ndarray) -> Report:
    """Compares what a trained run gives in JAX with what its weights give in PyTorch.

    All that its network declares, as functions and as the commands compute them; the loss and its
    gradients on a batch, whose targets are drawn where there are any.

    Args:
        run: the trained run.
        x: rows as the run's features, `[N, D]`; at most 1,000 of them are taken, evenly spread.

    Returns:
        The report.

    Raises:
        MissingPackageError: PyTorch is not installed.
    """
    require_torch()
    started = time.perf_counter()
    twin = twin_of(run.method)
    rows = x[np.unique(np.linspace(0, len(x) - 1, MAX_ROWS).astype(int))]
    batch = rows[: run.method.hyperparameters.batch_size]
    z = run.map("embed", rows)
    told = f"{len(rows)} rows"
    commands = Case(
        check=f"commands on {run.method.name}",
        case=told,
        jax_function=functools.partial(_as_commands_do, run),
        torch_function=functools.partial(_first_arrays, twin),
        inputs={"weights": run.weights, "x": rows, "z": z},
        dtypes=("float32",),
        jit=False,
    )
    cases = [
        output_case(run.method, twin, run.weights, rows, z, told),
        commands,
        *_loss_cases(run, batch),
    ]
    return Report(tuple(check_cases(cases)), time.perf_counter() - started)


def _loss_cases(run: Run, batch: np.ndarray) -> Iterator[Case]:
    """Yields the comparison of every member's loss; they share a program."""
    members = members_of(run.method)
    each = split_members(run.weights, len(members))
    told = f"{len(batch)} rows"
    first = loss_case(members[0], twin_of(members[0]), each[0], batch, np.ones(len(batch)), told)
    for member, weights in zip(members, each, strict=True):
        of_member = f", seed {member.hyperparameters.seed}" * (len(members) > 1)
        inputs = {**first.inputs, "weights": weights}
        yield dataclasses.replace(first, case=told + of_member, inputs=inputs)


def _as_commands_do(run: Run, *, weights: Any, x: jax.Array, z: jax.Array) -> Any:
    """Computes every output in padded batches, as `jaxrep embed` and the others do."""
    return {
        output: map_rows(
            run.method,
            output,
            weights,
            np.asarray(x if OUTPUTS[output].takes == "rows" else z),
            run.rows,
        )
        for output in run.outputs
    }


def _first_arrays(twin: Any, **inputs: Any) -> Any:
    """Returns of each output in torch what `map_rows` returns: the first of its arrays."""
    found = outputs_in_torch(twin, **inputs)
    return {name: x[0] if isinstance(x, tuple) else x for name, x in found.items()}
