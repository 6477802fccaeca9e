"""Unknown and missing cells, counted by column."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .._messages import joined
from ..schema import CategoricalColumn, Schema


@dataclass
class Counts:
    """Cells of a table that training did not know, and missing ones, by column.

    Attributes:
        unknown: cells whose category is not among the levels.
        filled: missing cells of columns that had none when the schema was fitted, which are
            filled with the mean, or counted among the unknown categories.
        missing: missing cells of the other columns, which stay missing or are imputed.
        neither: numbers in columns of booleans that are neither 0 nor 1.

    Example:
        >>> counts = Counts()
        >>> counts.unknown["job"] += 2
        >>> counts.to_json(), list(counts.sentences("people.csv"))[0]
        ({'unknown': {'job': 2}}, "people.csv: 2 cells of 'job' are of no known category")
    """

    unknown: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    neither: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Adds the counts of other cells."""
        self.unknown += other.unknown
        self.filled += other.filled
        self.missing += other.missing
        self.neither += other.neither

    def without_merged(self, schema: Schema) -> "Counts":
        """Returns the counts without the cells of categories that were merged.

        Args:
            schema: fitted to rows of the table whose cells were counted. Each category that it has
                merged is one of these cells, which training knew.

        Example:
            >>> from jaxrep.data.schema import CategoricalColumn
            >>> city = CategoricalColumn("city", ("Oslo",), has_gaps=False, merged=3)
            >>> Counts(unknown=Counter(city=5)).without_merged(Schema((city,))).unknown
            Counter({'city': 2})
        """
        merged = Counter(
            {c.name: c.merged for c in schema.columns if isinstance(c, CategoricalColumn)}
        )
        return replace(self, unknown=self.unknown - merged)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Returns the counts above zero."""
        found = {
            "unknown": self.unknown,
            "filled": self.filled,
            "missing": self.missing,
            "neither": self.neither,
        }
        return {name: dict(counts) for name, counts in found.items() if counts}

    def sentences(self, source: str) -> Iterator[str]:
        """Yields the warnings for a user."""
        if self.unknown:
            yield f"{source}: {_cells_of(self.unknown)} of no known category"
        if self.filled:
            yield (
                f"{source}: {_cells_of(self.filled)} missing, though none was when the model was "
                "fitted; they are filled as if they were usual"
            )
        if self.neither:
            yield (
                f"{source}: {_cells_of(self.neither)} neither true nor false; such a number counts "
                "as what it is"
            )


def _cells_of(counts: Counter[str]) -> str:
    parts = [f"{count:,} of {name!r}" for name, count in counts.items()]
    one = len(parts) == 1
    if one:
        ((name, count),) = counts.items()
        return f"{count:,} cell{'s' * (count > 1)} of {name!r} {'are' if count > 1 else 'is'}"
    return f"cells ({joined(parts)}) are"
