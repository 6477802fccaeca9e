"""What every network of a method is: a module that declares what it can be asked for."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from torch import nn

from torch_ref.batch import Batch
from torch_ref.networks._fitted import EmbeddingScore, OutputBlock
from torch_ref.outputs import OUTPUTS


class Network(nn.Module):
    """A network that a method trains.

    A subclass names its outputs and has a method of each name, with the signature that
    `torch_ref.outputs.OUTPUTS` states: rows come as a `Batch`, embeddings and draws as tensors.
    `embed` and `score` are always among them. TorchScript compiles these methods: their arguments
    and results have types, and they take no `**`.

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

    def __init_subclass__(cls) -> None:
        """Refuses outputs that are unknown, missing, or not defined."""
        super().__init_subclass__()
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
        for name, block in list(self.named_children()):
            if isinstance(block, OutputBlock):
                delattr(self, name)  # for TorchScript no module, not one that is None
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
            n: module for n, module in self.named_modules() if isinstance(module, EmbeddingScore)
        }
        z = compute("embed", {}) if blocks else np.empty((0, 0))
        return {
            f"{path}.{name}": array
            for path, block in blocks.items()
            for name, array in block.fit(z).items()
        }
