"""The peer at its best: the three trainings as somebody would write them who wants PyTorch fast.

Rows stay in memory as one tensor. Order and noise of an epoch are drawn by one call each, and its
batches are slices of the shuffled rows. No DataLoader, no `loss.item()` in a step. The VAE's heads
and SimCLR's views are one product; NT-Xent has jaxrep's gradient in closed form, with one pass of
exponentials. Two ways to take a step:

- eager: autograd and `torch.optim.Adam(fused=True)`;
- compiled: gradient and Adam as one graph of `torch.compile(fullgraph=True)`, in which autograd and
  `torch.optim` cannot stand, so that the gradient is `torch.func.grad` and Adam is written out.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.peer_device import torch_device, torch_wait

LATENT_DIM, HIDDEN_DIM, PROJ_DIM = 8, 64, 32
BATCH, LEARNING_RATE, BETAS, EPSILON = 128, 1e-3, (0.9, 0.999), 1e-8
TEMPERATURE, NOISE_STD, DROP_RATE = 0.5, 0.1, 0.1

Weights = list[Tensor]
Loss = Callable[[Weights, Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]


def autoencoder_loss(weights: Weights, x: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of x `[B, D]`; no noise."""
    del noise
    return F.mse_loss(_mlp(weights[4:], _mlp(weights[:4], x)), x)


def vae_loss(weights: Weights, x: Tensor, noise: Tensor) -> Tensor:
    """Negative ELBO of x `[B, D]` with draws ε `[B, Z]`; weights 2 and 3 are both heads."""
    mu, log_var = _mlp(weights[:4], x).chunk(2, dim=1)
    x_hat = _mlp(weights[4:], mu + noise * torch.exp(0.5 * log_var))
    reconstruction = F.mse_loss(x_hat, x, reduction="sum") / len(x)
    return reconstruction - 0.5 * torch.sum(1 + log_var - mu * mu - log_var.exp()) / len(x)


def simclr_loss(weights: Weights, x: Tensor, noise: Tensor) -> Tensor:
    """NT-Xent between two views of x `[B, D]`, whose noise is `[B, 2, 2, D]`: normal, uniform."""
    normal, uniform = noise.unbind(1)  # (B, 2, D) each
    views = (x[:, None] + normal * NOISE_STD) * (uniform > DROP_RATE)
    h = F.relu(_mlp(weights[:4], views.flatten(0, 1)))  # both views of a row side by side
    return nt_xent(F.normalize(_mlp(weights[4:], h), dim=1))


def nt_xent(z: Tensor) -> Tensor:
    """NT-Xent of unit rows z `[2B, P]`, 2i and 2i + 1 a pair, with its gradient in closed form.

    As |zᵢ·zₖ| ≤ 1, one shift serves all rows and e is symmetric. The value returned is the loss, by
    a term without gradient; the gradient flows through the product with z.
    """
    loss, gradient = _nt_xent_and_gradient(z.detach())
    inner = (z * gradient).sum()
    return inner + (loss - inner.detach())


def _nt_xent_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
    positive = z.reshape(-1, 2, z.shape[1]).flip(1).flatten(0, 1)
    e = torch.exp(z @ z.T / TEMPERATURE - 1 / TEMPERATURE).fill_diagonal_(0)
    denominator = e.sum(dim=1)
    r = 1 / denominator
    rows = denominator.log() + 1 / TEMPERATURE - (z * positive).sum(dim=1) / TEMPERATURE
    pull = (e * (r[:, None] + r[None, :])) @ z
    return rows.mean(), (pull - 2 * positive) / (len(z) * TEMPERATURE)


def _mlp(weights: Weights, x: Tensor) -> Tensor:
    kernel, bias, last_kernel, last_bias = weights
    return F.linear(F.relu(F.linear(x, kernel, bias)), last_kernel, last_bias)


