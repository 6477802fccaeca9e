"""All suites of checks, from single weights up to whole training runs."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from jaxrep.errors import InputError
from jaxrep.parity._check import Check
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._evaluate import explain, require_torch
from jaxrep.parity._functions import loss_cases, optimizer_cases, view_cases
from jaxrep.parity._models import method_cases, output_cases, weight_checks
from jaxrep.parity._norms import norm_cases
from jaxrep.parity._priors import prior_cases
from jaxrep.parity._report import Report, environment
from jaxrep.parity._rows import row_cases
from jaxrep.parity._scores import score_cases
from jaxrep.parity._training import epoch_checks, trajectory_checks

Suite = Callable[[bool], Iterable[Case | Check]]

SUITES: dict[str, Suite] = {
    "weights": weight_checks,
    "rows": row_cases,
    "outputs": output_cases,
    "scores": score_cases,
    "priors": prior_cases,
    "norms": norm_cases,
    "losses": loss_cases,
    "methods": method_cases,
    "views": view_cases,
    "optimizers": optimizer_cases,
    "epochs": epoch_checks,
    "trajectories": trajectory_checks,
}


def run_suites(
    *,
    quick: bool = False,
    suites: Collection[str] = tuple(SUITES),
    on_suite: Callable[[str], None] = lambda name: None,
) -> Report:
    """Compares all of jaxrep with torch_ref: weights, models, losses, steps and whole runs.

    Args:
        quick: fewer shapes, 40 steps of each training in the place of all, and programs that
            compile fast in the place of running fast; every kind of check stays.
        suites: names of the suites to run, of `SUITES`.
        on_suite: called with the name of each suite before it begins.

    Returns:
        The report.

    Raises:
        InputError: there is no such suite.
        MissingPackageError: PyTorch is not installed.

    Example:
        >>> run_suites(quick=True, suites=["weights"]).passed
        True
    """
    require_torch()
    unknown = [name for name in suites if name not in SUITES]
    if unknown:
        raise InputError(f"there are no suites {unknown}; there are {', '.join(SUITES)}")
    started = time.perf_counter()
    checks: list[Check] = []
    with _one_torch_thread():
        for name in (name for name in SUITES if name in suites):
            on_suite(name)
            checks += _checks_of(name, quick)
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


def _checks_of(name: str, quick: bool) -> Iterator[Check]:
    """Yields the checks of a suite; one that raises is a check that failed, with the reason."""
    cases: list[Case] = []
    try:
        for item in SUITES[name](quick):
            if isinstance(item, Case):
                cases.append(item)
            else:
                yield item
        yield from check_cases(cases, light=quick)
    except Exception as error:
        yield Check(name, "", "", passed=False, message=explain("this suite", error))
