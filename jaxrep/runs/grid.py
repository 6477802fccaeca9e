"""The grid of a sweep: which hyperparameters vary, over which values, and the runs that it makes.

As text it is one `name=value,value` for each hyperparameter. Widths are joined by x, since commas
part the values: `hidden_dims=64,128x64` stands for one hidden layer of 64, and for two. Views are
joined by +, as in `views=scarf,noise+dropout`.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_origin, get_type_hints

from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters, check, declaration

Grid = dict[str, list[Any]]

MAX_MEMBERS = 10_000
NO_WIDTHS = "none"

_NEVER = ("members",)


def parse(texts: Sequence[str], hyperparameters: TrainingHyperparameters) -> Grid:
    """Reads a grid from the command line.

    Args:
        texts: such as `beta=1,2,4`.
        hyperparameters: of the method that is swept.

    Returns:
        The values by name, of the hyperparameters' types.

    Raises:
        InputError: a text without =, an unknown name, a name that is given twice, or a value that
            is not of the hyperparameter's type.

    Example:
        >>> from jaxrep.methods import VAEHyperparameters
        >>> parse(["beta=1,4", "hidden_dims=64,128x64,none"], VAEHyperparameters())
        {'beta': [1.0, 4.0], 'hidden_dims': [(64,), (128, 64), ()]}
    """
    grid: Grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise InputError(f"--grid {text}: has no =; write it as name=value,value")
        _check_name(name, hyperparameters)
        if name in grid:
            raise InputError(f"--grid {text}: {name} is given twice; list all its values in one")
        kind = get_type_hints(type(hyperparameters))[name]
        grid[name] = [_read(name, value.strip(), kind) for value in values.split(",")]
    return grid


def complete(
    grid: Mapping[str, Sequence[Any]], hyperparameters: TrainingHyperparameters, seeds: int
) -> Grid:
    """Checks a grid and adds the seeds to it, as its last name.

    Args:
        grid: values by name; seeds may be among them.
        hyperparameters: what all members share; they count their seeds from its `seed`.
        seeds: how many there are.

    Returns:
        The grid with `seed`.

    Raises:
        InputError: an unknown name, a value that is out of its range or there twice, seeds given
            in two ways or none at all, or more than `MAX_MEMBERS` runs.
    """
    if not 1 <= seeds <= MAX_MEMBERS:
        raise InputError(f"--seeds is {seeds}; it must be a whole number from 1 to {MAX_MEMBERS}")
    if "seed" in grid and seeds != 1:
        raise InputError(
            f"--seeds {seeds}: the grid gives the seeds already; leave one of them out"
        )
    counted = range(hyperparameters.seed, hyperparameters.seed + seeds)
    others = {name: list(values) for name, values in grid.items() if name != "seed"}
    completed: Grid = others | {"seed": list(grid.get("seed", counted))}
    size = math.prod(len(values) for values in completed.values())
    if size > MAX_MEMBERS:
        raise InputError(
            f"--grid and --seeds make {size:,} runs; a sweep holds at most {MAX_MEMBERS:,}: give "
            "fewer values, or sweep one part after another"
        )
    for name, values in completed.items():
        _check_values(name, values, hyperparameters)
    return completed


def members(
    grid: Mapping[str, Sequence[Any]], hyperparameters: TrainingHyperparameters
) -> list[TrainingHyperparameters]:
    """Returns the hyperparameters of every run: all combinations, the last name's values fastest.

    Args:
        grid: values by name.
        hyperparameters: what all runs share.

    Example:
        >>> from jaxrep.methods import VAEHyperparameters
        >>> made = members({"beta": [1.0, 4.0], "seed": [0, 1]}, VAEHyperparameters())
        >>> [(hp.beta, hp.seed) for hp in made]
        [(1.0, 0), (1.0, 1), (4.0, 0), (4.0, 1)]
    """
    combinations = itertools.product(*grid.values())
    return [
        dataclasses.replace(hyperparameters, **dict(zip(grid, values, strict=True)))
        for values in combinations
    ]


def as_text(value: Any) -> str:
    """Returns a value as it is written in a grid."""
    if isinstance(value, list | tuple):
        are_names = any(isinstance(part, str) for part in value)
        return ("+" if are_names else "x").join(map(str, value)) or NO_WIDTHS
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_name(name: str, hyperparameters: TrainingHyperparameters) -> None:
    told = {field.name: declaration(field) for field in dataclasses.fields(hyperparameters)}
    if name not in told or told[name].is_derived:
        free = sorted(
            key
            for key, one in told.items()
            if not one.is_derived and one.kind != "rows" and key not in _NEVER
        )
        raise InputError(
            f"--grid {name}: no hyperparameter of this method; there are {', '.join(free)}"
        )
    if name in _NEVER:
        raise InputError(
            f"--grid {name}: each run of a sweep trains one network; give --seeds to compare "
            f"seeds, and train the best setting with --{name}"
        )
    if told[name].kind == "rows":  # on other rows, what the runs reach could not be compared
        flag = "--" + name.replace("_", "-")
        raise InputError(
            f"--grid {name}: all runs of a sweep train on the same rows; give one {flag} for all"
        )


def _read(name: str, text: str, kind: Any) -> Any:
    try:
        if kind in (int, float):
            return kind(text)
        if kind == tuple[int, ...]:
            return tuple(int(width) for width in text.split("x") if text != NO_WIDTHS)
        if get_origin(kind) is tuple:
            return tuple(part for part in text.split("+") if text != NO_WIDTHS)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(
            kind, "a list of widths such as 128x64"
        )
        raise InputError(f"--grid {name}: {text!r} is not {wanted}") from None
    return text


def _check_values(
    name: str, values: Sequence[Any], hyperparameters: TrainingHyperparameters
) -> None:
    _check_name(name, hyperparameters)
    if not values:
        raise InputError(f"--grid {name}: there are no values")
    for i, value in enumerate(values):
        try:
            check(dataclasses.replace(hyperparameters, **{name: value}))
        except ValueError as error:
            raise InputError(f"--grid {name}: {error}") from error
        if value in values[:i]:
            raise InputError(f"--grid {name}: {as_text(value)} is there twice")
