"""Numbers of a table as features, and back: the scales of columns, in float64.

TorchScript compiles this file, and its operations are those that `torch.export` and ONNX take:
neither has log1p and expm1 without loss of digits, nor a search in sorted numbers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.batch import FIRST_SPIKE


class Scaling(nn.Module):
    """Numbers x to features (t(x) − mean) / scale and back.

    Args:
        columns: for each its `mean`, `scale` and `scaling`, as `schema.json` has them: of the kind
            `standard`, the default, or `robust`, t is the identity; `log1p` is
            sign(x) · log(1 + |x|); `quantile` interpolates between `values` and `scores`, and
            `spikes` does so, but for its `spikes`, whose features are 8, 9, …

    Example:
        >>> scores = {"kind": "quantile", "values": [0.0, 10.0, 30.0], "scores": [-1.0, 0.0, 1.0]}
        >>> age = {"mean": 40.0, "scale": 10.0}
        >>> scaling = Scaling([age, {"mean": 0.0, "scale": 1.0, "scaling": scores}])
        >>> features = scaling(torch.tensor([[30.0, 20.0], [45.0, 99.0]]).double())
        >>> print(features)
        tensor([[-1.0000,  0.5000],
                [ 0.5000,  1.0000]], dtype=torch.float64)
        >>> print(scaling.invert(features))
        tensor([[30., 20.],
                [45., 30.]], dtype=torch.float64)
    """

    mean: Tensor
    scale: Tensor
    is_log: Tensor
    values: Tensor
    scores: Tensor
    first: Tensor
    last: Tensor
    chosen: Tensor
    order: Tensor
    spikes: Tensor
    limits: Tensor
    is_complete: Tensor
    has_logs: bool
    has_quantiles: bool
    has_spikes: bool
    first_spike: float
    steps: list[int]

    def __init__(self, columns: Sequence[Mapping[str, Any]]):
        super().__init__()
        scalings = [column.get("scaling", {"kind": "standard"}) for column in columns]
        is_log = [scaling["kind"] == "log1p" for scaling in scalings]
        chosen = [c for c, scaling in enumerate(scalings) if "values" in scaling]
        spikes = [scaling.get("spikes", []) for scaling in scalings]
        self.has_logs, self.has_quantiles = any(is_log), bool(chosen)
        self.has_spikes, self.first_spike = any(spikes), FIRST_SPIKE
        lengths = [len(scalings[c]["values"]) for c in chosen]
        steps = (max(lengths, default=1) - 1).bit_length()
        self.steps = [1 << step for step in reversed(range(steps))]
        order = list(range(len(columns)))
        for i, c in enumerate(chosen):
            order[c] = len(columns) + i
        starts = [i << steps for i in range(len(chosen))]
        most = max(map(len, spikes), default=0)
        doubles = {
            "mean": [column["mean"] for column in columns],
            "scale": [column["scale"] for column in columns],
            "values": [v for c in chosen for v in _padded(scalings[c]["values"], 1 << steps)],
            "scores": [v for c in chosen for v in _padded(scalings[c]["scores"], 1 << steps)],
            "limits": [v for c in chosen for v in _padded(_limits(scalings[c]), 1 << steps)],
            # The first spikes of all columns, the second ones, …; NaN, which nothing equals.
            "spikes": [
                [own[i] if i < len(own) else math.nan for own in spikes] for i in range(most)
            ],
        }
        integers = {
            "first": starts,
            "last": [i + n - 1 for i, n in zip(starts, lengths, strict=True)],
            "chosen": chosen,
            "order": order,
        }
        for name, numbers in doubles.items():
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float64))
        for name, indices in integers.items():
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64))
        complete = [bool(scalings[c].get("is_complete", False)) for c in chosen]
        self.register_buffer("is_log", torch.tensor(is_log, dtype=torch.bool))
        self.register_buffer("is_complete", torch.tensor(complete, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Maps numbers `[B, D]` to features `[B, D]`, float64 both; NaN stays NaN."""
        given = x
        if self.has_logs:
            x = torch.where(self.is_log, _signed_log1p(x), x)
        if self.has_quantiles:
            x = self._replaced(x, self._interpolated(x, self.values, self.scores))
        x = (x - self.mean) / self.scale
        if self.has_spikes:
            for i in range(len(self.spikes)):
                x = torch.where(given == self.spikes[i], self.first_spike + i, x)
        return x

    def invert(self, features: Tensor) -> Tensor:
        """Maps features `[B, D]` to numbers `[B, D]`, float64 both; NaN stays NaN."""
        x = features * self.scale + self.mean
        if self.has_logs:
            x = torch.where(self.is_log, _signed_expm1(x), x)
        if self.has_quantiles:
            x = self._replaced(x, self._interpolated(x, self.scores, self.values))
        return self._with_spikes(features, x)

    def draw(self, features: Tensor) -> Tensor:
        """Maps drawn features to numbers; where all values are known, to the value of the ranks."""
        if not self.has_quantiles:
            return self.invert(features)
        x = features * self.scale + self.mean
        if self.has_logs:
            x = torch.where(self.is_log, _signed_expm1(x), x)
        chosen = x.index_select(1, self.chosen)
        at = self.first + torch.zeros_like(chosen).long()
        for step in self.steps:  # a binary search for the last limit below x
            at = at + step * (self.limits[at + step] < chosen).long()
        ranked = torch.where(torch.isnan(chosen), chosen, self.values[at])
        between = self._interpolated(x, self.scores, self.values)
        x = self._replaced(x, torch.where(self.is_complete, ranked, between))
        return self._with_spikes(features, x)

    def _with_spikes(self, features: Tensor, x: Tensor) -> Tensor:
        if self.has_spikes:
            for i in range(len(self.spikes)):
                is_spike = (features >= self.first_spike - 0.5 + i) & ~torch.isnan(self.spikes[i])
                x = torch.where(is_spike, self.spikes[i], x)
        return x

    def _replaced(self, given: Tensor, chosen: Tensor) -> Tensor:
        """Returns columns of which those with quantiles are replaced."""
        return torch.cat([given, chosen], dim=1).index_select(1, self.order)

    def _interpolated(self, given: Tensor, places: Tensor, heights: Tensor) -> Tensor:
        """Returns of the columns with quantiles what is linear between heights at places."""
        given = given.index_select(1, self.chosen)
        x = given
        x = torch.minimum(torch.maximum(x, places[self.first]), places[self.last])
        at = self.first + torch.zeros_like(x).long()
        for step in self.steps:  # a binary search for the last place that is not above x
            at = at + step * (places[at + step] <= x).long()
        at = torch.minimum(at, self.last - 1)
        start, stop = places[at], places[at + 1]
        unit = torch.where(torch.isinf(stop - start), 0.5, 1.0).double()
        share = (x * unit - start * unit) / (stop * unit - start * unit)
        found = heights[at] * (1 - share) + heights[at + 1] * share
        found = torch.minimum(torch.maximum(found, heights[self.first]), heights[self.last])
        return torch.where(torch.isnan(given), given, found)


