"""Views of rows: what each draws, and how those that a method chose are applied in its order.

Shape letters: B batch, D features, R reference rows.
"""

import torch
from torch import Tensor

from torch_ref import augment
from torch_ref.hyperparameters import ViewHyperparameters


def draw_views(
    hyperparameters: ViewHyperparameters, generator: torch.Generator, x: Tensor, reference: Tensor
) -> dict[str, Tensor]:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    Args:
        hyperparameters: the views and their rates.
        generator: source of the draws.
        x: rows `[..., B, D]`; their shape and dtype count.
        reference: rows `[R, D]` to borrow values from.

    Returns:
        By name, each `[..., B, D]`: `normal` and `keep` of noise and dropout; `scarf` and `swap`,
        which features the two replace, and `scarf_values` and `swap_values`, by what.

    Example:
        >>> hyperparameters = ViewHyperparameters(views=("scarf",), corruption_rate=0.5)
        >>> x = torch.ones(4, 3)
        >>> sorted(draw_views(hyperparameters, torch.Generator(), x, x))
        ['scarf', 'scarf_values']
    """
    hp, shape, rows = hyperparameters, x.shape, len(reference)
    noise = {}
    if "noise" in hp.views and hp.noise_std != 0:
        noise["normal"] = torch.randn(shape, generator=generator, dtype=x.dtype)
    if "dropout" in hp.views and hp.drop_rate != 0:
        noise["keep"] = torch.rand(shape, generator=generator) >= hp.drop_rate
    if "scarf" in hp.views and hp.corruption_rate != 0:
        noise["scarf"] = torch.rand(shape, generator=generator) < hp.corruption_rate
        row = torch.randint(rows, shape, generator=generator)
        noise["scarf_values"] = reference[row, torch.arange(shape[-1])]
    if "swap" in hp.views and hp.swap_rate != 0:
        noise["swap"] = torch.rand(shape, generator=generator) < hp.swap_rate
        noise["swap_values"] = reference[torch.randint(rows, shape[:-1], generator=generator)]
    return noise


def corrupt(hyperparameters: ViewHyperparameters, x: Tensor, noise: dict[str, Tensor]) -> Tensor:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and the noise's standard deviation.
        x: rows, `[..., B, D]`.
        noise: from `draw_views`; a view of which nothing was drawn leaves the rows as they are.

    Returns:
        Corrupted rows, of the same shape.

    Example:
        >>> hyperparameters = ViewHyperparameters(views=("dropout", "noise"), noise_std=0.5)
        >>> noise = {"keep": torch.tensor([[True, False]]), "normal": torch.tensor([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, torch.ones(1, 2), noise))
        tensor([[ 1.5000, -1.0000]])
    """
    for view in hyperparameters.views:
        if view == "noise" and "normal" in noise:
            noise_std = hyperparameters.noise_std
            x = augment.gaussian_noise(x, noise["normal"], noise_std=noise_std)
        if view == "dropout" and "keep" in noise:
            x = augment.feature_dropout(x, noise["keep"])
        if view in ("scarf", "swap") and view in noise:
            x = augment.replace_features(x, noise[view], noise[f"{view}_values"])
    return x
