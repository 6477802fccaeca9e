"""Views of rows: what each draws, and how those that a method chose are applied in its order.

`VIEWS` lists them. What is random comes into a view as an argument, so that it can be replayed in
PyTorch. Shape letters: B batch, D numbers, C codes, R background rows.
"""

import jax
import jax.numpy as jnp

from jaxrep.batch import Batch, RowSpec
from jaxrep.hyperparameters import VIEWS as RATES
from jaxrep.hyperparameters import ViewHyperparameters
from jaxrep.views._codes import draw_other as draw_other
from jaxrep.views._codes import replace_by_other as replace_by_other
from jaxrep.views._diffusion import diffuse as diffuse
from jaxrep.views._diffusion import draw_diffusion as draw_diffusion
from jaxrep.views._diffusion import hide_and_diffuse as hide_and_diffuse
from jaxrep.views._draws import Deferred as Deferred
from jaxrep.views._draws import Draws as Draws
from jaxrep.views._draws import Noise as Noise
from jaxrep.views._draws import resolve as resolve
from jaxrep.views._hide import draw_hide
from jaxrep.views._hide import hide as hide
from jaxrep.views._noise_dropout import add_noise as add_noise
from jaxrep.views._noise_dropout import draw_noise_and_dropout
from jaxrep.views._noise_dropout import drop_columns as drop_columns
from jaxrep.views._replacement import draw_scarf, draw_swap
from jaxrep.views._replacement import replace_columns as replace_columns
from jaxrep.views._view import Rate as Rate
from jaxrep.views._view import View as View
from jaxrep.views._view import is_off as is_off

VIEWS: dict[str, View] = {
    "noise": View(
        "noise_std",
        draw_noise_and_dropout,
        lambda batch, noise, rate: add_noise(batch, noise["normal"], noise_std=rate),
        stream=0,
    ),
    "dropout": View(
        "drop_rate",
        draw_noise_and_dropout,
        lambda batch, noise, rate: drop_columns(batch, noise["keep"], noise.get("keep_codes")),
        stream=0,
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
        stream=1,
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
        stream=2,
    ),
    "hide": View(
        "hide_rate",
        draw_hide,
        lambda batch, noise, rate: hide(batch, noise["hide"], noise.get("hide_codes")),
        stream=3,
        makes_gaps=True,
    ),
}


def add_view(name: str, view: View) -> None:
    """Makes a view known by its name; hyperparameters that offer it name it in their `views`.

    Args:
        name: of the view.
        view: its rate, and the functions that draw and apply it.

    Raises:
        ValueError: another view has the name, or the stream.
    """
    known = VIEWS.get(name, view)
    if (known.rate, known.stream) != (view.rate, view.stream):
        raise ValueError(f"another view has the name {name!r}")
    taken = {other.stream for key, other in VIEWS.items() if key != name}
    if view.stream in taken:
        raise ValueError(f"view {name!r}: another view has the stream {view.stream}")
    VIEWS[name] = view
    RATES[name] = view.rate


def rows_seen(hyperparameters: ViewHyperparameters, rows: RowSpec) -> RowSpec:
    """Returns what a network has to take that sees rows through the chosen views.

    Args:
        hyperparameters: the views and their rates.
        rows: what every row of the table holds.

    Example:
        >>> rows_seen(ViewHyperparameters(views=("hide",), hide_rate=0.2), RowSpec(2)).gaps
        (True, True)
    """
    rates = _rates(hyperparameters)
    makes_gaps = any(view.makes_gaps and not is_off(rates[view.rate]) for view in VIEWS.values())
    return rows.with_gaps() if makes_gaps else rows


def draw_views(
    hyperparameters: ViewHyperparameters, draws: Draws, batch: Batch
) -> Noise | Deferred:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    Args:
        hyperparameters: the views and their rates.
        draws: the batch's key, and background rows; of more than 65,536 evenly spaced ones count.
        batch: rows, numbers `[..., B, D]` and codes `[..., B, C]`; their shapes and dtypes count.

    Returns:
        Noise of which `resolve` makes arrays of the shape of the numbers by name: `normal` and
        `keep` of noise and dropout; `scarf` and `swap`, which numbers the two replace, and
        `scarf_values` and `swap_values`, by what; `hide`. And the same for codes, where there are
        any: `keep_codes`, `scarf_codes`, `scarf_code_values`, `swap_codes`, `swap_code_values` and
        `hide_codes`.

    Example:
        >>> hyperparameters = ViewHyperparameters(views=("scarf",), corruption_rate=0.5)
        >>> batch = Batch(jnp.ones((4, 3)))
        >>> draws = Draws(jax.random.key(0), batch)
        >>> sorted(resolve(draw_views(hyperparameters, draws, batch)))
        ['scarf', 'scarf_values']
    """
    rates = _rates(hyperparameters)
    on = [view for view in VIEWS.values() if not is_off(rates[view.rate])]
    parts = []
    for draw, stream in dict.fromkeys((view.draw, view.stream) for view in on):
        # A key of its own, derived and not split off: what the other views draw stays as it was.
        key = jax.random.fold_in(draws.key, stream) if stream else draws.key
        parts.append(draw(draws._replace(key=key), batch, rates))
    return Deferred(_merge, *parts) if parts else {}


def draw_all(
    hyperparameters: ViewHyperparameters, draws: Draws, batch: Batch, *, count: int | None = None
) -> Noise | Deferred:
    """Draws what the views of rows need, and which codes count as "other".

    Args:
        hyperparameters: the views and their rates, and the rate of "other".
        draws: the batch's key, and background rows.
        batch: rows, numbers `[B, D]` and codes `[B, C]`.
        count: of copies of the rows, each with views of its own, `[count, B, …]`; None: the rows
            themselves. `other` is the same for all.
    """
    rows = Batch(batch.numbers, batch.codes)
    seen = draw_views(hyperparameters, draws, rows if count is None else copies(rows, count))
    other = draw_other(hyperparameters.other_rate, draws, rows)
    return Deferred(_merge, seen, other) if other else seen


def copies(batch: Batch, count: int) -> Batch:
    """Returns rows several times, along a new first axis."""
    made: Batch = jax.tree.map(
        lambda array: jnp.broadcast_to(array[None], (count, *array.shape)), batch
    )
    return made


def _merge(*parts: Noise | Deferred) -> Noise:
    return {name: array for part in parts for name, array in resolve(part).items()}


@jax.named_scope("noise")
def corrupt(hyperparameters: ViewHyperparameters, batch: Batch, noise: Noise) -> Batch:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and their rates.
        batch: rows, numbers `[..., B, D]` and codes `[..., B, C]`.
        noise: from `draw_views`, resolved.

    Returns:
        Corrupted rows, of the same shapes.

    Example:
        >>> hyperparameters = ViewHyperparameters(
        ...     views=("dropout", "noise"), noise_std=0.5, drop_rate=0.5
        ... )
        >>> noise = {"keep": jnp.array([[True, False]]), "normal": jnp.array([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, Batch(jnp.ones((1, 2))), noise).numbers)
        [[ 1.5 -1. ]]
    """
    rates = _rates(hyperparameters)
    for name in hyperparameters.views:
        view = VIEWS[name]
        if not is_off(rates[view.rate]):
            batch = view.apply(batch, noise, rates[view.rate])
    return batch


def _rates(hyperparameters: ViewHyperparameters) -> dict[str, Rate]:
    """Returns the rates of all views, 0 for those that are not chosen."""
    return {
        view.rate: getattr(hyperparameters, view.rate) if name in hyperparameters.views else 0.0
        for name, view in VIEWS.items()
    }
