"""Progress of a training run on stderr: a bar in a terminal, a few lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from jaxrep.training import Progress as TrainingProgress

_SECONDS_BETWEEN_LINES = 5.0


class Reporter:
    """Shows step, loss and rows per second; to be called with every `Progress` of a run.

    Example:
        >>> with Reporter() as reporter:
        ...     reporter(TrainingProgress(step=1, steps=1, loss=0.5, rows_per_second=1e6))
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("reading and compiling", total=None)
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        """Shows the bar, where there is a terminal."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the bar as it stands."""
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, progress: TrainingProgress) -> None:
        """Shows where a run stands."""
        standing = f"loss {progress.loss:.5g} · {progress.rows_per_second:,.0f} rows/s"
        if self._console.is_terminal:
            self._bar.update(
                self._task, completed=progress.step, total=progress.steps, description=standing
            )
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            line = f"step {progress.step} of {progress.steps} · {standing}"
            print(line, file=sys.stderr, flush=True)