def _limits(scaling: Mapping[str, Any]) -> list[float]:
    """Returns −∞ and the normal scores between neighbouring values, of which all are known."""
    if not scaling.get("is_complete", False):
        return [-math.inf] * len(scaling["scores"])
    scores = torch.tensor(scaling["scores"], dtype=torch.float64)
    below, shares = 0.0, []
    for middle in torch.special.ndtr(scores[:-1]).tolist():
        below = min(max(2 * middle - below, below), 1.0)
        shares.append(below)
    return [-math.inf, *torch.special.ndtri(torch.tensor(shares, dtype=torch.float64)).tolist()]


def _padded(numbers: Sequence[float], length: int) -> list[float]:
    return [*numbers, *[math.inf] * (length - len(numbers))]


def _signed_log1p(x: Tensor) -> Tensor:
    """Returns sign(x) · log(1 + |x|), with all digits near 0 (Kahan)."""
    size = x.abs()
    rounded = (1 + size) - 1
    divisor = torch.where(rounded == 0, torch.ones_like(size), rounded)
    log = torch.where(rounded == 0, size, torch.log(1 + size) * (size / divisor))
    return torch.sign(x) * log


def _signed_expm1(x: Tensor) -> Tensor:
    """Returns the inverse of `_signed_log1p`, at most the largest float64."""
    largest = torch.full_like(x, 709.782712893384)  # its exponential is the largest float64
    log = torch.where(x.abs() > largest, largest, x.abs())
    power = torch.exp(log)
    is_tiny, is_large = power == 1, log > 1
    divisor = torch.where(is_tiny | is_large, torch.ones_like(log), torch.log(power))
    near = torch.where(is_tiny, log, (power - 1) * (log / divisor))
    return torch.sign(x) * torch.where(is_large, power - 1, near)
