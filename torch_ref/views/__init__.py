"""Views of rows: what each draws, and how those that a method chose are applied in its order.

`VIEWS` lists them. What is random comes into a view as an argument, so that it can be replayed from
JAX's draws. Shape letters: B batch, D features, R background rows.
"""

from typing import Any

from torch import Tensor

from torch_ref.views._draws import Draws as Draws
from torch_ref.views._draws import Noise as Noise
from torch_ref.views._noise_dropout import draw_dropout, draw_noise
from torch_ref.views._noise_dropout import feature_dropout as feature_dropout
from torch_ref.views._noise_dropout import gaussian_noise as gaussian_noise
from torch_ref.views._replacement import draw_scarf, draw_swap
from torch_ref.views._replacement import replace_features as replace_features
from torch_ref.views._view import Rate as Rate
from torch_ref.views._view import View as View
from torch_ref.views._view import is_off as is_off

VIEWS: dict[str, View] = {
    "noise": View(
        "noise_std",
        draw_noise,
        lambda x, noise, rate: gaussian_noise(x, noise["normal"], noise_std=rate),
    ),
    "dropout": View(
        "drop_rate",
        draw_dropout,
        lambda x, noise, rate: feature_dropout(x, noise["keep"]),
    ),
    "scarf": View(
        "corruption_rate",
        draw_scarf,
        lambda x, noise, rate: replace_features(x, noise["scarf"], noise["scarf_values"]),
    ),
    "swap": View(
        "swap_rate",
        draw_swap,
        lambda x, noise, rate: replace_features(x, noise["swap"], noise["swap_values"]),
    ),
}


def add_view(name: str, view: View) -> None:
    """Makes a view known by its name; hyperparameters that offer it name it in their `views`.

    Args:
        name: of the view.
        view: its rate, and the functions that draw and apply it.

    Raises:
        ValueError: another view has the name.
    """
    if VIEWS.get(name, view).rate != view.rate:
        raise ValueError(f"another view has the name {name!r}")
    VIEWS[name] = view


def draw_views(hyperparameters: Any, draws: Draws, x: Tensor) -> Noise:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    Args:
        hyperparameters: the views and their rates, such as a `torch_ref.methods.ViewMethod` has.
        draws: source of the random numbers, and background rows.
        x: rows `[..., B, D]`; their shape and dtype count.

    Returns:
        By name, each `[..., B, D]`: `normal` of noise; `keep` of dropout; `scarf` and `swap`, which
        features the two replace, and `scarf_values` and `swap_values`, by what.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> hyperparameters = SimpleNamespace(views=("scarf",), corruption_rate=0.5)
        >>> x = torch.ones(4, 3)
        >>> sorted(draw_views(hyperparameters, Draws(torch.Generator(), x), x))
        ['scarf', 'scarf_values']
    """
    rates = _rates(hyperparameters)
    noise: Noise = {}
    for view in VIEWS.values():
        if not is_off(rates[view.rate]):
            noise |= view.draw(draws, x, rates)
    return noise


def corrupt(hyperparameters: Any, x: Tensor, noise: Noise) -> Tensor:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and their rates.
        x: rows, `[..., B, D]`.
        noise: from `draw_views`.

    Returns:
        Corrupted rows, of the same shape.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> hyperparameters = SimpleNamespace(
        ...     views=("dropout", "noise"), noise_std=0.5, drop_rate=0.5
        ... )
        >>> noise = {"keep": torch.tensor([[True, False]]), "normal": torch.tensor([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, torch.ones(1, 2), noise))
        tensor([[ 1.5000, -1.0000]])
    """
    rates = _rates(hyperparameters)
    for name in hyperparameters.views:
        view = VIEWS[name]
        if not is_off(rates[view.rate]):
            x = view.apply(x, noise, rates[view.rate])
    return x


def _rates(hyperparameters: Any) -> dict[str, Rate]:
    """Returns the rates of all views, 0 for those that are not chosen."""
    return {
        view.rate: getattr(hyperparameters, view.rate) if name in hyperparameters.views else 0.0
        for name, view in VIEWS.items()
    }
