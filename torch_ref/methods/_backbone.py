"""The pre-trained method below a fine-tuned one, as one of its hyperparameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """A method by its name, with its hyperparameters, as JSON has them."""

    method: str
    """Its name."""

    hyperparameters: Mapping[str, Any]
    """All its hyperparameters by name; lists stand for tuples."""
