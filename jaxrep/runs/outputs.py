"""What a trained run gives: embeddings, reconstructions, scores, samples, interpolations.

Each function takes a run and, where it needs rows, the table they come from, and returns a table:
rows in their order, first the id column with the type that it has in the file, the label never.
Those that end in `_blocks` read a table of any length and give theirs block by block, in memory
that does not grow with the rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrep.batch import Batch, concatenate, take
from jaxrep.conformal import p_values
from jaxrep.data import read, transform
from jaxrep.data.schema import Number, Schema
from jaxrep.data.transform import Counts
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.hyperparameters import CONTAMINATION, ViewHyperparameters
from jaxrep.methods import get, hyperparameters_of, names
from jaxrep.outputs import OUTPUTS
from jaxrep.runs.explaining import columns_of, reasons_of
from jaxrep.runs.folder import Run
from jaxrep.runs.rows import with_gaps
from jaxrep.views import rows_seen

MAX_ROWS = 1 << 24  # drawn or interpolated by one call; their codes are held in memory


def read_table_of(run: Run, source: str) -> pa.Table:
    """Reads a table for a run.

    Raises:
        InputError: the table cannot be read.
    """
    return read.read_table(source)


def read_rows(run: Run, source: str) -> tuple[pa.Table, Batch]:
    """Reads a table and its rows as a run's features.

    Raises:
        InputError: the table cannot be read, or does not fit the run.
    """
    table = read_table_of(run, source)
    return table, transform.apply(run.schema, table, source=source)


def embed(run: Run, source: str) -> pa.Table:
    """Returns the representations of a table's rows as columns `z0`, `z1`, …."""
    return pa.concat_tables(embed_blocks(run, source))


def embed_blocks(run: Run, source: str, counts: Counts | None = None) -> Iterator[pa.Table]:
    """Yields the rows of `embed`, and counts cells that could not be placed."""
    for table, x in rows_of_table(run, source, counts):
        z = run.map("embed", x)
        yield with_ids(run, table, {f"z{i}": z[:, i] for i in range(z.shape[1])})


def reconstruct(run: Run, source: str) -> pa.Table:
    """Returns the reconstructions of a table's rows, in the table's own columns and units.

    Raises:
        InputError: the network does not declare `reconstruct`.
    """
    return pa.concat_tables(reconstruct_blocks(run, source))


def reconstruct_blocks(run: Run, source: str, counts: Counts | None = None) -> Iterator[pa.Table]:
    """Yields the rows of `reconstruct`, and counts cells that could not be placed."""
    need(run, "reconstruct")
    for table, x in rows_of_table(run, source, counts):
        restored = transform.invert(run.schema, run.map("reconstruct", x))
        yield with_ids(run, table, _columns(restored))


def fill_blocks(
    run: Run, source: str, counts: Counts | None = None, filled: Counter[str] | None = None
) -> Iterator[pa.Table]:
    """Yields a table as it came, the missing cells of its features filled by the reconstruction.

    A number becomes its expected value, in the unit and the type of its column, and a category the
    likeliest level. Ids, the label and the columns that are left out stay as they are. A network
    that was trained with hidden cells takes every gap for one, in whatever column.

    Args:
        run: whose network declares `reconstruct`.
        source: the table.
        counts: takes the cells of unknown categories.
        filled: takes the cells that are filled, by column.

    Raises:
        InputError: the network does not declare `reconstruct`, or the run refuses missing cells.
    """
    need(run, "reconstruct")
    before, seen = 0, Counts()
    is_seen = _sees_gaps(run)
    for table in read.read_blocks(source):
        raw = transform.to_raw(run.schema, table, source=source, before=before, counts=seen)
        x = transform.to_features(run.schema, raw, source=source, before=before)
        x = with_gaps(x, np.isnan(raw)[:, run.schema.column_order] & is_seen)
        values = transform.to_values(run.schema, run.map("reconstruct", x))
        made, found = transform.fill(run.schema, table, raw, values, source=source)
        before += table.num_rows
        if filled is not None:
            filled.update(found)
        yield made
    if counts is not None:
        counts.unknown += seen.unknown


