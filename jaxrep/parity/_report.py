"""What a cross-check found in all."""

import math
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax

from jaxrep.parity._accuracy_table import render
from jaxrep.parity._bounds import ROUNDOFF
from jaxrep.parity._check import TARGET_RATIO, Accuracy, Check

_PACKAGES = ("jaxrep", "jax", "jaxlib", "flax", "optax", "numpy", "torch")


@dataclass(frozen=True)
class Report:
    """The outcome of a cross-check. `print` it, ask whether it `passed`, or take `to_json()`.

    Example:
        >>> check = Check("mse", "B=3", "float64", passed=False, message="NaN in jax")
        >>> report = Report((check,))
        >>> report.passed, report.failures[0].message
        (False, 'NaN in jax')
    """

    checks: tuple[Check, ...]
    """Every array compared."""

    seconds: float = 0.0
    """How long it took."""

    environment: dict[str, Any] = field(default_factory=lambda: environment())
    """Versions, devices and precision."""

    @property
    def passed(self) -> bool:
        """Whether every check did; false where there was none."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def worst(self) -> list[tuple[Check, int]]:
        """Returns for each check and dtype the case nearest to failing, and the number of cases.

        Those that fail come last.
        """
        grouped = [
            (min(group, key=lambda check: check.tightness), len(group)) for group in self._groups()
        ]
        return sorted(grouped, key=lambda row: not row[0].passed)

    def accuracy(self) -> list[Accuracy]:
        """Returns the errors of both frameworks side by side, for dtypes below float64."""
        rows = []
        for group in self._groups():
            known = [c for c in group if c.jax_error is not None and c.torch_error is not None]
            if not known or known[0].dtype not in ROUNDOFF or known[0].dtype == "float64":
                continue
            floor = ROUNDOFF[known[0].dtype]
            ours = _geometric_mean(max(c.jax_error or 0.0, floor) for c in known)
            theirs = _geometric_mean(max(c.torch_error or 0.0, floor) for c in known)
            rows.append(Accuracy(known[0].check, known[0].dtype, ours, theirs, ours / theirs))
        return rows

    def ratio(self) -> float | None:
        """Returns the geometric mean of all float32 ratios; None where there are none."""
        ratios = [row.ratio for row in self.accuracy() if row.dtype == "float32"]
        return _geometric_mean(ratios) if ratios else None

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts, lists, strings and numbers; the table, and each failing check."""
        rows = [asdict(check) | {"cases": cases} for check, cases in self.worst()]
        return {
            "passed": self.passed,
            "cases": len(self.checks),
            "seconds": self.seconds,
            "float32_ratio": self.ratio(),
            "float32_ratio_target": TARGET_RATIO,
            "environment": self.environment,
            "accuracy": [asdict(row) for row in self.accuracy()],
            "checks": [_finite(row) for row in rows],
            "failures": [_finite(asdict(check)) for check in self.failures],
        }

    def __str__(self) -> str:
        """Returns the tables as text, the failing checks last."""
        return render(self.worst(), self.accuracy(), self.failures, self._summary())

    def _summary(self) -> str:
        if not self.checks:
            return "nothing was compared"
        failed = len(self.failures)
        outcome = (
            f"{failed} of {len(self.checks)} comparisons FAILED"
            if failed
            else (f"all {len(self.checks)} comparisons passed")
        )
        ratio = self.ratio()
        exactness = "" if ratio is None else f"; float32 errors, jax / torch: {ratio:.2f}"
        return f"{outcome}{exactness}; {self.seconds:.1f} s"

    def _groups(self) -> Iterator[list[Check]]:
        groups: dict[tuple[str, str], list[Check]] = {}
        for check in self.checks:
            groups.setdefault((check.check, check.dtype), []).append(check)
        yield from groups.values()


def environment() -> dict[str, Any]:
    """Returns the versions, devices and precision settings under which functions are compared."""
    import torch  # what compares has asked for it before

    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "processor": platform.processor() or platform.machine(),
        "jax_device": f"{device.platform} ({device.device_kind})",
        "torch_device": "cpu",
        "torch_threads": torch.get_num_threads(),
        "jax_matmul_precision": "highest",
        "torch_matmul_precision": "highest",
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: an error that is one becomes null, and the message says what it was."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))
