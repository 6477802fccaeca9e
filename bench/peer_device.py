"""PyTorch's device; apart from `bench.machine`, so that a process of PyTorch imports no JAX."""

import torch


def torch_device() -> torch.device:
    """Returns the device of PyTorch's side: a GPU where it has one, as JAX takes its own."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def torch_wait() -> None:
    """Returns once PyTorch's device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
