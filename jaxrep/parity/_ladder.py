"""The whole ladder of checks, from single weights up to whole training runs."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from jaxrep.errors import InputError
from jaxrep.parity._check import Check
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._evaluate import explain, require_torch
from jaxrep.parity._functions import loss_cases, optimizer_cases, view_cases
from jaxrep.parity._models import method_cases, output_cases, weight_checks
from jaxrep.parity._report import Report, environment
from jaxrep.parity._training import epoch_checks, trajectory_checks

Rung = Callable[[bool], Iterable[Case | Check]]

RUNGS: dict[str, Rung] = {
    "weights": weight_checks,
    "outputs": output_cases,
    "losses": loss_cases,
    "methods": method_cases,
    "views": view_cases,
    "optimizers": optimizer_cases,
    "epochs": epoch_checks,
    "trajectories": trajectory_checks,
}


def run_ladder(
    *,
    quick: bool = False,
    rungs: Collection[str] = tuple(RUNGS),
    on_rung: Callable[[str], None] = lambda name: None,
) -> Report:
    """Compares all of jaxrep with torch_ref: weights, models, losses, steps and whole runs.

    Args:
        quick: fewer shapes, 40 steps of each training in the place of all, and programs that
            compile fast in the place of running fast; every kind of check stays.
        rungs: the parts of the ladder to climb, of `RUNGS`.
        on_rung: called with the name of each rung before it begins.

    Returns:
        The report.

    Raises:
        InputError: a rung that there is not.
        MissingPackageError: PyTorch is not installed.

    Example:
        >>> run_ladder(quick=True, rungs=["weights"]).passed
        True
    """
    require_torch()
    unknown = [name for name in rungs if name not in RUNGS]
    if unknown:
        raise InputError(f"there are no rungs {unknown}; there are {', '.join(RUNGS)}")
    started = time.perf_counter()
    checks: list[Check] = []
    with _one_torch_thread():
        for name in (name for name in RUNGS if name in rungs):
            on_rung(name)
            checks += _climb(name, quick)
        about = environment() | {"quick": quick, "compilation": "light" if quick else "full"}
    return Report(tuple(checks), time.perf_counter() - started, about)


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """For models this small a second thread only waits, and takes a core from XLA's compiler."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _climb(name: str, quick: bool) -> Iterator[Check]:
    """Yields a rung's checks; one that raises is a check that failed, with the reason."""
    cases: list[Case] = []
    try:
        for item in RUNGS[name](quick):
            if isinstance(item, Case):
                cases.append(item)
            else:
                yield item
        yield from check_cases(cases, light=quick)
    except Exception as error:
        yield Check(name, "", "", passed=False, message=explain("this rung", error))
