"""Columns are worked on by all CPUs: pyarrow and NumPy leave Python's lock while they compute."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

_FEW_CELLS = 1 << 16  # for which threads are not worth their start


def for_each(
    function: Callable[[_Item], _Made], items: Iterable[_Item], *, cells: int
) -> list[_Made]:
    """Returns what a function gives for each item; the first error, in their order, is raised.

    Args:
        function: of one item, independent of the others.
        items: columns, as a rule.
        cells: how many cells there are in all.

    Example:
        >>> for_each(len, ["a", "bc"], cells=3)
        [1, 2]
    """
    items = list(items)
    threads = min(len(items), _cpus())
    if threads < 2 or cells < _FEW_CELLS:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
