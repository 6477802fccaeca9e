"""A fitted schema, and the lines that describe it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._messages import joined
from ..schema import CategoricalColumn, LeftOut, NumericColumn, Schema, Spikes, Standard
from ._levels import MANY_LEVELS


@dataclass(frozen=True)
class Fitted:
    """A fitted schema, and facts about its table that the schema does not keep.

    Attributes:
        schema: the schema.
        rows: the number of rows that it was fitted to.
        missing: the number of missing cells of each column that has any.
        order: the names of all columns, in the table's order.
        ranges: smallest and largest value of each number and count column.
        unmatched: the `na_values` that no cell of the table matched.
    """

    schema: Schema
    rows: int
    missing: Mapping[str, int]
    order: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    unmatched: tuple[str, ...] = ()

    def warnings(self, source: str) -> Iterator[str]:
        """Yields what looks like a mistake in the options."""
        for mark in self.unmatched:
            yield f"{source}: --na-values {mark!r} matched no cell"

    def lines(self, source: str, most: int = 100) -> Iterator[str]:
        """Yields a line for the table and one for each column: its kind, and why.

        Args:
            source: where the table comes from.
            most: the number of columns with a line of their own.
        """
        yield f"{source}: {self.rows:,} rows, {len(self.order)} columns"
        found: dict[str, Any] = {c.name: c for c in (*self.schema.columns, *self.schema.left_out)}
        width = max(len(name) for name in self.order[:most])
        width = min(width, 30)
        for name in self.order[:most]:
            column = found.get(name)
            if column is None:
                yield f"  {name:{width}}  label"
                continue
            kind, why = column.kind, column.why
            if isinstance(column, LeftOut):
                kind = f"left out ({kind})"
            elif name in self.ranges:
                why += ", from {:g} to {:g}".format(*self.ranges[name])
            elif isinstance(column, CategoricalColumn):
                why += _levels(column)
            if isinstance(column, NumericColumn) and not isinstance(column.scaling, Standard):
                why += f"; scaled by {column.scaling.kind}"
                if isinstance(column.scaling, Spikes):
                    why += f" at {joined([f'{spike:g}' for spike in column.scaling.spikes])}"
            if count := self.missing.get(name):
                why += f"; {count:,} missing"
                if isinstance(column, NumericColumn) and column.fill is not None:
                    why += f", filled with the median {column.fill:g}"
                elif isinstance(column, CategoricalColumn) and column.fill is not None:
                    why += f", filled with the most frequent, {column.fill[:20]!r}"
            yield f"  {name:{width}}  {kind:10}  {why}".rstrip()
        if len(self.order) > most:
            yield f"  … and {len(self.order) - most} more columns"


def _levels(column: CategoricalColumn) -> str:
    """Returns how many levels a column of many has, and how many categories are none."""
    if len(column.levels) + column.merged <= MANY_LEVELS:
        return ""
    count = f", {len(column.levels):,} levels"
    return count + f"; {column.merged:,} that one row has count as other" * (column.merged > 0)
