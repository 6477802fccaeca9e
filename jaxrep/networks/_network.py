"""What every network of a method is: a module that declares what it can be asked for."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from flax import nnx

from jaxrep.batch import Batch
from jaxrep.networks._fitted import EmbeddingScore, OutputBlock
from jaxrep.outputs import OUTPUTS


class Network(nnx.Module):
    """A network that a method trains.

    A subclass names its outputs and has a method of each name, with the signature that
    `jaxrep.outputs.OUTPUTS` states: rows come as a `Batch`, embeddings and draws as arrays.
    `embed` and `score` are always among them.

    Example:
        >>> class Incomplete(Network):
        ...     outputs = ("embed", "score")
        Traceback (most recent call last):
        ...
        TypeError: Incomplete declares the output embed and has no method of that name
    """

    outputs: ClassVar[tuple[str, ...]]

    scores_ratios: bool = False
    """Whether scores are at least 0 and compare by their ratios, as distances and errors do: the
    members of a run then average logarithms of them."""

    draws: int = 0
    """G, how many draws from N(0, 1) a row is generated from; 0 of one that generates none."""

    def __init_subclass__(cls, **options: bool) -> None:
        """Refuses outputs that are unknown, missing, or not defined."""
        super().__init_subclass__(**options)
        for name in cls.outputs:
            if name not in OUTPUTS:
                raise TypeError(
                    f"{cls.__name__} declares the output {name}; there are {', '.join(OUTPUTS)}"
                )
            if not callable(getattr(cls, name, None)):
                raise TypeError(
                    f"{cls.__name__} declares the output {name} and has no method of that name"
                )
        if missing := {"embed", "score"} - set(cls.outputs):
            raise TypeError(f"{cls.__name__} must declare the output {min(missing)}")

    def drop_output_blocks(self) -> None:
        """Takes out what its embedding does not need, of a network that another one stands on."""
        for name, block in list(vars(self).items()):
            if isinstance(block, OutputBlock):
                setattr(self, name, None)

    def fit_statistics(
        self, rows: Batch, compute: Callable[[str, Mapping[str, np.ndarray]], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns the weights that outputs need beyond the trained ones.

        These are the statistics of the network's `EmbeddingScore` blocks; many networks have none.

        Args:
            rows: training rows, all or evenly spaced ones.
            compute: returns what a method of the network gives for them, under its trained weights
                and those given by name.

        Returns:
            Arrays by the names they have in the network.
        """
        blocks = {
            path: module
            for path, module in nnx.iter_modules(self)
            if isinstance(module, EmbeddingScore)
        }
        z = compute("embed", {}) if blocks else np.empty((0, 0))
        return {
            ".".join((*map(str, path), name)): array
            for path, block in blocks.items()
            for name, array in block.fit(z).items()
        }

    def fit_prior(self, compute: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights of what new rows are drawn from, where it is fitted to training rows.

        It is apart from `fit_statistics`, since it takes longer, and no score needs it.

        Args:
            compute: returns what a method of the network gives for training rows.

        Returns:
            Arrays by the names they have in the network; none of most networks.
        """
        return {}