def unseen_gaps(run: Run) -> frozenset[str]:
    """Returns the columns in which a run's network has not been trained on missing cells."""
    names = np.array(run.schema.names, object)[list(run.schema.column_order)]
    return frozenset(names[~_sees_gaps(run)])


def _sees_gaps(run: Run) -> np.ndarray:
    """Returns for each number and code whether the network takes missing cells, `[D + C]`."""
    hyperparameters, rows = run.method.hyperparameters, run.rows
    if isinstance(hyperparameters, ViewHyperparameters):
        rows = rows_seen(hyperparameters, rows)
    return np.array([*rows.number_gaps, *rows.code_gaps], bool)


def score(run: Run, source: str, *, contamination: float = CONTAMINATION) -> pa.Table:
    """Returns the anomaly `score` of a table's rows, and whether it is above the threshold.

    Args:
        run: the trained run.
        source: the table.
        contamination: share of the training rows whose score lies above the threshold.

    Raises:
        InputError: `contamination` is not between 0 and 1.
    """
    return pa.concat_tables(score_blocks(run, source, contamination=contamination))


def score_blocks(
    run: Run,
    source: str,
    counts: Counts | None = None,
    *,
    contamination: float = CONTAMINATION,
    limit: float | None = None,
    calibration: np.ndarray | None = None,
    reasons: int = 0,
) -> Iterator[pa.Table]:
    """Yields the rows of `score`, and counts cells that could not be placed.

    Args:
        run: the trained run.
        source: the table.
        counts: takes the cells that could not be placed.
        contamination: as of `score`.
        limit: the threshold, in the place of `contamination`.
        calibration: scores in ascending order, by which the column `p_value` is computed, `[n]`;
            None leaves it out.
        reasons: how many columns of each row to name that do not fit, in five columns each.
    """
    limit = threshold(run, contamination) if limit is None else limit
    for table, x in rows_of_table(run, source, counts):
        scores = run.map("score", x)
        columns = {"score": scores, "anomaly": scores > limit}
        if calibration is not None:
            columns["p_value"] = p_values(scores, calibration)
        if reasons:
            found = reasons_of(run, table, x, reasons, "--explain")
            columns |= columns_of(found, min(reasons, run.rows.columns))
        yield with_ids(run, table, columns)


def threshold(run: Run, contamination: float = CONTAMINATION) -> float:
    """Returns the score above which the given share of the training rows lay.

    Args:
        run: the trained run; it holds the quantiles of its training rows' scores.
        contamination: that share, above 0 and below 1.

    Raises:
        InputError: `contamination` is not between 0 and 1.
    """
    if not 0 < contamination < 1:
        raise InputError(f"--contamination is {contamination}; it must be above 0 and below 1")
    stored = run.config.get("score_quantiles", {"levels": [], "scores": []})
    levels, scores = (np.asarray(stored[key], np.float64) for key in ("levels", "scores"))
    if levels.shape != scores.shape or len(levels) < 2:
        raise ModelFormatError(f"{run.path}: the scores' quantiles are missing from config.json")
    with np.errstate(all="ignore"):
        limit = float(np.interp(1 - contamination, levels, scores))
        is_sound = np.isfinite(levels).all() and (np.diff(levels) >= 0).all()
    if not (is_sound and np.isfinite(scores).all() and np.isfinite(limit)):
        raise ModelFormatError(f"{run.path}: the scores' quantiles in config.json are damaged")
    return limit


def decode(run: Run, source: str) -> pa.Table:
    """Decodes a table of codes, columns `z0`, `z1`, …, into the columns that the run trained on.

    The run's ids may stand beside them, as `embed` writes them, and are passed through.

    Raises:
        InputError: the network does not declare `decode`, or the table's columns are not the codes.
    """
    return pa.concat_tables(decode_blocks(run, source))


def decode_blocks(run: Run, source: str) -> Iterator[pa.Table]:
    """Yields the rows of `decode`."""
    need(run, "decode")
    size = run.method.hyperparameters.latent_dim
    wanted = [f"z{i}" for i in range(size)]
    is_array = source.lower().endswith((".npy", ".npz"))
    numbers = Schema(tuple(Number(name, 0.0, 1.0, None) for name in wanted))
    before = 0
    for block in read.read_blocks(source):
        named = is_array and block.num_columns == size  # arrays have no names of their own
        table = block.rename_columns(wanted) if named else block
        decoded = _decode(run, _codes(run, numbers, table, source, before))
        before += block.num_rows
        yield with_ids(run, table, _columns(decoded))


