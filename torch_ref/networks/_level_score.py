"""A score from how well a denoiser gives rows back at several noise levels."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from torch_ref.batch import Batch, RowSpec
from torch_ref.networks._fitted import OutputBlock

LEVELS = (0.1, 0.2, 0.4)
"""The noise levels that a score looks at beside 0, at which a row is as it is."""

DRAWS = 2
"""Corruptions at each of them, opposite to each other: their noises add up to 0."""

_LEAST_ERROR = 1e-12  # of a row that is given back exactly, whose logarithm would not be finite
_LEAST_SCALE = 1e-6


class LevelScore(OutputBlock):
    """Mean over noise levels of the standardised logarithm of a row's error.

    A level's error is the mean over two opposite corruptions of the row, at level 0 that of the
    row as it is. All rows are corrupted by the same draws, which are the seed's, so that a score
    depends on the network and the row alone. The logarithms are standardised by those of the
    training rows, whose mean score is 0. Before the statistics of `fit` are in, they are not.

    Args:
        rows: what every row holds.
        generator: source of the draws.

    Example:
        >>> score = LevelScore(RowSpec(2), generator=torch.Generator())
        >>> print(score(torch.ones(1, 4)), len(score.levels))
        tensor([0.]) 6
    """

    normal: Tensor
    places: Tensor
    codes: Tensor
    mean: Tensor
    scale: Tensor
    levels: list[float]
    least: float
    repeats: int
    has_codes: Final[bool]

    def __init__(self, rows: RowSpec, *, generator: torch.Generator):
        super().__init__()
        self.levels = [level for level in LEVELS for _ in range(DRAWS)]
        self.least, self.repeats, self.has_codes = _LEAST_ERROR, DRAWS, rows.codes > 0
        count = len(LEVELS)
        normal = torch.randn(count, rows.numbers, generator=generator)
        self.register_buffer("normal", torch.stack([normal, -normal], dim=1).flatten(0, 1))
        if rows.codes:
            places = torch.rand(count, rows.codes, generator=generator)
            self.register_buffer("places", torch.stack([places, 1 - places], dim=1).flatten(0, 1))
            self.register_buffer("codes", torch.zeros(DRAWS * count, rows.codes))
        self.register_buffer("mean", torch.zeros(1 + len(LEVELS)))
        self.register_buffer("scale", torch.ones(1 + len(LEVELS)))

    def forward(self, errors: Tensor) -> Tensor:
        """Maps the errors of rows by level, `[B, L]`, to scores `[B]`; higher is odder."""
        standardised = (torch.log(errors.clamp_min(self.least)) - self.mean) / self.scale
        return standardised.mean(dim=-1)

    def draw(self, i: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the i-th corruption as `views.diffuse` takes it, the same for all rows, `[1, …]`.

        It is normal numbers, and where there are codes, their places and values.
        """
        normal = self.normal[i : i + 1]
        if self.has_codes:
            return normal, self.places[i : i + 1], self.codes[i : i + 1]
        return normal, None, None

    def means(self, plain: Tensor, of_draws: Tensor) -> Tensor:
        """Returns the errors of rows by level, `[B, L]`.

        Args:
            plain: at level 0, `[B]`.
            of_draws: at the levels of the draws, `[S, B]`.
        """
        count = of_draws.size(0) // self.repeats
        others = of_draws.view(count, self.repeats, of_draws.size(1)).mean(dim=1)
        return torch.cat([plain[None, :], others]).t()

    def codes_of(self, rows: Batch) -> dict[str, np.ndarray]:
        """Returns what replaces codes: those of training rows, another row for each draw and code.

        Args:
            rows: training rows.
        """
        if rows.codes is None:
            return {}
        codes = np.asarray(rows.codes)
        shape = (len(self.levels), codes.shape[1])
        # Multiples of the golden ratio, which lie evenly and apart.
        chosen = (np.arange(shape[0] * shape[1]) * 0.6180339887498949 % 1 * len(codes)).astype(int)
        taken = codes[chosen.reshape(shape), np.arange(shape[1])[None, :]]
        return {"codes": taken.astype(np.float32)}

    @staticmethod
    def fit(errors: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the statistics of training rows, by the names of this module's buffers.

        Args:
            errors: of training rows by level, `[rows, L]`.
        """
        logs = torch.from_numpy(errors.astype(np.float64)).clamp_min(_LEAST_ERROR).log()
        mean, scale = logs.mean(dim=0), logs.std(dim=0, correction=0).clamp_min(_LEAST_SCALE)
        return {"mean": mean.float().numpy(), "scale": scale.float().numpy()}
