"""The rows to evaluate on: read block by block, a sample of them kept, with their label."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jaxrep.batch import Batch, concatenate, empty, take
from jaxrep.data import read, transform
from jaxrep.data.schema import MISSING
from jaxrep.data.targets import check_label, label_texts
from jaxrep.data.transform import Counts
from jaxrep.runs.folder import Run

_MISSING_NUMBERS = frozenset(MISSING)


@dataclass(frozen=True)
class Sample:
    """Some rows of a table, in the table's order."""

    x: Batch
    """Their numbers and codes, NumPy arrays."""

    labels: npt.NDArray[Any]
    """The label of each row as text, None where it is missing, `[N]`; all None without a label."""

    table_rows: int
    """Rows of the whole table."""


def draw_rows(
    run: Run,
    source: str,
    *,
    label: str | None,
    rows: int,
    seed: int,
    ignored: str | None = None,
    counts: Counts | None = None,
) -> Sample:
    """Reads a table with a run's columns and keeps a random sample of its rows.

    Args:
        run: whose schema makes features of them.
        source: the table.
        label: its label column; None if no label is needed.
        rows: the most rows to keep.
        seed: decides which.
        ignored: a column that may be there and is not read.
        counts: updated with the unknown and missing cells of all rows of the table.

    Raises:
        InputError: the table cannot be read, does not fit the run, or has no such column.
    """
    schema = msgspec.structs.replace(run.schema, label=label or run.schema.label)
    draws = np.random.default_rng(seed)
    kept_x = empty(schema.row_spec(), 0)
    kept_labels = np.empty(0, object)
    kept_keys, kept_places = np.empty(0), np.empty(0, np.int64)
    total = 0
    blocks = _blocks(run, source, label, ignored)
    for block, x in transform.apply_blocks(schema, blocks, source=source, counts=counts):
        count = len(x.numbers)
        texts = np.full(count, None, object)
        if label is not None:
            texts[:] = label_texts(block, label, source, schema.marks)
        keys = np.concatenate([kept_keys, draws.random(count)])
        places = np.concatenate([kept_places, total + np.arange(count)])
        chosen = np.sort(np.argsort(keys)[:rows])  # places ascend, so order stays the table's
        kept_x = take(concatenate([kept_x, x]), chosen)
        kept_labels = np.concatenate([kept_labels, texts])[chosen]
        kept_keys, kept_places = keys[chosen], places[chosen]
        total += count
    return Sample(kept_x, _mark_missing(kept_labels), total)


def _blocks(run: Run, source: str, label: str | None, ignored: str | None) -> Iterator[pa.Table]:
    """Yields a table's blocks, without what is neither a feature, the label nor the id."""
    schema = run.schema
    own = schema.label
    for block in read.read_blocks(source):
        if label is not None:
            check_label(label, block.column_names, source)
        dropped = {ignored} if label is None else {own} - {label}
        yield block.drop_columns([name for name in dropped if name in block.column_names])


def _mark_missing(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns labels with None for missing-value markers, if all others are numbers."""
    others = {text for text in labels if text is not None} - _MISSING_NUMBERS
    if not all(map(is_number, others)):
        return np.array([None if text == "nan" else text for text in labels], object)
    return np.array([None if text in _MISSING_NUMBERS else text for text in labels], object)


def is_number(text: str) -> bool:
    """Says whether a text is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def far_columns(run: Run, x: Batch) -> list[str]:
    """Returns remarks about numeric columns that lie far from the rows a run trained on."""
    remarks = []
    for column, values in zip(run.schema.numeric, x.numbers.T, strict=True):
        there = values[~np.isnan(values)].astype(np.float64)
        if len(there) and max(abs(there.mean()), there.std()) > 10:
            remarks.append(
                f"column {column.name!r} lies far from the rows that the run trained on: mean "
                f"{there.mean():.3g}, deviation {there.std():.3g} in standardised units"
            )
    return remarks


def value_counts(labels: npt.NDArray[Any]) -> dict[str, int]:
    """Returns how many rows each label has, the most frequent first."""
    counted = pc.value_counts(pa.array(labels.tolist(), pa.string())).to_pylist()
    counts = {entry["values"]: int(entry["counts"]) for entry in counted}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
