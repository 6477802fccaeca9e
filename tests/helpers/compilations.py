"""Which programs XLA compiles while a block runs, by jax's own log."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def count_compilations() -> Iterator[list[str]]:
    """Yields a list that the names of compiled programs are added to; inside `jax.log_compiles`."""
    found: list[str] = []
    handler = logging.Handler()

    def note(record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "Finished XLA compilation" in message:
            found.append(message)

    handler.emit = note  # type: ignore[method-assign]
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
