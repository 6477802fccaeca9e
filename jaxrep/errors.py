"""The errors that a caller may want to tell apart."""


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
    """A loss became infinite or NaN; the message says when. The command line exits with code 1."""
