"""Progress on stderr: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from jaxrep.training import Callback
from jaxrep.training import Progress as TrainingProgress

_SECONDS_BETWEEN_LINES = 5.0


class Reporter(Callback):
    """Shows step, loss and rows per second of a run.

    Example:
        >>> with Reporter() as reporter:
        ...     reporter.on_progress(TrainingProgress(1, 1, loss=0.5, rows_per_second=1e6))
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

    def on_progress(self, progress: TrainingProgress) -> None:
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


def report_rows(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Passes a table's blocks on, and says every few seconds how many rows have gone by.

    Example:
        >>> sum(block.num_rows for block in report_rows([pa.table({"a": [1, 2]})]))
        2
    """
    started = last_line = time.monotonic()
    rows = 0
    for block in blocks:
        yield block
        rows += block.num_rows
        now = time.monotonic()
        if now - last_line > _SECONDS_BETWEEN_LINES:
            last_line = now
            line = f"{rows:,} rows written · {rows / (now - started):,.0f} rows/s"
            print(line, file=sys.stderr, flush=True)


@contextmanager
def splits_bar() -> Iterator[Callable[[Iterable[Any]], Iterable[Any]]]:
    """Gives what passes splits on and shows in a terminal how many are measured; elsewhere nothing.

    Example:
        >>> with splits_bar() as watch:
        ...     list(watch([3, 4]))
        [3, 4]
    """
    console = Console(stderr=True)
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("splits measured"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        yield bar.track


@contextmanager
def parts_line() -> Iterator[Callable[[str], None]]:
    """Gives what takes the name of the part at work and shows it in a terminal; elsewhere nothing.

    Example:
        >>> with parts_line() as watch:
        ...     watch("columns")
    """
    console = Console(stderr=True)
    with console.status("") as status:
        yield status.update
