"""The peer: the three trainings as a plain PyTorch script writes them.

`nn.Sequential` models, torch's own losses, a DataLoader, eager steps and one `loss.item()` a step;
nothing of `torch_ref`, which carries row weights and metrics that a script has no need of.
`python -m bench.seed_torch vae` is such a script as a process: data, training, a line now and then.
It imports no plots, which the script it stands for does.
"""

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.peer_device import torch_device

LATENT_DIM = 8


class Autoencoder(nn.Module):
    """D–64–8–64–D with ReLU."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.encoder = _mlp(input_dim, 64, LATENT_DIM)
        self.decoder = _mlp(LATENT_DIM, 64, input_dim)

    def loss(self, x: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(self.decoder(self.encoder(x)), x)


class VAE(nn.Module):
    """Shared D–64, heads of 8, decoder 8–64–D."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(input_dim, 64), nn.ReLU())
        self.mu = nn.Linear(64, LATENT_DIM)
        self.log_var = nn.Linear(64, LATENT_DIM)
        self.decoder = _mlp(LATENT_DIM, 64, input_dim)

    def loss(self, x: Tensor) -> Tensor:
        """Summed squared error plus KL, over the batch size."""
        h = self.shared(x)
        mu, log_var = self.mu(h), self.log_var(h)
        std = torch.exp(0.5 * log_var)
        x_hat = self.decoder(mu + torch.randn_like(std) * std)
        reconstruction = F.mse_loss(x_hat, x, reduction="sum") / len(x)
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp()) / len(x)
        return reconstruction + kl


class SimCLR(nn.Module):
    """Backbone D–64–8 with ReLU after both, head 8–8–32, NT-Xent at 0.5."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.backbone = nn.Sequential(_mlp(input_dim, 64, LATENT_DIM), nn.ReLU())
        self.head = _mlp(LATENT_DIM, LATENT_DIM, 32)

    def loss(self, x: Tensor) -> Tensor:
        """NT-Xent between two noisy views."""
        z1, z2 = (F.normalize(self.head(self.backbone(_view(x))), dim=1) for _ in range(2))
        n = len(x)
        z = torch.cat([z1, z2])
        similarity = torch.mm(z, z.T) / 0.5
        similarity.masked_fill_(torch.eye(2 * n, device=z.device).bool(), float("-inf"))
        labels = torch.cat([torch.arange(n, 2 * n), torch.arange(n)]).to(z.device)
        return F.cross_entropy(similarity, labels)


# For each method its model and coupled weight decay.
WORKLOADS: dict[str, tuple[Callable[[int], nn.Module], float]] = {
    "autoencoder": (Autoencoder, 0.0),
    "vae": (VAE, 0.0),
    "simclr": (SimCLR, 1e-4),
}


def train(method: str, x: Tensor, seed: int, *, epochs: int, print_every: int = 0) -> float:
    """Trains once.

    Args:
        method: name of the method.
        x: rows, `[rows, D]`.
        seed: of initial weights, order and noise.
        epochs: passes over the rows.
        print_every: epochs between two lines of output; 0 prints none.

    Returns:
        Rows per second of the training loop.
    """
    torch.manual_seed(seed)
    make, weight_decay = WORKLOADS[method]
    loader = DataLoader(TensorDataset(x), batch_size=128, shuffle=True)
    device = torch_device()
    model = make(x.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=weight_decay)
    started = time.perf_counter()
    for epoch in range(1, epochs + 1):
        epoch_loss = 0.0
        for (batch,) in loader:
            optimizer.zero_grad()
            loss = model.loss(batch.to(device))  # type: ignore[operator]
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        if print_every and epoch % print_every == 0:
            print(f"epoch {epoch:3d}, loss {epoch_loss / len(loader):.4f}")
    return len(x) * epochs / (time.perf_counter() - started)


def _mlp(input_dim: int, hidden: int, output_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(input_dim, hidden), nn.ReLU(), nn.Linear(hidden, output_dim))


def _view(x: Tensor) -> Tensor:
    return (x + torch.randn_like(x) * 0.1) * (torch.rand_like(x) > 0.1).float()


def main(method: str, epochs: int) -> None:
    """Makes the blobs, standardises them and trains, as a script does."""
    from sklearn.datasets import make_blobs
    from sklearn.preprocessing import StandardScaler

    x, _ = make_blobs(n_samples=2000, centers=4, n_features=32, random_state=42)
    rows = torch.from_numpy(StandardScaler().fit_transform(x).astype("float32"))
    train(method, rows, 0, epochs=epochs, print_every=20)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
