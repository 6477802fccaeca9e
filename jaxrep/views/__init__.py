"""Views of rows: what each draws, and how those that a method chose are applied in its order.

`VIEWS` lists them. What is random comes into a view as an argument, so that it can be replayed in
PyTorch. Shape letters: B batch, D features, R background rows.
"""

import jax
from jax import Array

from jaxrep.hyperparameters import VIEWS as RATES
from jaxrep.hyperparameters import ViewHyperparameters
from jaxrep.views._draws import Deferred as Deferred
from jaxrep.views._draws import Draws as Draws
from jaxrep.views._draws import Noise as Noise
from jaxrep.views._draws import resolve as resolve
from jaxrep.views._noise_dropout import (
    draw_noise_and_dropout,
)
from jaxrep.views._noise_dropout import feature_dropout as feature_dropout
from jaxrep.views._noise_dropout import gaussian_noise as gaussian_noise
from jaxrep.views._replacement import draw_scarf, draw_swap
from jaxrep.views._replacement import replace_features as replace_features
from jaxrep.views._view import Rate as Rate
from jaxrep.views._view import View as View
from jaxrep.views._view import is_off as is_off

VIEWS: dict[str, View] = {
    "noise": View(
        "noise_std",
        draw_noise_and_dropout,
        lambda x, noise, rate: gaussian_noise(x, noise["normal"], noise_std=rate),
        stream=0,
    ),
    "dropout": View(
        "drop_rate",
        draw_noise_and_dropout,
        lambda x, noise, rate: feature_dropout(x, noise["keep"]),
        stream=0,
    ),
    "scarf": View(
        "corruption_rate",
        draw_scarf,
        lambda x, noise, rate: replace_features(x, noise["scarf"], noise["scarf_values"]),
        stream=1,
    ),
    "swap": View(
        "swap_rate",
        draw_swap,
        lambda x, noise, rate: replace_features(x, noise["swap"], noise["swap_values"]),
        stream=2,
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


def draw_views(hyperparameters: ViewHyperparameters, draws: Draws, x: Array) -> Noise | Deferred:
    """Draws what the chosen views of rows need, and nothing for others or for rates of 0.

    Args:
        hyperparameters: the views and their rates.
        draws: the batch's key, and background rows; of more than 65,536 evenly spaced ones count.
        x: rows `[..., B, D]`; their shape and dtype count.

    Returns:
        Noise of which `resolve` makes arrays `[..., B, D]` by name: `normal` and `keep` of noise
        and dropout; `scarf` and `swap`, which features the two replace, and `scarf_values` and
        `swap_values`, by what.

    Example:
        >>> import jax.numpy as jnp
        >>> hyperparameters = ViewHyperparameters(views=("scarf",), corruption_rate=0.5)
        >>> x = jnp.ones((4, 3))
        >>> sorted(resolve(draw_views(hyperparameters, Draws(jax.random.key(0), x), x)))
        ['scarf', 'scarf_values']
    """
    rates = _rates(hyperparameters)
    on = [view for view in VIEWS.values() if not is_off(rates[view.rate])]
    parts = []
    for draw, stream in dict.fromkeys((view.draw, view.stream) for view in on):
        # A key of its own, derived and not split off: what the other views draw stays as it was.
        key = jax.random.fold_in(draws.key, stream) if stream else draws.key
        parts.append(draw(draws._replace(key=key), x, rates))
    return Deferred(_merge, *parts) if parts else {}


def _merge(*parts: Noise | Deferred) -> Noise:
    return {name: array for part in parts for name, array in resolve(part).items()}


@jax.named_scope("noise")
def corrupt(hyperparameters: ViewHyperparameters, x: Array, noise: Noise) -> Array:
    """Applies the chosen views to rows, one after the other.

    Args:
        hyperparameters: the views, in their order, and their rates.
        x: rows, `[..., B, D]`.
        noise: from `draw_views`, resolved.

    Returns:
        Corrupted rows, of the same shape.

    Example:
        >>> import jax.numpy as jnp
        >>> hyperparameters = ViewHyperparameters(
        ...     views=("dropout", "noise"), noise_std=0.5, drop_rate=0.5
        ... )
        >>> noise = {"keep": jnp.array([[True, False]]), "normal": jnp.array([[1.0, -2.0]])}
        >>> print(corrupt(hyperparameters, jnp.ones((1, 2)), noise))
        [[ 1.5 -1. ]]
    """
    rates = _rates(hyperparameters)
    for name in hyperparameters.views:
        view = VIEWS[name]
        if not is_off(rates[view.rate]):
            x = view.apply(x, noise, rates[view.rate])
    return x


def _rates(hyperparameters: ViewHyperparameters) -> dict[str, Rate]:
    """Returns the rates of all views, 0 for those that are not chosen."""
    return {
        view.rate: getattr(hyperparameters, view.rate) if name in hyperparameters.views else 0.0
        for name, view in VIEWS.items()
    }
