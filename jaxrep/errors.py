"""The errors that a person's input can cause."""


class InputError(ValueError):
    """Something given by the user is wrong; the message says what, where, and what to do.

    The command line prints the message alone and exits with code 2.
    """


class ModelFormatError(InputError):
    """A run folder is missing, incomplete, or not what its manifest and schema promise."""
