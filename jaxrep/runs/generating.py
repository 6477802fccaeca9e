"""New rows of a run: drawn, some of them chosen, and compared with what training has seen."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch
from jaxrep.data import transform
from jaxrep.data.schema import CategoricalColumn, NumericColumn, Quantile, Schema, Spikes
from jaxrep.dispatch import computing
from jaxrep.errors import InputError
from jaxrep.inference import map_rows
from jaxrep.methods import abstract_network, members_of, split_members
from jaxrep.runs.conditions import Condition, hold
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import MAX_ROWS, need
from jaxrep.training.sizes import padded

RANDOM = "threefry2x32"  # of draws from a prior, whatever JAX's default is
MOST_DRAWN = 1000
"""Rows drawn at most for each that is asked for, where they must meet conditions."""

_COMMON, _LOST = 0.01, 0.1  # of training rows; of the rows that are expected of a level
_LEAST_EXPECTED = 20.0
_TOLD = 3  # columns in a warning
_ACTIVE = 0.01  # variance of a latent's mean over the rows
_BLOCK = 1 << 16

Note = Callable[[str], None]


def generate(
    run: Run,
    count: int,
    *,
    seed: int = 0,
    mean: bool = False,
    where: Sequence[Condition] = (),
    note: Note = lambda message: None,
) -> pa.Table:
    """Returns new rows in the table's own units.

    With conditions, rows are drawn until enough meet them, and the others are left out: of each
    row the conditions hold, and the rest is as it is where they hold.

    Args:
        run: whose network declares `generate`.
        count: number of rows.
        seed: decides the draws.
        mean: as of `draw_features`.
        where: what each row must meet.
        note: called with how many rows were drawn for those that met the conditions, and with
            warnings.

    Raises:
        InputError: as of `draw_features`; or too few of the rows drawn meet the conditions.
    """
    if not where:
        features = draw_features(run, count, seed=seed, mean=mean)
        for sentence in warnings(run, features):
            note(f"warning: {sentence}")
        return transform.invert(run.schema, features, is_drawn=not mean)
    found, kept, drawn = [], 0, 0
    for block in range(MOST_DRAWN * count // _BLOCK + 1):
        features = draw_features(run, _BLOCK, seed=seed, mean=mean, block=block)
        table = transform.invert(run.schema, features, is_drawn=not mean)
        rows = np.flatnonzero(hold(where, run.schema, table))[: count - kept]
        found.append(table.take(rows))
        kept += len(rows)
        drawn += int(rows[-1]) + 1 if kept == count else len(table)
        if kept == count:
            note(f"{drawn:,} rows drawn, of which {count / drawn:.2%} met the conditions")
            return pa.concat_tables(found)
    raise InputError(
        f"--where: of {drawn:,} rows drawn {kept:,} met the conditions, and {count:,} are asked "
        f"for; ask for at most {kept:,}, or weaken the conditions"
        if kept
        else f"--where: none of {drawn:,} rows drawn met the conditions; weaken them"
    )


@computing()
def draw_features(
    run: Run, count: int, *, seed: int = 0, mean: bool = False, block: int = 0
) -> Batch:
    """Returns the features of new rows.

    Latents are drawn from the prior, and cells from the likelihoods that they decode to.

    Args:
        run: whose network declares `generate`.
        count: number of rows.
        seed: decides the draws.
        mean: whether cells are not drawn: numbers are expectations then, and levels the likeliest.
        block: other draws of the same seed.

    Raises:
        InputError: the network does not declare `generate`, or `count` or `seed` is out of range.
    """
    need(run, "generate")
    if not 1 <= count <= MAX_ROWS:
        raise InputError(f"-n is {count}; it must be a whole number from 1 to {MAX_ROWS}")
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed is {seed}; it must be a whole number from 0 to {2**32 - 1}")
    member, *_ = members_of(run.method)
    # As many as share a program: the first of more draws are those of fewer.
    shape = (padded(count, 4096), abstract_network(member, run.rows).draws)
    key = jax.random.key(seed, impl=RANDOM)
    key = jax.random.fold_in(key, block) if block else key
    draws = np.asarray(jax.random.normal(key, shape, np.float32))[:count]
    if not mean:
        features: Batch = run.map("generate", draws)
        return features
    weights = split_members(run.weights, run.method.hyperparameters.members)[0]
    z = map_rows(member, "latents", weights, draws, run.rows, given="draws")
    features = run.map("decode", z)
    return features


def seen_in(schema: Schema, x: Batch) -> dict[str, Any]:
    """Returns what training has seen of columns, for `warnings` to compare new rows with.

    Args:
        schema: fitted to the training rows.
        x: features of them, all or evenly spaced ones.

    Returns:
        `levels`: for each categorical column the shares of the levels that one row in 100 has, by
        their names; `ranges`: the least and the greatest of each column of numbers, in its units.
    """
    raw = transform.to_values(schema, x)
    levels: dict[str, dict[str, float]] = {}
    ranges: dict[str, list[float]] = {}
    for column, values in zip(schema.columns, raw.T, strict=True):
        there = values[~np.isnan(values)]
        if isinstance(column, CategoricalColumn):
            shares = np.bincount(there[there >= 0].astype(int), minlength=len(column.levels))
            common = np.flatnonzero(shares >= _COMMON * len(values))
            levels[column.name] = {column.levels[i]: float(shares[i] / len(values)) for i in common}
        elif len(there) and not isinstance(column.scaling, Quantile | Spikes):
            ranges[column.name] = [float(there.min()), float(there.max())]
    return {"levels": levels, "ranges": ranges}


def has_collapsed(mu: np.ndarray) -> bool:
    """Says whether no latent tells rows apart: the mean of none varies by more than 0.01.

    Args:
        mu: means of the posteriors of training rows, `[rows, Z]`.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, section 5: active units.

    Example:
        >>> has_collapsed(np.array([[0.0, 1.0], [0.01, 1.0]]))
        True
    """
    return bool((mu.var(axis=0, dtype=np.float64) <= _ACTIVE).all())


def warnings(run: Run, features: Batch) -> list[str]:
    """Returns what new rows lack, or have, that training rows did not.

    Args:
        run: whose configuration has what `seen_in` found, if it is known.
        features: of new rows.
    """
    seen = run.config.get("seen")
    if seen is None:
        return []
    raw = transform.to_values(run.schema, features)
    found, outside = [], []
    for column, values in zip(run.schema.columns, raw.T, strict=True):
        if isinstance(column, CategoricalColumn):
            lost = [
                f"{level} ({share:.1%} of the training rows)"
                for level, share in seen["levels"].get(column.name, {}).items()
                if share * len(values) >= _LEAST_EXPECTED
                and (values == column.levels.index(level)).sum() < _LOST * share * len(values)
            ]
            if lost:
                found.append(f"column {column.name!r}: new rows have hardly any {', '.join(lost)}")
        elif isinstance(column, NumericColumn) and column.name in seen["ranges"]:
            least, most = seen["ranges"][column.name]
            if count := int(((values < least) | (values > most)).sum()):
                outside.append((count, f"{column.name} {count:,} ({least:g} to {most:g})"))
    if outside:
        told = [text for _, text in sorted(outside, reverse=True)]
        more = f" and {len(told) - _TOLD} columns more" if len(told) > _TOLD else ""
        found.append(
            f"of {len(raw):,} values these lie outside of their column's range in training: "
            f"{', '.join(told[:_TOLD])}{more}; train with --scale spikes, which keeps to it"
        )
    return found
