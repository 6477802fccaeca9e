"""The error for missing values that are refused."""

from collections.abc import Mapping

from jaxrep.errors import InputError

from ._messages import joined


class MissingValuesError(InputError):
    """Values are missing where they are refused; `counts` are their numbers by column."""

    def __init__(self, counts: Mapping[str, int], source: str):
        parts = [f"{name!r} ({count})" for name, count in counts.items()]
        super().__init__(
            f"{source}: missing values in {joined(parts)}; fill them in, leave the columns out, "
            "or leave --impute refuse out"
        )
        self.counts = counts


def refuse_missing(missing: Mapping[str, int], source: str) -> None:
    """Raises a MissingValuesError if there are any."""
    if missing:
        raise MissingValuesError(missing, source)