class Training:
    """A method's training, ready to run: compiled already, if it is to be.

    Args:
        method: name of the method.
        x: rows, `[rows, D]`.
        epochs: passes over them.
        threads: of PyTorch; compiled code keeps the number that it was compiled with.
        compiled: whether the step is compiled.
    """

    def __init__(self, method: str, x: Tensor, *, epochs: int, threads: int, compiled: bool):
        self._loss, self._sizes, self._noise, self._decay = WORKLOADS[method](x.shape[1])
        self._x, self._epochs, self._threads = x.to(torch_device()), epochs, threads
        torch.set_num_threads(threads)
        self.weights = self._start()
        make = compiled_step if compiled else eager_step
        self._step = make(self._loss, self.weights, self._decay)
        self.compile_seconds = self._run(1)  # the whole batches and the last one: all shapes

    def rows_per_second(self) -> float:
        """Trains from new weights, and returns the rows per second of the training loop."""
        torch.set_num_threads(self._threads)
        with torch.no_grad():
            for old, new in zip(self.weights, self._start(), strict=True):
                old.copy_(new)
        return len(self._x) * self._epochs / self._run(self._epochs)

    def _run(self, epochs: int) -> float:
        torch_wait()
        started = time.perf_counter()
        for _ in range(epochs):
            shuffled = self._x[torch.randperm(len(self._x), device=self._x.device)]
            noise = self._noise(self._x)
            for batch, draws in zip(*map(_batches, (shuffled, noise)), strict=True):
                self._step(batch, draws)
        torch_wait()
        return time.perf_counter() - started

    def _start(self) -> Weights:
        """New weights and biases, uniform in ±1/√fan_in, each of its layer's fan-in."""
        made = []
        for fan_in, out in self._sizes:
            for shape in ((out, fan_in), (out,)):
                made.append((torch.rand(shape, device=self._x.device) * 2 - 1) * fan_in**-0.5)
        return made


def _batches(rows: Tensor) -> tuple[Tensor, ...]:
    batches: tuple[Tensor, ...] = torch.split(rows, BATCH)
    return batches


def eager_step(loss: Loss, weights: Weights, decay: float) -> Step:
    """Returns a step of autograd and torch's fused Adam; it trains `weights` in place."""
    for weight in weights:
        weight.requires_grad_(True)
    adam = torch.optim.Adam(
        weights, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=decay, fused=True
    )

    def step(x: Tensor, noise: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        value = loss(weights, x, noise)
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return value.detach()

    return step


def compiled_step(loss: Loss, weights: Weights, decay: float) -> Step:
    """Returns a step that is one compiled graph; it trains `weights` in place."""
    step: Step = torch.compile(functional_step(loss, weights, decay), fullgraph=True, dynamic=False)
    return step


def functional_step(loss: Loss, weights: Weights, decay: float) -> Step:
    """Returns a step without autograd's tape: `torch.func` and Adam written out, in place."""
    gradient: Any = torch.func.grad_and_value(loss)
    means = [torch.zeros_like(weight) for weight in weights]
    squares = [torch.zeros_like(weight) for weight in weights]
    count = torch.zeros((), device=weights[0].device)
    b1, b2 = BETAS

    def step(x: Tensor, noise: Tensor) -> Tensor:
        value: Tensor
        gradients, value = gradient(weights, x, noise)
        count.add_(1)
        for p, m, v, g in zip(weights, means, squares, gradients, strict=True):
            if decay:
                g = g + decay * p
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            root = (v / (1 - b2**count)).sqrt() + EPSILON
            p.sub_(LEARNING_RATE * (m / (1 - b1**count)) / root)
        return value

    return step


Workload = tuple[Loss, list[tuple[int, int]], Callable[[Tensor], Tensor], float]


def _no_noise(x: Tensor) -> Tensor:
    return x.new_empty((len(x), 0))


def _eps(x: Tensor) -> Tensor:
    return torch.randn((len(x), LATENT_DIM), device=x.device)


def _views(x: Tensor) -> Tensor:
    """Normal and uniform draws of an epoch, `[rows, 2, 2, D]`."""
    noise = x.new_empty((len(x), 2, 2, x.shape[1]))
    noise[:, 0].normal_()
    noise[:, 1].uniform_()
    return noise


def _layers(input_dim: int, middle: int) -> list[tuple[int, int]]:
    """Sizes D–H–middle and Z–H–D of an encoder and a decoder."""
    encoder = [(input_dim, HIDDEN_DIM), (HIDDEN_DIM, middle)]
    return [*encoder, (LATENT_DIM, HIDDEN_DIM), (HIDDEN_DIM, input_dim)]


def _autoencoder(input_dim: int) -> Workload:
    return autoencoder_loss, _layers(input_dim, LATENT_DIM), _no_noise, 0.0


def _vae(input_dim: int) -> Workload:
    return vae_loss, _layers(input_dim, 2 * LATENT_DIM), _eps, 0.0


def _simclr(input_dim: int) -> Workload:
    backbone = [(input_dim, HIDDEN_DIM), (HIDDEN_DIM, LATENT_DIM)]
    head = [(LATENT_DIM, LATENT_DIM), (LATENT_DIM, PROJ_DIM)]
    return simclr_loss, backbone + head, _views, 1e-4


WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "autoencoder": _autoencoder,
    "vae": _vae,
    "simclr": _simclr,
}
