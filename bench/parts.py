"""Parts of a long measurement, kept as they are taken, so that it can go on after an end.

The folder that `JAXREP_BENCH_PARTS` names holds a file for each part. Without it nothing is kept.
Delete the folder where what is measured has changed.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import commit

commits: set[str] = set()
"""Those at which the parts were measured that this process has returned."""


def part(name: str, measure: Callable[[], Any]) -> Any:
    """Returns a part that was measured before; else measures and keeps it.

    Args:
        name: of the part, and of its file.
        measure: returns plain data.
    """
    folder = os.environ.get("JAXREP_BENCH_PARTS")
    if folder is None:
        return measure()
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        made = {"commit": commit(), "measured": measure()}
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(made), encoding="utf-8")
        unfinished.replace(path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    commits.add(kept["commit"])
    return kept["measured"]
