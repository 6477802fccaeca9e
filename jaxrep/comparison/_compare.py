"""A table of made rows beside the real one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from jaxrep import data
from jaxrep.errors import InputError

from ._cells import Cells, cells_of, schema_of
from ._columns import ColumnScore, score_columns
from ._pairs import PairScore, score_pairs
from ._rows import Closeness, ToldApart, Usefulness, closeness, told_apart, usefulness

LEAST_ROWS, MOST_PAIR_ROWS, TEST_SHARE = 20, 200_000, 0.25


@dataclass(frozen=True)
class Comparison:
    """What `compare` has found; formulas in docs/compare.md."""

    rows: dict[str, int]
    """How many there are of `real`, `made` and, if given, `holdout`."""

    left_out: tuple[str, ...]
    """Columns with nothing to compare: ids, free text, constants, and what was dropped."""

    columns: tuple[ColumnScore, ...]
    """In the order of the real table."""

    pairs: tuple[PairScore, ...]
    """All pairs of them."""

    floor: tuple[float, float] | None
    """What `column_error` and `pair_error` are of the holdout in the place of the made rows: two
    samples of the same source differ by as much. None without a holdout."""

    apart: ToldApart
    """Whether a classifier tells the rows apart."""

    closeness: Closeness
    """Whether they are copies."""

    usefulness: Usefulness | None
    """What they teach; None without a target."""

    cells: Mapping[str, Cells] = field(repr=False)
    """The rows themselves."""

    @property
    def column_error(self) -> float:
        """One minus the mean score of the columns; NaN where none has one."""
        return mean_error(self.columns)

    @property
    def pair_error(self) -> float:
        """One minus the mean score of the pairs; NaN where none has one."""
        return mean_error(self.pairs)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data; what is not defined is None."""
        return {
            "rows": self.rows,
            "left_out": list(self.left_out),
            "column_error": _known(self.column_error),
            "pair_error": _known(self.pair_error),
            "floor": None
            if self.floor is None
            else dict(zip(("column_error", "pair_error"), map(_known, self.floor), strict=True)),
            "told_apart": asdict(self.apart),
            "closeness": asdict(self.closeness),
            "usefulness": None if self.usefulness is None else self.usefulness.to_json(),
            "columns": [column.to_json() for column in self.columns],
            "pairs": [
                {"names": list(pair.names), "measure": pair.measure, "score": _known(pair.score)}
                for pair in self.pairs
            ],
        }


def mean_error(found: Iterable[ColumnScore | PairScore]) -> float:
    """Returns one minus the mean of the scores that are defined."""
    there = [one.score for one in found if not np.isnan(one.score)]
    return 1 - float(np.mean(there)) if there else float("nan")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def compare(
    real: pa.Table,
    made: pa.Table,
    holdout: pa.Table | None = None,
    *,
    target: str | None = None,
    columns: data.Columns = data.Columns(),  # noqa: B008  # it is frozen
    names: tuple[str, str, str] = ("real", "made", "holdout"),
    seed: int = 0,
    watch: Callable[[str], None] = lambda part: None,
) -> Comparison:
    """Measures how made rows differ from real ones.

    Args:
        real: the rows that the model of the made rows was trained on.
        made: rows with the same columns.
        holdout: real rows that it was not trained on. Without them nothing can be said of how near
            to the training rows made rows are, and the classifier that tells rows apart is given
            real rows that the model knows.
        target: a column to be predicted from the others by models trained on either rows. They are
            tested on the holdout, or without a holdout on a quarter of the real rows, set apart.
        columns: what columns are, where that is not to be inferred.
        names: of the tables, for messages.
        seed: of all draws.
        watch: called with the name of each part before it is measured.

    Raises:
        InputError: a table has fewer than 20 rows, lacks a column or has a cell that does not fit;
            there is no column `target`.

    Example:
        >>> rows = pa.table({"age": [float(i) for i in range(40)], "sex": ["f", "m"] * 20})
        >>> found = compare(rows, rows)
        >>> found.column_error, found.pair_error, found.closeness.copies
        (0.0, 0.0, 1.0)
    """
    watch("reading")
    tables = {"real": real, "made": made} | ({} if holdout is None else {"holdout": holdout})
    for table, name in zip(tables.values(), names, strict=False):
        if table.num_rows < LEAST_ROWS:
            raise InputError(f"{name}: {table.num_rows} rows; {LEAST_ROWS} are needed to compare")
    schema = schema_of([real], names[0], columns)
    known = [column.name for column in schema.columns]
    if target is not None and target not in known:
        raise InputError(
            f"{names[0]}: there is no column {target!r} to predict; there are {', '.join(known)}"
        )
    cells = {
        key: cells_of(schema, table, name, names[0])
        for (key, table), name in zip(tables.items(), names, strict=False)
    }
    with threadpool_limits(1):  # threads that wait for one another take many times as long
        return _measured(cells, target, seed, watch)


def _measured(
    cells: Mapping[str, Cells], target: str | None, seed: int, watch: Callable[[str], None]
) -> Comparison:
    draws = np.random.default_rng(seed)
    watch("columns")
    by_column = tuple(score_columns(cells["real"], cells["made"]))
    watch("pairs")
    some = {key: each.drawn(MOST_PAIR_ROWS, draws) for key, each in cells.items()}
    by_pair = tuple(score_pairs(some["real"], some["made"]))
    floor = None
    if "holdout" in cells:
        floor = (
            mean_error(score_columns(cells["real"], cells["holdout"])),
            mean_error(score_pairs(some["real"], some["holdout"])),
        )
    watch("rows told apart")
    apart = told_apart(cells.get("holdout", cells["real"]), cells["made"], seed=seed)
    watch("nearest rows")
    near = closeness(cells["real"], cells["made"], cells.get("holdout"), seed=seed)
    use = None
    if target is not None:
        watch(f"models of {target}")
        train, test = cells["real"], cells.get("holdout")
        if test is None:
            order = draws.permutation(len(train))
            count = int(TEST_SHARE * len(train))
            train, test = train.take(order[count:]), train.take(order[:count])
        use = usefulness(train, cells["made"], test, target, seed=seed)
    return Comparison(
        rows={key: len(each) for key, each in cells.items()},
        left_out=tuple(column.name for column in cells["real"].schema.left_out),
        columns=by_column,
        pairs=by_pair,
        floor=floor,
        apart=apart,
        closeness=near,
        usefulness=use,
        cells=cells,
    )
