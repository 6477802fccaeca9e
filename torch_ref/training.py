"""Training in eager PyTorch: the same steps, on given batches or on batches it draws itself.

`replay` takes rows, noise and weights as arguments, which is how a run of jaxrep is repeated here.
`fit` draws its own, as a plain PyTorch script does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torch_ref.hyperparameters import check
from torch_ref.methods import Method, Noise

AnyMethod = Method[Any, Any]


class Batch(NamedTuple):
    """What a loss takes besides the model."""

    x: Tensor
    """Rows, `[B, D]`."""

    noise: Noise
    """Drawn noise by name."""

    weights: Tensor
    """Row weights, `[B]`."""


@dataclass(frozen=True)
class Fit:
    """A finished training run."""

    model: nn.Module
    """The trained model."""

    history: list[dict[str, float]]
    """For each epoch its number from 1 as `epoch` and the means over rows of all metrics."""


def train_step(
    method: AnyMethod, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
) -> dict[str, float]:
    """Takes one step of the optimiser, in place.

    Args:
        method: its loss.
        model: from the method's `init_model`.
        optimizer: over the model's parameters.
        batch: rows, noise and weights.

    Returns:
        The loss and the method's metrics before the step.
    """
    optimizer.zero_grad()
    in_bfloat16 = method.hyperparameters.precision == "bfloat16"
    with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=in_bfloat16):
        loss, metrics = method.loss(model, batch.x, batch.noise, batch.weights)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {"loss": loss.item(), **{name: metric.item() for name, metric in metrics.items()}}


def replay(
    method: AnyMethod, model: nn.Module, batches: Iterable[Batch]
) -> Iterator[dict[str, float]]:
    """Trains a model on given batches, in place, step by step.

    Args:
        method: its loss and optimiser.
        model: with the initial weights; trained in place.
        batches: one for each step.

    Yields:
        The metrics of each step, once it is taken.

    Example:
        >>> from torch_ref.hyperparameters import AutoencoderHyperparameters
        >>> from torch_ref.methods import Autoencoder
        >>> method = Autoencoder(AutoencoderHyperparameters())
        >>> batch = Batch(torch.ones(4, 3), {}, torch.ones(4))
        >>> model = method.init_model(3, torch.Generator().manual_seed(0))
        >>> losses = [metrics["loss"] for metrics in replay(method, model, [batch] * 5)]
        >>> losses[-1] < losses[0]
        True
    """
    optimizer = method.optimizer()(model.parameters())
    for batch in batches:
        yield train_step(method, model, optimizer, batch)


def fit(method: AnyMethod, x: Tensor) -> Fit:
    """Trains a method on rows, drawing order and noise itself.

    Args:
        method: one of `torch_ref.methods`.
        x: training rows, standardised, `[rows, D]`.

    Returns:
        The trained model and the history.

    Raises:
        ValueError: a hyperparameter out of its range.

    Example:
        >>> from torch_ref.hyperparameters import VAEHyperparameters
        >>> from torch_ref.methods import VAE
        >>> run = fit(VAE(VAEHyperparameters(epochs=2)), torch.randn(100, 3))
        >>> [epoch["epoch"] for epoch in run.history]
        [1, 2]
    """
    hyperparameters = method.hyperparameters
    check(hyperparameters)
    generator = torch.Generator().manual_seed(hyperparameters.seed)
    model = method.init_model(x.shape[1], generator)
    optimizer = method.optimizer()(model.parameters())
    history = []
    for epoch in range(1, hyperparameters.epochs + 1):
        sums: dict[str, float] = {}
        order = torch.randperm(len(x), generator=generator)
        for rows in torch.split(order, hyperparameters.batch_size):
            noise = method.draw_noise(generator, x[rows], x)
            batch = Batch(x[rows], noise, torch.ones(len(rows), dtype=x.dtype))
            for name, value in train_step(method, model, optimizer, batch).items():
                sums[name] = sums.get(name, 0.0) + value * len(rows)
        history.append({"epoch": epoch, **{name: s / len(x) for name, s in sums.items()}})
    return Fit(model, history)
