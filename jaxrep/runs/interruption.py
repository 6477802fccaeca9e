"""Signals that ask a training to stop: looked at between two chunks of steps, never in one."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def listening(
    signals: Sequence[signal.Signals] = _SIGNALS,
) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether one of the signals has come since.

    A second signal does what it did before, so that a user can insist. Off the main thread, where
    Python lets no one listen, nothing ever comes.

    Args:
        signals: to listen to; by default SIGTERM and SIGINT.

    Example:
        >>> with listening() as interrupted:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     interrupted()
        True
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    before = {number: signal.getsignal(number) for number in signals}

    def listen(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in signals:
        signal.signal(number, listen)
    try:
        yield came.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
