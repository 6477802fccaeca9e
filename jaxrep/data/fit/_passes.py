"""The passes over a table that a schema needs: the kinds of its columns, then their statistics."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from .._arrow import to_arrow
from .._gaps import refuse_missing
from .._messages import joined, listed, nearest
from .._threads import for_each
from .._types import decoded
from ..cells import Missing, Numbers, Place, check_booleans, codes_of, numbers_of
from ..columns import Columns, Scale
from ..read import DELIMITER
from ..schema import (
    MISSING,
    MOST,
    Boolean,
    CategoricalColumn,
    Column,
    Count,
    LeftOut,
    Number,
    NumericColumn,
    Schema,
    Standard,
)
from ._fitted import Fitted
from ._kinds import Draft, category_or_text, draft, is_one_value
from ._levels import MANY_LEVELS, MOST_TEXT, ROWS_PER_LEVEL, LevelCounts, levels_of
from ._marks import Unmatched
from ._profile import NumberStatistics, Profile
from ._ranks import Median
from ._scales import ScaleFit, Shown, make_scale_fit

Read = Callable[[], Iterable[pa.Table]]

_MANY_COLUMNS = 64  # from which on the counts for their medians would take much memory


class Fitting:
    """A table that a schema is being fitted to."""

    def __init__(self, read: Read, source: str, asked: Columns, mask: npt.NDArray[np.bool_] | None):
        self._read, self._source, self._asked, self._mask = read, source, asked, mask
        self._kinds, self._scales = asked.asked(), asked.asked_scales()
        defaults = MISSING if asked.missing is None else asked.missing
        self._markers = tuple(dict.fromkeys((*defaults, *asked.na_values)))
        self._missing = Missing(self._markers, asked.na_values)
        self._marks = Unmatched(asked.na_values)
        self._order: tuple[str, ...] = ()
        self._names: list[str] = []
        self._rows = 0
        self._profiles: dict[str, Profile] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._medians: dict[str, float] = {}
        self._scale_fits: dict[str, ScaleFit] = {}

    def _blocks(self) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
        """Yields the blocks of rows to learn from, and the index of each row in the table."""
        before = 0
        for block in self._read():
            rows = np.arange(before, before + block.num_rows)
            before += block.num_rows
            self._marks.add(block)
            if self._mask is not None:
                kept = self._mask[rows[0] : before] if len(rows) else np.zeros(0, bool)
                block, rows = block.filter(to_arrow(kept)), rows[kept]
            yield block, rows

    def see(self) -> None:
        """Makes the passes that infer the kinds of the columns."""
        self._profile(None)
        incomplete = [name for name in self._names if self._profiles[name].is_incomplete]
        if incomplete:
            self._profile(incomplete)
        _check_rows(self._rows, self._source)

    def _profile(self, names: list[str] | None) -> None:
        rows = 0
        profiles: dict[str, Profile] = {}
        for block, numbers in self._blocks():
            if not self._order:
                self._begin(block)
            if not profiles:
                known = names is not None
                commas = (block.schema.metadata or {}).get(DELIMITER) == b";"
                profiles = {
                    name: Profile(self._missing, as_text=known, decimal_commas=commas)
                    for name in names or self._names
                }
            for_each(
                lambda pair: pair[1].add(block[pair[0]], numbers),  # noqa: B023  # called at once
                profiles.items(),
                cells=block.num_rows * len(profiles),
            )
            rows += block.num_rows
        self._profiles |= profiles
        self._rows = rows

    def _begin(self, block: pa.Table) -> None:
        self._order = tuple(block.column_names)
        _check_roles(self._order, self._source, self._asked)
        apart = {self._asked.label, self._asked.id_column, *self._asked.drop}
        apart |= {n for n, a in self._kinds.items() if a.kind in ("id", "text", "dropped")}
        self._names = [name for name in self._order if name not in apart]

    def fitted(self) -> Fitted:
        """Returns the schema, after the passes of `see`."""
        place = Place(self._source)
        drafts = {
            name: draft(name, self._profiles[name], self._kinds.get(name), place)
            for name in self._names
        }
        for name, scale in self._scales.items():
            self._check_scale(name, scale, drafts.get(name))
        measured = self._measure(drafts)
        columns: dict[str, Column | LeftOut] = {}
        missing: dict[str, int] = {}
        for name, made in drafts.items():
            columns[name], count = self._finish(name, made, measured)
            if count:
                missing[name] = count
        learned: tuple[Any, ...] = tuple(c for c in columns.values() if not isinstance(c, LeftOut))
        left_out = self._left_out(columns)
        if not learned:
            reasons = joined([f"{c.name!r} ({c.why})" for c in left_out])
            raise InputError(
                f"{self._source}: no column is left to learn from; left out: {reasons or 'all'}. "
                "Set the kind of a column with --column 'NAME=KIND'"
            )
        if self._asked.impute == "refuse":
            gaps = {c.name: missing[c.name] for c in learned if c.name in missing}
            refuse_missing(gaps, self._source)
        _check_levels([c for c in learned if isinstance(c, CategoricalColumn)], self._source)
        if self._asked.impute == "median":
            learned = self._with_fills(learned)
        learned = self._with_likelihoods(learned)
        schema = Schema(learned, left_out, self._asked.label, self._markers, self._asked.na_values)
        return Fitted(schema, self._rows, missing, self._order, self._ranges, self._marks.left)

    def _left_out(self, columns: Mapping[str, Column | LeftOut]) -> tuple[LeftOut, ...]:
        found = []
        for name in self._order:
            column, asked = columns.get(name), self._kinds.get(name)
            if isinstance(column, LeftOut):
                found.append(column)
            elif name == self._asked.id_column:
                found.append(LeftOut(name, "id", "named by --id-column"))
            elif name in self._asked.drop:
                found.append(LeftOut(name, "dropped", "named by --drop"))
            elif column is None and asked is not None:
                kind: Any = asked.kind
                found.append(LeftOut(name, kind, "set by --column"))
        return tuple(found)

    def _measure(self, drafts: Mapping[str, Draft]) -> dict[str, "_Measured"]:
        """Makes the passes that the statistics of some columns need, and those for medians."""
        measured = {
            name: _Measured(made.column, self._missing, self._most_levels(name, made))
            for name, made in drafts.items()
            if not made.is_measured and not isinstance(made.column, LeftOut)
        }
        if measured:
            for block, rows in self._blocks():
                for name, column in measured.items():
                    column.add(block[name], Place(self._source, rows=rows))
        medians, self._scale_fits = self._statistics(drafts, measured)
        shown: dict[str, list[Shown]] = {}
        for found in (medians, self._scale_fits):
            for name, each in found.items():
                shown.setdefault(name, []).append(each)
        while shown := {n: left for n, each in shown.items() if (left := _unfound(each))}:
            self._show(drafts, shown)
        self._medians = {name: median.value for name, median in medians.items()}
        return measured

    def _statistics(
        self, drafts: Mapping[str, Draft], measured: Mapping[str, "_Measured"]
    ) -> tuple[dict[str, Median], dict[str, ScaleFit]]:
        """Returns what finds the medians that fill gaps, and the scales but for standard ones."""
        bits = (16, 16) if len(drafts) <= _MANY_COLUMNS else (8, 12)
        medians: dict[str, Median] = {}
        scales: dict[str, ScaleFit] = {}
        for name, made in drafts.items():
            numbers = self._numbers(name, made, measured)
            if numbers is None or not numbers.moments.count:
                continue
            if numbers.missing and self._asked.impute == "median":
                medians[name] = Median(bits[0])
            scale = self._scales.get(name, self._asked.scale or "standard")
            fit = None if isinstance(made.column, Boolean) else make_scale_fit(scale, bits[1])
            if fit is not None:
                scales[name] = fit
        return medians, scales

    def _show(self, drafts: Mapping[str, Draft], shown: Mapping[str, list[Shown]]) -> None:
        """Makes a pass that shows the values of some columns."""
        for block, rows in self._blocks():
            for name, statistics in shown.items():
                column = drafts[name].column
                assert isinstance(column, NumericColumn)
                values = self._values(column, block, rows)
                values = values[~np.isnan(values)]
                for each in statistics:
                    each.add(values)
        for statistics in shown.values():
            for each in statistics:
                each.end_showing()

    def _check_scale(self, name: str, scale: Scale, made: Draft | None) -> None:
        """Raises an InputError if a column has no such scale."""
        column = None if made is None else made.column
        if isinstance(column, LeftOut) and column.kind == "constant":
            return
        why = ""
        if column is None or isinstance(column, LeftOut):
            why = "is not learned from"
        elif isinstance(column, CategoricalColumn):
            why = "is a category, which has no scale"
        elif isinstance(column, Boolean) and scale != "standard":
            why = "is a boolean, which is always standard"
        if why:
            raise InputError(
                f"{self._source}: column {name!r} {why}; leave out --scale '{name}={scale}'"
            )

    def _most_levels(self, name: str, made: Draft) -> int:
        """Returns how many categories of a column to count before it is clear that it has none."""
        texts = self._profiles[name].texts
        if made.is_certain or texts is None:
            return MOST
        return min(MOST, max(texts.present // ROWS_PER_LEVEL, MANY_LEVELS))

    def _values(self, column: NumericColumn, block: pa.Table, rows: Any) -> Numbers:
        place = Place(self._source, rows=rows)
        return _to_fit(column, block[column.name], self._missing, place)

    def _numbers(
        self, name: str, made: Draft, measured: Mapping[str, "_Measured"]
    ) -> NumberStatistics | None:
        if not isinstance(made.column, NumericColumn):
            return None
        return self._profiles[name].numbers if made.is_measured else measured[name].numbers

    def _finish(
        self, name: str, made: Draft, measured: Mapping[str, "_Measured"]
    ) -> tuple[Column | LeftOut, int]:
        """Returns a column with its statistics, and how many of its cells are missing."""
        column = made.column
        if isinstance(column, LeftOut):
            return column, 0
        if isinstance(column, CategoricalColumn):
            return self._with_levels(column, made, measured.get(name))
        numbers = self._numbers(name, made, measured)
        assert numbers is not None
        if isinstance(column, Number) and numbers.moments.count:
            self._ranges[name] = (numbers.least, numbers.greatest)
        return self._with_scale(column, numbers, refine=name not in self._kinds)

    def _with_levels(
        self, column: CategoricalColumn, made: Draft, measured: "_Measured | None"
    ) -> tuple[Column | LeftOut, int]:
        name, texts = column.name, self._profiles[column.name].texts
        if measured is not None:
            counted, missing = measured.levels.counted(), 0
        else:
            assert texts is not None
            counted, missing = texts.levels.counted(), texts.missing
        if not made.is_certain:
            assert texts is not None
            found = category_or_text(name, counted, texts)
            if isinstance(found, LeftOut):
                return found, 0
            column = found
        if counted is None:
            raise InputError(
                f"{self._source}: column {name!r} has more than {MOST:,} categories, or more than "
                f"{MOST_TEXT >> 20} MiB of them; {_fewer_levels(name)}"
            )
        if not len(counted.keys):
            return LeftOut(name, "constant", "no values"), 0
        levels, merged = levels_of(counted)
        if not levels:
            return LeftOut(name, "id", f"{merged:,} values, all different"), 0
        missing += counted.missing
        changes = {
            "levels": levels,
            "has_gaps": missing > 0,
            "refuses": self._asked.impute == "refuse",
            "merged": merged,
        }
        return msgspec.structs.replace(column, **changes), missing

    def _with_fills(self, learned: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the columns, those of categories that have gaps with the most frequent level."""
        with_gaps = [c for c in learned if isinstance(c, CategoricalColumn) and c.has_gaps]
        counts = [np.zeros(len(column.levels), np.int64) for column in with_gaps]
        if not with_gaps:
            return learned
        for block, rows in self._blocks():
            for column, seen in zip(with_gaps, counts, strict=True):
                place = Place(self._source, rows=rows)
                codes = codes_of(column, block[column.name], self._missing, place)
                seen += np.bincount(codes[codes >= 0].astype(np.intp), minlength=len(seen))
        found = zip(with_gaps, counts, strict=True)
        fills = {column.name: column.levels[int(seen.argmax())] for column, seen in found}
        return tuple(
            msgspec.structs.replace(c, fill=fills[c.name]) if c.name in fills else c
            for c in learned
        )

    def _with_likelihoods(self, learned: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the columns, with the likelihoods that were set for some of them."""
        asked = self._asked.likelihoods
        numeric = {c.name: c for c in learned if isinstance(c, NumericColumn)}
        for name, likelihood in asked.items():
            column = numeric.get(name)
            if column is None:
                problem = "it is for columns of numbers that are learned from"
            else:
                numeric[name] = msgspec.structs.replace(column, likelihood=likelihood)
                problem = numeric[name].likelihood_problem() or ""
            if problem:
                kind = next((f"a {c.kind}" for c in learned if c.name == name), "left out")
                if column is not None and not isinstance(column.scaling, Standard):
                    kind += f" on the scale {column.scaling.kind}"
                raise InputError(
                    f"{self._source}: --column-likelihood {name}={likelihood}: {problem}, and "
                    f"{name!r} is {kind}"
                )
        return tuple(numeric.get(c.name, c) for c in learned)

    def _with_scale(
        self, column: NumericColumn, seen: NumberStatistics, *, refine: bool
    ) -> tuple[Column | LeftOut, int]:
        if not seen.moments.count:
            return LeftOut(column.name, "constant", "no values"), 0
        fill = self._medians.get(column.name)
        if fill is not None:
            seen.moments.repeat(fill, seen.missing)
        mean, deviation = seen.moments.mean, seen.moments.deviation
        if is_one_value(mean, deviation):
            return LeftOut(column.name, "constant", f"only one value, {mean:g}", mean), 0
        changes: dict[str, Any] = {"mean": mean, "scale": deviation, "fill": fill}
        changes |= {"has_gaps": seen.missing > 0, "refuses": self._asked.impute == "refuse"}
        is_formatted = self._profiles[column.name].texts is not None
        if refine and type(column) is Number and seen.are_whole and seen.least >= 0:
            fields = {name: getattr(column, name) for name in column.__struct_fields__}
            column, changes["stored"] = Count(**fields), "int64"
        elif is_formatted and type(column) is Count and seen.are_whole:
            changes["stored"] = "int64"  # as where it is inferred
        column = msgspec.structs.replace(column, **changes)
        if scale_fit := self._scale_fits.get(column.name):
            column = scale_fit.scale(column, seen.missing)
        return column, seen.missing


def _unfound(statistics: Iterable[Shown]) -> list[Shown]:
    return [each for each in statistics if not each.found]


def _to_fit(column: NumericColumn, cells: Any, missing: Missing, place: Place) -> Numbers:
    values = numbers_of(column, cells, missing, place)
    if isinstance(column, Boolean):
        check_booleans(column, values, place)
    return values


class _Measured:
    """The statistics of a column whose kind is known."""

    def __init__(self, column: Column, missing: Missing, most_levels: int):
        self._column, self._missing = column, missing
        self.numbers = NumberStatistics()
        self.levels = LevelCounts(missing, most=most_levels)

    def add(self, cells: Any, place: Place) -> None:
        """Adds a block of the column's cells."""
        if isinstance(self._column, NumericColumn):
            self.numbers.add(_to_fit(self._column, cells, self._missing, place))
        else:
            self.levels.add(decoded(cells))


def _check_levels(columns: Sequence[CategoricalColumn], source: str) -> None:
    """Raises an InputError if there are more levels in all columns than a model may have."""
    levels = sum(len(column.levels) for column in columns)
    text = sum(len("".join(column.levels).encode()) for column in columns)
    if levels <= MOST and text <= MOST_TEXT:
        return
    most = max(columns, key=lambda column: len(column.levels))
    raise InputError(
        f"{source}: {levels:,} categories in all, {len(most.levels):,} of them of {most.name!r}, "
        f"which take {text / 2**20:,.1f} MiB; at most {MOST:,} and {MOST_TEXT >> 20} MiB are "
        f"possible; {_fewer_levels(most.name)}"
    )


def _fewer_levels(name: str) -> str:
    return f"leave the column out with --column '{name}=text', or merge values of it in the table"


def _check_rows(rows: int, source: str) -> None:
    if rows < 2:
        raise InputError(
            f"{source}: at least 2 rows are needed to standardise columns; "
            f"given: {rows} sample{'' if rows == 1 else 's'}"
        )


def _check_roles(names: Collection[str], source: str, asked: Columns) -> None:
    roles = [(name, "--column or --schema") for name in asked.kinds]
    for name in asked.likelihoods:
        _check_name(name, "--column-likelihood", names, source)
    roles += [(name, "--drop") for name in dict.fromkeys(asked.drop)]
    roles += [(asked.label, "--label")] if asked.label is not None else []
    roles += [(asked.id_column, "--id-column")] if asked.id_column is not None else []
    flags: dict[str, str] = {}
    scales = [(name, "--scale") for name in asked.scales]
    for name, flag in (*roles, *scales):
        _check_name(name, flag, names, source)
        if flag != "--scale" and name in flags:
            raise InputError(
                f"{source}: column {name!r} is named by both {flags[name]} and {flag}; choose one"
            )
        flags[name] = flag
    if len(set(names)) < len(names):
        twice = [name for name in names if list(names).count(name) > 1]
        raise InputError(f"{source}: more than one column is named {listed(set(twice))}; rename")


def _check_name(name: str, flag: str, names: Collection[str], source: str) -> None:
    if name not in names:
        raise InputError(
            f"{source}: {flag} names {name!r}, which is not a column{nearest(name, list(names))}"
        )
