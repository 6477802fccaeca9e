"""The errors that a caller may want to tell apart."""

from collections.abc import Sequence


class InputError(ValueError):
    """Something given by the user is wrong; the message says what, where, and what to do.

    The command line prints the message alone and exits with code 2.
    """


class ModelFormatError(InputError):
    """A run folder is missing, incomplete, or not what its manifest and schema promise."""


class MissingPackageError(InputError, ImportError):
    """A package that is not installed is needed; the message says how to install it."""


class VerificationError(RuntimeError):
    """What was made does not give what it has to; the command line exits with code 1."""


class DivergedError(ArithmeticError):
    """A loss became infinite or NaN; the message says when. The command line exits with code 1.

    Args:
        message: what happened, and when.
        step: number of the step in the run, from 0; None for the loss of rows held out.
        rows: indices of the training rows in its batch.
    """

    def __init__(self, message: str, *, step: int | None = None, rows: Sequence[int] = ()):
        super().__init__(message)
        self.step, self.rows = step, rows


class DataWarning(UserWarning):
    """Cells or columns of a table that an estimator does not use as they are; it says which."""


class ForkedProcessError(RuntimeError):
    """The process was forked after JAX ran, and cannot compute; the message says what to do."""


class InterruptedRunError(RuntimeError):
    """A training was told to stop, and can continue; the command line exits with code 75."""
