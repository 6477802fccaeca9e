"""The pre-trained method below a fine-tuned one, as one of its hyperparameters."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxrep import strict_json
from jaxrep.hyperparameters import TrainingHyperparameters, check, declaration
from jaxrep.methods import _list


@dataclass(frozen=True)
class Backbone:
    """A method by its name, with what its network depends on, as JSON has it.

    Example:
        >>> backbone = Backbone.of(_list.hyperparameters_of("vae")(latent_dim=3))
        >>> backbone.method, backbone.restored().latent_dim
        ('vae', 3)
    """

    method: str
    """Its name."""

    hyperparameters: Mapping[str, Any]
    """All its hyperparameters by name. Those that the host alone reads have their defaults, so
    that backbones which differ in these alone are one."""

    @classmethod
    def of(cls, hyperparameters: TrainingHyperparameters) -> "Backbone":
        """Returns the backbone that a trained method is.

        Args:
            hyperparameters: of the method.
        """
        values = dataclasses.asdict(type(hyperparameters)()) | {
            field.name: getattr(hyperparameters, field.name)
            for field in dataclasses.fields(hyperparameters)
            if declaration(field).kind in ("traced", "shaping") and field.name != "members"
        }
        # What remains of a schedule over epochs or steps is not the network's either.
        return cls(type(hyperparameters).name, json.loads(json.dumps(values)))

    def __hash__(self) -> int:
        """Hashes what makes two backbones equal."""
        return hash((self.method, json.dumps(dict(self.hyperparameters), sort_keys=True)))

    def restored(self) -> TrainingHyperparameters:
        """Returns the method's hyperparameters.

        Raises:
            InputError: there is no such method.
            ValueError: a hyperparameter is missing, unknown, of another type, or out of its range.
        """
        made = _list.hyperparameters_of(self.method)
        restored = strict_json.convert_fields(dict(self.hyperparameters), made)
        check(restored)
        return restored


@dataclass(frozen=True)
class Backbones:
    """The backbones that there can be: methods that learn without labels."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        if isinstance(value, Backbone):
            try:
                if value.restored().predicts is None:
                    return None
            except ValueError:
                pass
        return "a method that learns without labels, with its hyperparameters"
