"""Training in eager PyTorch: the same steps, on given batches or on batches it draws itself.

`replay` takes rows, weights and noise as arguments, which is how a run of jaxrep is repeated here.
`fit` draws its own, as a plain PyTorch script does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_ref import optim
from torch_ref.batch import Batch, RowSpec, as_batch, take
from torch_ref.methods import AnyMethod
from torch_ref.networks import Network
from torch_ref.views import Draws, Noise


@dataclass(frozen=True)
class Fit:
    """A finished training run."""

    network: Network
    """The trained network."""

    history: list[dict[str, float]]
    """For each epoch its number from 1 as `epoch` and the means over rows of all metrics."""


def train_step(
    method: AnyMethod,
    network: Network,
    optimizer: optim.Optimizer,
    batch: Batch,
    noise: Noise,
) -> dict[str, float]:
    """Takes one step of the optimiser, in place.

    Args:
        method: its loss.
        network: from the method's `init`.
        optimizer: over the network's parameters.
        batch: rows and their weights.
        noise: from the method's `noise`.

    Returns:
        The loss and the method's metrics before the step.
    """
    optimizer.zero_grad()
    in_bfloat16 = method.hyperparameters.precision == "bfloat16"
    with torch.autocast(batch.numbers.device.type, torch.bfloat16, enabled=in_bfloat16):
        loss, metrics = method.loss(network, batch, noise)
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)  # as in JAX, so that it decays as others
    optimizer.step()
    return {"loss": loss.item(), **{name: metric.item() for name, metric in metrics.items()}}


def replay(
    method: AnyMethod,
    network: Network,
    steps: Iterable[tuple[Batch, Noise]],
    total: int | None = None,
) -> Iterator[dict[str, float]]:
    """Trains a network on given batches, in place, step by step.

    Args:
        method: its loss and optimiser.
        network: with the initial weights; trained in place.
        steps: a batch and its noise for each step.
        total: steps of the whole run, for methods with a schedule.

    Yields:
        The metrics of each step, once it is taken.

    Example:
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import AutoencoderHyperparameters
        >>> from torch_ref.methods import Autoencoder
        >>> method = Autoencoder(**asdict(AutoencoderHyperparameters()))
        >>> network = method.init(RowSpec(3), torch.Generator().manual_seed(0))
        >>> steps = [(Batch(torch.ones(4, 3)), {})] * 5
        >>> losses = [metrics["loss"] for metrics in replay(method, network, steps)]
        >>> losses[-1] < losses[0]
        True
    """
    optimizer = method.optimizer(total)(network.named_parameters())
    for batch, noise in steps:
        yield train_step(method, network, optimizer, batch, noise)


def fit(method: AnyMethod, x: Tensor | Batch, *, spec: RowSpec | None = None) -> Fit:
    """Trains a method on rows, drawing order and noise itself.

    Args:
        method: from `torch_ref.methods`.
        x: training rows: numbers, scaled, `[rows, D]`; or a batch of them, with codes and targets.
        spec: what every row holds; by default D numbers, none of which may be missing.

    Returns:
        The trained network and the history.

    Raises:
        ValueError: the method has several members, each of which is to be trained by itself.

    Example:
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import VAEHyperparameters
        >>> from torch_ref.methods import VAE
        >>> run = fit(VAE(**asdict(VAEHyperparameters(epochs=2))), torch.randn(100, 3))
        >>> [epoch["epoch"] for epoch in run.history]
        [1, 2]
    """
    hyperparameters = method.hyperparameters
    if hyperparameters.members > 1:
        raise ValueError(
            f"members is {hyperparameters.members}; train each by itself, with its own seed, and "
            "make one network of them by `torch_ref.members.members_network`"
        )
    x = as_batch(x)
    numbers = x.numbers
    generator = torch.Generator().manual_seed(hyperparameters.seed)
    network = method.init(spec or RowSpec(numbers.shape[1]), generator)
    steps = -(-len(numbers) // hyperparameters.batch_size) * hyperparameters.epochs
    optimizer = method.optimizer(steps)(network.named_parameters())
    history = []
    for epoch in range(1, hyperparameters.epochs + 1):
        sums: dict[str, float] = {}
        order = torch.randperm(len(numbers), generator=generator)
        for chosen in torch.split(order, hyperparameters.batch_size):
            batch = take(x, chosen)._replace(weights=torch.ones(len(chosen), dtype=numbers.dtype))
            noise = method.noise(Draws(generator, x), batch)
            for name, value in train_step(method, network, optimizer, batch, noise).items():
                sums[name] = sums.get(name, 0.0) + value * len(chosen)
        history.append({"epoch": epoch, **{name: s / len(numbers) for name, s in sums.items()}})
    return Fit(network, history)
