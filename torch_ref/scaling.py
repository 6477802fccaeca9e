"""Numbers of a table as features, and back: the scales of columns, in float64.

TorchScript compiles this file, and its operations are those that `torch.export` and ONNX take:
neither has log1p and expm1 without loss of digits, nor a search in sorted numbers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Scaling(nn.Module):
    """Numbers x to features (t(x) − mean) / scale and back.

    Args:
        columns: for each its `mean`, `scale` and `scaling`, as `schema.json` has them: of the kind
            `standard`, the default, or `robust`, t is the identity; `log1p` is
            sign(x) · log(1 + |x|); `quantile` interpolates between `values` and `scores`.

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
    has_logs: bool
    has_quantiles: bool
    steps: list[int]

    def __init__(self, columns: Sequence[Mapping[str, Any]]):
        super().__init__()
        scalings = [column.get("scaling", {"kind": "standard"}) for column in columns]
        is_log = [scaling["kind"] == "log1p" for scaling in scalings]
        chosen = [c for c, scaling in enumerate(scalings) if scaling["kind"] == "quantile"]
        self.has_logs, self.has_quantiles = any(is_log), bool(chosen)
        lengths = [len(scalings[c]["values"]) for c in chosen]
        steps = (max(lengths, default=1) - 1).bit_length()
        self.steps = [1 << step for step in reversed(range(steps))]
        order = list(range(len(columns)))
        for i, c in enumerate(chosen):
            order[c] = len(columns) + i
        starts = [i << steps for i in range(len(chosen))]
        doubles = {
            "mean": [column["mean"] for column in columns],
            "scale": [column["scale"] for column in columns],
            "values": [v for c in chosen for v in _padded(scalings[c]["values"], 1 << steps)],
            "scores": [v for c in chosen for v in _padded(scalings[c]["scores"], 1 << steps)],
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
        self.register_buffer("is_log", torch.tensor(is_log, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Maps numbers `[B, D]` to features `[B, D]`, float64 both; NaN stays NaN."""
        if self.has_logs:
            x = torch.where(self.is_log, _signed_log1p(x), x)
        if self.has_quantiles:
            x = self._interpolate(x, self.values, self.scores)
        return (x - self.mean) / self.scale

    def invert(self, features: Tensor) -> Tensor:
        """Maps features `[B, D]` to numbers `[B, D]`, float64 both; NaN stays NaN."""
        x = features * self.scale + self.mean
        if self.has_logs:
            x = torch.where(self.is_log, _signed_expm1(x), x)
        if self.has_quantiles:
            x = self._interpolate(x, self.scores, self.values)
        return x

    def _interpolate(self, given: Tensor, places: Tensor, heights: Tensor) -> Tensor:
        """Replaces the columns with quantiles by what is linear between heights at places."""
        x = given.index_select(1, self.chosen)
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
        replaced = torch.cat([given, found], dim=1).index_select(1, self.order)
        return torch.where(torch.isnan(given), given, replaced)


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
