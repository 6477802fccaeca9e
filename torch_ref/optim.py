"""Adam and AdamW as torch has them, as in `jaxrep.optim`; step sizes in time and by part.

torch computes the bias correction 1 − βᵗ in Python's float64, whatever the parameters' dtype.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch.nn import Parameter

from torch_ref.weights import flat_name

Rate = float | Callable[[int], float]


class Optimizer(Protocol):
    """What a training step asks of an optimiser."""

    def zero_grad(self) -> None:
        """Forgets the gradients."""

    def step(self) -> Any:
        """Changes the parameters by their gradients."""


Named = Iterable[tuple[str, Parameter]]
# From named parameters; those that need no gradient are left out.
OptimizerFactory = Callable[[Named], Optimizer]


def schedule(
    name: str,
    learning_rate: float,
    *,
    steps: int | None,
    warmup_fraction: float | None = None,
) -> Rate:
    """Returns the step size as a function of the steps taken, t = 0, …, T − 1.

    `constant` is η at every step. `cosine` is η · ½(1 + cos(πt/T)). `warmup_cosine` rises over the
    first W = ⌊fT⌋ steps, η · (t + 1)/(W + 1), and then falls as η · ½(1 + cos(π(t − W)/(T − W))).

    Args:
        name: which of the three.
        learning_rate: η, the largest step size.
        steps: T, all steps of the run. `constant` needs none.
        warmup_fraction: f, in [0, 1), of `warmup_cosine` alone.

    Returns:
        η itself if it is constant, and else a function of the number of steps taken.

    Raises:
        ValueError: `steps` is missing.

    References:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, equation
        5, without restarts.

    Example:
        >>> rate = schedule("warmup_cosine", 1.0, steps=4, warmup_fraction=0.25)
        >>> [round(rate(t), 3) for t in range(4)]
        [0.5, 1.0, 0.75, 0.25]
    """
    if name == "constant":
        return learning_rate
    if steps is None:
        raise ValueError(f"the schedule {name} needs the number of all steps; give `steps`")
    total = steps
    warm = math.floor(total * (warmup_fraction or 0.0)) if name == "warmup_cosine" else 0

    def rate(t: int) -> float:
        if t < warm:
            return learning_rate * (t + 1) / (warm + 1)
        return learning_rate * 0.5 * (1 + math.cos(math.pi * (t - warm) / (total - warm)))

    return rate


class _Scheduled:
    """An optimiser whose step size is set before every step."""

    def __init__(self, optimizer: torch.optim.Optimizer, rate: Callable[[int], float]):
        self._optimizer, self._rate, self._taken = optimizer, rate, 0

    def zero_grad(self) -> None:
        self._optimizer.zero_grad()

    def step(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self._taken)
        self._optimizer.step()
        self._taken += 1


class _Clipped:
    """An optimiser whose gradients are scaled down to a norm before every step."""

    def __init__(self, optimizer: Optimizer, parameters: list[Parameter], norm: float):
        self._optimizer, self._parameters, self._norm = optimizer, parameters, norm

    def zero_grad(self) -> None:
        self._optimizer.zero_grad()

    def step(self) -> None:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        total = torch.stack([(gradient**2).sum() for gradient in gradients]).sum().sqrt()
        if total >= self._norm:
            for gradient in gradients:
                gradient.mul_(self._norm / total)
        self._optimizer.step()


def clipped(make: OptimizerFactory, norm: float) -> OptimizerFactory:
    """Returns an optimiser that sees g · c/‖g‖ where the norm ‖g‖ of all gradients reaches c.

    `torch.nn.utils.clip_grad_norm_` divides by ‖g‖ + 1e-6; this is optax's `clip_by_global_norm`.

    Args:
        make: from named parameters to their optimiser.
        norm: c, above 0.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> p.grad = torch.tensor([3.0, 4.0])
        >>> clipped(lambda named: torch.optim.SGD(named, lr=1.0), 1.0)([("p", p)]).step()
        >>> print(p.detach())
        tensor([-0.6000, -0.8000])
    """

    def made(named: Named) -> Optimizer:
        every = _trained(named)
        return _Clipped(make(every), [parameter for _, parameter in every], norm)

    return made


def adam(*, learning_rate: Rate, weight_decay: float, b2: float = 0.999) -> OptimizerFactory:
    """Adam with coupled L2: the gradient becomes g + λp before the moments are taken.

    Args:
        learning_rate: step size, or what `schedule` returns.
        weight_decay: λ.
        b2: decay rate β₂ of Adam's mean of squares.

    Returns:
        A function from named parameters to their optimiser.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(1))
        >>> p.grad = torch.ones(1)
        >>> adam(learning_rate=0.1, weight_decay=0.0)([("p", p)]).step()
        >>> print(p.detach())
        tensor([-0.1000])
    """
    return _made(torch.optim.Adam, learning_rate, weight_decay, b2)


def adamw(*, learning_rate: Rate, weight_decay: float, b2: float = 0.999) -> OptimizerFactory:
    """Adam with decoupled weight decay: p shrinks by learning rate · λ · p beside Adam's step.

    Args:
        learning_rate: step size, or what `schedule` returns.
        weight_decay: λ.
        b2: decay rate β₂ of Adam's mean of squares.

    Returns:
        A function from named parameters to their optimiser.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> p.grad = torch.ones(1)
        >>> adamw(learning_rate=0.1, weight_decay=0.5)([("p", p)]).step()
        >>> print(p.detach())
        tensor([0.8500])
    """
    return _made(torch.optim.AdamW, learning_rate, weight_decay, b2)


def _made(
    kind: type[torch.optim.Adam], learning_rate: Rate, weight_decay: float, b2: float
) -> OptimizerFactory:
    first = learning_rate(0) if callable(learning_rate) else learning_rate

    def make(named: Named) -> Optimizer:
        made = kind(_trained(named), lr=first, betas=(0.9, b2), weight_decay=weight_decay)
        return _Scheduled(made, learning_rate) if callable(learning_rate) else made

    return make


class _ByPart:
    """Several optimisers, each of parameters of its own."""

    def __init__(self, optimizers: list[Optimizer]):
        self._optimizers = optimizers

    def zero_grad(self) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()


def by_part(
    make: Callable[[Rate], OptimizerFactory], rates: Mapping[str, Rate]
) -> OptimizerFactory:
    """Trains the parameters of each part of a network at a learning rate of its own.

    A parameter is in the part whose name its own begins with, whole words between dots: the part
    `backbone` has `backbone.0.kernel`. Of several parts that fit, it is in the one of the longest
    name; all are in the part `""`.

    Args:
        make: from a learning rate to a function from named parameters to their optimiser.
        rates: the learning rate of each part, or what `schedule` returns.

    Returns:
        A function from named parameters, such as `network.named_parameters()`, to their optimiser.

    Raises:
        ValueError: names a parameter that is in no part.

    Example:
        >>> model = torch.nn.ParameterDict({"backbone": torch.zeros(1), "head": torch.zeros(1)})
        >>> optimizer = by_part(
        ...     lambda rate: lambda named: torch.optim.SGD(named, lr=rate),
        ...     {"backbone": 0.25, "head": 1.0},
        ... )(model.named_parameters())
        >>> sum(model.values()).backward()
        >>> optimizer.step()
        >>> print(model["backbone"].item(), model["head"].item())
        -0.25 -1.0
    """

    def made(named: Named) -> Optimizer:
        members: dict[str, list[tuple[str, Parameter]]] = {}
        for name, parameter in _trained(named):
            part = _part_of(flat_name(name), rates)
            members.setdefault(part, []).append((name, parameter))
        return _ByPart([make(rates[part])(found) for part, found in members.items()])

    return made


def _trained(named: Named) -> list[tuple[str, Parameter]]:
    return [(name, parameter) for name, parameter in named if parameter.requires_grad]


def _part_of(name: str, parts: Iterable[str]) -> str:
    fitting = [part for part in parts if part == "" or f"{name}.".startswith(f"{part}.")]
    if not fitting:
        raise ValueError(f"the parameter {name} is in none of the parts {list(parts)}")
    return max(fitting, key=len)
