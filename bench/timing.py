"""The clock."""

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Returns the seconds that some work takes; it must be done when it returns.

    Example:
        >>> seconds(lambda: None) < 1
        True
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rate(count: int, work: Callable[[], object]) -> float:
    """Returns `count` over the seconds that some work takes."""
    return count / seconds(work)