def _codes(run: Run, numbers: Schema, table: pa.Table, source: str, before: int) -> np.ndarray:
    wanted = numbers.names
    if set(table.column_names) - set(run.schema.ids) != set(wanted):
        raise InputError(
            f"{source}: codes have the columns z0 to {wanted[-1]}; this has "
            f"{', '.join(table.column_names)}"
        )
    codes = table.select(list(wanted))
    with np.errstate(over="ignore"):
        z = transform.to_raw(numbers, codes, source=source, before=before).astype(np.float32)
    if not np.isfinite(z).all():
        raise InputError(f"{source}: a code is missing or too large; codes must be finite numbers")
    return z


def interpolate(run: Run, source: str, rows: tuple[int, int], steps: int) -> pa.Table:
    """Returns rows decoded along the straight line between the codes of two rows.

    Args:
        run: whose network declares `decode`.
        source: the table that holds both rows.
        rows: their numbers, from 0.
        steps: number of rows to return, both ends included; at least 2.

    Raises:
        InputError: the network does not declare `decode`, a row is not there, or `steps` is out
            of range.
    """
    need(run, "decode", command="interpolate")
    if not 2 <= steps <= MAX_ROWS:
        raise InputError(
            f"--steps is {steps}; it must be a whole number from 2 (both ends) to {MAX_ROWS}"
        )
    x = _rows_at(run, source, rows)
    ends = run.map("embed", x)
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return _decode(run, (1 - share) * ends[:1] + share * ends[1:])


def rows_of_table(
    run: Run, source: str, counts: Counts | None = None
) -> Iterator[tuple[pa.Table, Batch]]:
    """Yields a table's blocks, each with its features.

    Args:
        run: whose schema makes features of them.
        source: the table.
        counts: takes the cells that could not be placed.
    """
    return transform.apply_blocks(
        run.schema, read.read_blocks(source), source=source, counts=counts
    )


def _rows_at(run: Run, source: str, numbers: tuple[int, ...]) -> Batch:
    """Returns the features of some of a table's rows."""
    found: dict[int, Batch] = {}
    before = 0
    for table, x in rows_of_table(run, source):
        here = [n for n in numbers if before <= n < before + table.num_rows]
        found |= {n: take(x, slice(n - before, n - before + 1)) for n in here}
        before += table.num_rows
    for number in numbers:
        if number not in found:
            raise InputError(f"--rows {number}: {source} has rows 0 to {before - 1}")
    return concatenate([found[number] for number in numbers])


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def with_ids(
    run: Run, table: pa.Table, columns: Mapping[str, np.ndarray | pa.ChunkedArray]
) -> pa.Table:
    """Returns a table of columns, and first the ids, as far as the table has them.

    Raises:
        InputError: a column has the name of an id.
    """
    passed: dict[str, Any] = {}
    for name in run.schema.ids:
        if name not in table.column_names:
            continue
        if name in columns:
            raise InputError(
                f"the id column {name!r} has the name of a column to be written; rename it"
            )
        passed[name] = table[name]
    return pa.table({**passed, **columns})


def _decode(run: Run, z: np.ndarray) -> pa.Table:
    return transform.invert(run.schema, run.map("decode", z))


def need(run: Run, output: str, *, command: str | None = None) -> None:
    """Refuses what the run's network does not declare."""
    if output in run.outputs:
        return
    able = [name for name in names() if output in get(name).network_type.outputs]
    advice = ""
    if all(hyperparameters_of(name).predicts for name in able):
        advice = ", which `jaxrep finetune RUN DATA --label COLUMN --out RUN2` trains"
    raise InputError(
        f"{run.path}: {run.method.name} has no {output} ({OUTPUTS[output].help})"
        f"{f', which {command} needs' if command else ''}; methods that have it: {', '.join(able)}"
        f"{advice}"
    )
