"""The cross-check of a trained run: its own weights, on its own rows, through both frameworks."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxrep.batch import Batch, RowSpec, as_batch, take
from jaxrep.inference import map_rows
from jaxrep.methods import members_of, split_members
from jaxrep.outputs import OUTPUTS
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._evaluate import require_torch
from jaxrep.parity._models import (
    loss_case,
    output_case,
    outputs_in_torch,
    taken,
    twin_of,
    without_undecided,
)
from jaxrep.parity._report import Report
from jaxrep.runs.folder import Run

MAX_ROWS = 1000


def check_run(run: Run, x: Batch | np.ndarray) -> Report:
    """Compares what a trained run gives in JAX with what its weights give in PyTorch.

    All that its network declares, as functions and as the commands compute them; the loss and its
    gradients on a batch, whose targets are drawn where there are any.

    Args:
        run: the trained run.
        x: rows as the run's features, those of numbers alone also as a matrix `[N, D]`; at most
            1,000 of them are taken, evenly spread.

    Returns:
        The report.

    Raises:
        MissingPackageError: PyTorch is not installed.
    """
    require_torch()
    started = time.perf_counter()
    twin = twin_of(run.method)
    given = as_batch(x)
    chosen = np.unique(np.linspace(0, len(given.numbers) - 1, MAX_ROWS).astype(int))
    rows = take(Batch(given.numbers, given.codes), chosen)
    batch = take(rows, slice(0, run.method.hyperparameters.batch_size))
    z = run.map("embed", rows)
    told = f"{len(chosen)} rows"
    outputs = output_case(run.method, twin, run.rows, run.weights, rows, z, told)
    commands = dataclasses.replace(
        outputs,
        check=f"commands on {run.method.name}",
        jax_function=functools.partial(_as_commands_do, run),
        torch_function=functools.partial(_first_arrays, twin, run.rows),
        dtypes=("float32",),
        jit=False,
    )
    cases = [outputs, commands, *_loss_cases(run, batch)]
    return Report(tuple(check_cases(cases)), time.perf_counter() - started)


def _loss_cases(run: Run, batch: Batch) -> Iterator[Case]:
    """Yields the comparison of every member's loss; they share a program."""
    members = members_of(run.method)
    each = split_members(run.weights, len(members))
    count = len(batch.numbers)
    told, weights = f"{count} rows", np.ones(count)
    twin = twin_of(members[0])
    first = loss_case(members[0], twin, run.rows, each[0], batch, weights, told)
    for member, own in zip(members, each, strict=True):
        of_member = f", seed {member.hyperparameters.seed}" * (len(members) > 1)
        inputs = {**first.inputs, "weights": own}
        yield dataclasses.replace(first, case=told + of_member, inputs=inputs)


def _as_commands_do(run: Run, *, weights: Any, decided: Any, **inputs: Any) -> Any:
    """Computes every output in padded batches, as `jaxrep embed` and the others do."""
    arrays = jax.tree.map(np.asarray, inputs)
    found = {}
    for output in run.outputs:
        given = taken(output, **arrays)
        made = map_rows(run.method, output, weights, given, run.rows)
        found[output] = without_undecided(output, made, decided)
    return found


def _first_arrays(twin: Any, rows: RowSpec, **inputs: Any) -> Any:
    """Returns of each output in torch what `map_rows` returns: the first of its arrays."""
    found = outputs_in_torch(twin, rows, **inputs)
    return {name: x if len(OUTPUTS[name].gives) == 1 else x[0] for name, x in found.items()}
