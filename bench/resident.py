"""`jaxrep` as a process of its own that says at its end how much memory it had at most.

    python -m bench.resident COMMAND …

runs `jaxrep COMMAND …`; the last line of stdout is the peak of its resident memory in bytes. Linux
alone counts it. This module imports nothing that the command does not: it would be counted too.
"""

import sys
from collections.abc import Sequence
from pathlib import Path


def peak() -> int:
    """Returns the most bytes of memory that this process has had resident at once."""
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line of jaxrep and prints the peak; returns the exit code."""
    from jaxrep import cli

    code = cli.main(arguments)
    print(peak())
    return code


if __name__ == "__main__":
    sys.exit(main())
