"""Numerical truth: JAX against PyTorch, in values, gradients, steps and whole runs.

PyTorch is imported when something is compared, not before.
"""

from jaxrep.parity._check import Accuracy as Accuracy
from jaxrep.parity._check import Check as Check
from jaxrep.parity._cross_check import cross_check as cross_check
from jaxrep.parity._decided import decided_cells as decided_cells
from jaxrep.parity._evaluate import require_torch as require_torch
from jaxrep.parity._locate import LayerComparison as LayerComparison
from jaxrep.parity._locate import Located as Located
from jaxrep.parity._locate import locate as locate
from jaxrep.parity._report import Report as Report
from jaxrep.parity._run import check_run as check_run
from jaxrep.parity._suites import run_suites as run_suites
