"""Views of rows: what each draws, and how those that a method chose are applied in its order.

`VIEWS` lists them. What is random comes into a view as an argument, so that it can be replayed from
JAX's draws. Shape letters: B batch, D numbers, C codes, R background rows.
"""

from typing import Any

from torch_ref.batch import Batch, RowSpec
from torch_ref.views._codes import draw_other as draw_other
from torch_ref.views._codes import replace_by_other as replace_by_other
from torch_ref.views._diffusion import diffuse as diffuse
from torch_ref.views._diffusion import draw_diffusion as draw_diffusion
from torch_ref.views._diffusion import hide_and_diffuse as hide_and_diffuse
from torch_ref.views._draws import Draws as Draws
from torch_ref.views._draws import Noise as Noise
from torch_ref.views._hide import draw_hide
from torch_ref.views._hide import hide as hide
from torch_ref.views._noise_dropout import add_noise as add_noise
from torch_ref.views._noise_dropout import draw_dropout, draw_noise
from torch_ref.views._noise_dropout import drop_columns as drop_columns
from torch_ref.views._replacement import draw_scarf, draw_swap
from torch_ref.views._replacement import replace_columns as replace_columns
from torch_ref.views._view import Rate as Rate
from torch_ref.views._view import View as View
from torch_ref.views._view import is_off as is_off

VIEWS: dict[str, View] = {
    "noise": View(
        "noise_std",
        draw_noise,
        lambda batch, noise, rate: add_noise(batch, noise["normal"], noise_std=rate),
    ),
    "dropout": View(
        "drop_rate",
        draw_dropout,
        lambda batch, noise, rate: drop_columns(batch, noise["keep"], noise.get("keep_codes")),
    ),
    "scarf": View(
        "corruption_rate",
        draw_scarf,
        lambda batch, noise, rate: replace_columns(
            batch,
            noise["scarf"],
            noise["scarf_values"],
            noise.get("scarf_codes"),
            noise.get("scarf_code_values"),
        ),
    ),
    "swap": View(
        "swap_rate",
        draw_swap,
        lambda batch, noise, rate: replace_columns(
            batch,
            noise["swap"],
            noise["swap_values"],
            noise.get("swap_codes"),
            noise.get("swap_code_values"),
        ),
    ),
    "hide": View(
        "hide_rate",
        draw_hide,
        lambda batch, noise, rate: hide(batch, noise["hide"], noise.get("hide_codes")),
        makes_gaps=True,
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


def rows_seen(hyperparameters: Any, rows: RowSpec) -> RowSpec:
    """Returns what a network has to take that sees rows through the chosen views.

    Args:
        hyperparameters: the views and their rates.
        rows: what every row of the table holds.

    Example:
        >>> from types import SimpleNamespace
        >>> rows_seen(SimpleNamespace(views=("hide",), hide_rate=0.2), RowSpec(2)).gaps
        (True, True)
    """
    rates = _rates(hyperparameters)
    makes_gaps = any(view.makes_gaps and not is_off(rates[view.rate]) for view in VIEWS.values())
    return rows.with_gaps() if makes_gaps else rows


def draw_views(hyperparameters: Any, draws: Draws, batch: Batch) -> Noise:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    Args:
        hyperparameters: the views and their rates, such as a `torch_ref.methods.ViewMethod` has.
        draws: source of the random numbers, and background rows.
        batch: rows, numbers `[..., B, D]` and codes `[..., B, C]`; their shapes and dtypes count.

    Returns:
        By name, of the shape of the numbers: `normal` of noise; `keep` of dropout; `scarf` and
        `swap`, which numbers the two replace, and `scarf_values` and `swap_values`, by what;
        `hide`. And the same for codes, where there are any: `keep_codes`, `scarf_codes`,
        `scarf_code_values`, `swap_codes`, `swap_code_values` and `hide_codes`.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> hyperparameters = SimpleNamespace(views=("scarf",), corruption_rate=0.5)
        >>> batch = Batch(torch.ones(4, 3))
        >>> sorted(draw_views(hyperparameters, Draws(torch.Generator(), batch), batch))
        ['scarf', 'scarf_values']
    """
    rates = _rates(hyperparameters)
    noise: Noise = {}
    for view in VIEWS.values():
        if not is_off(rates[view.rate]):
            noise |= view.draw(draws, batch, rates)
    return noise


def draw_all(
    hyperparameters: Any, draws: Draws, batch: Batch, *, count: int | None = None
) -> Noise:
    """Draws what the views of rows need, and which codes count as "other".

    Args:
        hyperparameters: the views and their rates, and the rate of "other".
        draws: source of the random numbers, and background rows.
        batch: rows, numbers `[B, D]` and codes `[B, C]`.
        count: of copies of the rows, each with views of its own, `[count, B, …]`; None: the rows
            themselves. `other` is the same for all.
    """
    rows = Batch(batch.numbers, batch.codes)
    seen = draw_views(hyperparameters, draws, rows if count is None else copies(rows, count))
    return seen | draw_other(hyperparameters.other_rate, draws, rows)


def copies(batch: Batch, count: int) -> Batch:
    """Returns rows several times, along a new first axis."""
    return Batch(*(None if part is None else part.expand(count, *part.shape) for part in batch))  # type: ignore[arg-type]


def corrupt(hyperparameters: Any, batch: Batch, noise: Noise) -> Batch:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and their rates.
        batch: rows, numbers `[..., B, D]` and codes `[..., B, C]`.
        noise: from `draw_views`.

    Returns:
        Corrupted rows, of the same shapes.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> hyperparameters = SimpleNamespace(
        ...     views=("dropout", "noise"), noise_std=0.5, drop_rate=0.5
        ... )
        >>> noise = {"keep": torch.tensor([[True, False]]), "normal": torch.tensor([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, Batch(torch.ones(1, 2)), noise).numbers)
        tensor([[ 1.5000, -1.0000]])
    """
    rates = _rates(hyperparameters)
    for name in hyperparameters.views:
        view = VIEWS[name]
        if not is_off(rates[view.rate]):
            batch = view.apply(batch, noise, rates[view.rate])
    return batch


def _rates(hyperparameters: Any) -> dict[str, Rate]:
    """Returns the rates of all views, 0 for those that are not chosen."""
    return {
        view.rate: getattr(hyperparameters, view.rate) if name in hyperparameters.views else 0.0
        for name, view in VIEWS.items()
    }
