"""`jaxrep doctor`."""

import dataclasses
from dataclasses import dataclass

from jaxrep.commands._command import Command, Result, note


@dataclass(kw_only=True)
class Doctor(Command):
    """Check what this machine has for jaxrep; exit code 1 if something does not work."""

    def __call__(self) -> tuple[str, Result]:
        """Returns a line for each check, and all findings as JSON."""
        from jaxrep import doctor

        note("checking; two processes that compute together take some seconds …")
        findings = list(doctor.examine())
        lines = [f"{found.status:<8} {found.check:<12} {found.message}" for found in findings]
        result = {
            "passed": all(found.status != "failed" for found in findings),
            "checks": [dataclasses.asdict(found) for found in findings],
        }
        return "\n".join(lines), result
