"""The commands that read a run: what it is, and tables of what it gives."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from tyro.conf import Positional, UseAppendAction, arg

from jaxrep.commands._command import Data, Result, RunReader, note, printable
from jaxrep.files import is_stdout
from jaxrep.hyperparameters import CONTAMINATION

if TYPE_CHECKING:
    import pyarrow as pa

    from jaxrep.data.transform import Counts
    from jaxrep.runs.folder import Run


_BY_DEFAULT = arg(
    help_behavior_hint=f"(default: {CONTAMINATION}, unless --alpha or --fdr is given)"
)


@dataclass(kw_only=True)
class Info(RunReader):
    """Say what a run is, and what of its training data its folder holds."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the run's configuration, figures, and what it holds of its data."""
        from jaxrep.runs.kept import kept_of_data
        from jaxrep.runs.outputs import threshold

        run = self.read()
        summary = _without_scores(run.config)
        if "last" in summary:
            summary["last"] = _without_scores(summary["last"])
        summary |= {
            "parameters": sum(array.size for array in run.weights.values()),
            "numbers": run.rows.numbers,
            "codes": run.rows.codes,
        }
        if "score_quantiles" in run.config:  # an imported run may lack them
            summary["score_threshold"] = threshold(run)
        summary["kept_of_training_data"] = kept_of_data(run)
        return "\n".join(_lines(summary)), summary


@dataclass(kw_only=True)
class Output(RunReader):
    """A command that reads a run and writes a table."""

    out: Path
    """The file to write: .csv (also .csv.gz, .csv.bz2, .csv.zst), .parquet, .feather, .arrow, .npy
    or .npz. With - the table goes to stdout as CSV, and what is said about it to stderr."""

    spreadsheet_safe: bool = False
    """Write an apostrophe before text of a CSV that a spreadsheet would run as a formula: that
    which begins with = + - @. It changes ids, categories and column names; without the flag all
    text stays as it is."""

    def write(
        self,
        make: "Callable[[Run], Iterable[pa.Table]]",
        source: str = "",
        counts: "Counts | None" = None,
    ) -> tuple[str, Result]:
        """Writes a table, and says where, how many rows, and what could not be placed.

        Args:
            make: makes its blocks of a run.
            source: the table that it reads, if any.
            counts: what it counts of that table's cells, if it does.
        """
        from jaxrep.data.write import check_output, write_blocks
        from jaxrep.progress import report_rows
        from jaxrep.runs.overwriting import check_spared

        check_output(self.out)
        run = self.read()
        check_spared(self.out, source or None, run=run)
        rows, columns = write_blocks(
            report_rows(make(run)), self.out, spreadsheet_safe=self.spreadsheet_safe
        )
        result = {"run": str(self.folder), "out": str(self.out), "rows": rows, "columns": columns}
        if counts is not None:
            result["cells"] = counts.to_json()
            for sentence in counts.sentences(source):
                note(f"warning: {sentence}")
        where = "standard output" if is_stdout(self.out) else self.out
        return f"wrote {rows} rows × {columns} columns to {where}", result

    def result_file(self) -> TextIO:
        """Returns where the result is printed: stderr if the table goes to stdout."""
        return sys.stderr if is_stdout(self.out) else super().result_file()


@dataclass(kw_only=True)
class Embed(Output):
    """Write the representations of a table's rows."""

    data: Data
    """A table with the columns that the run trained on."""

    def __call__(self) -> tuple[str, Result]:
        """Writes columns z0, z1, …."""
        from jaxrep.data.transform import Counts
        from jaxrep.runs.outputs import embed_blocks

        counts = Counts()
        return self.write(lambda run: embed_blocks(run, self.data, counts), self.data, counts)


@dataclass(kw_only=True)
class Reconstruct(Output):
    """Write the reconstructions of a table's rows, in the table's units."""

    data: Data
    """A table with the columns that the run trained on."""

    fill: bool = False
    """Write the table as it is, with its missing cells alone filled by the reconstruction: numbers
    with their expected value, categories with the likeliest. A run that is trained with --recipe
    filling fills best."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the table's own columns."""
        from jaxrep.data.transform import Counts
        from jaxrep.runs.outputs import reconstruct_blocks

        counts = Counts()
        if self.fill:
            return self._fill(counts)
        return self.write(lambda run: reconstruct_blocks(run, self.data, counts), self.data, counts)

    def _fill(self, counts: "Counts") -> tuple[str, Result]:
        from jaxrep.runs.outputs import fill_blocks, unseen_gaps

        filled: Counter[str] = Counter()
        unseen: frozenset[str] = frozenset()

        def make(run: "Run") -> "Iterator[pa.Table]":
            nonlocal unseen
            unseen = unseen_gaps(run)
            yield from fill_blocks(run, self.data, counts, filled)

        text, result = self.write(make, self.data, counts)
        if blind := [name for name in filled if name in unseen]:
            note(
                "warning: the run was trained with no missing cells in "
                f"{', '.join(map(repr, blind))}, and takes each for a usual one; train with "
                "--recipe filling for better values"
            )
        by_column = ", ".join(f"{count} of {name!r}" for name, count in filled.items())
        text = f"{text}\nfilled {by_column or 'no cells'}"
        return text, result | {"filled": dict(filled)}


@dataclass(kw_only=True)
class Decode(Output):
    """Write the rows that codes stand for."""

    codes: Annotated[str, Positional, arg(metavar="Z")]
    """A table with the columns z0, z1, …, as `embed` writes it."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.outputs import decode_blocks

        return self.write(lambda run: decode_blocks(run, self.codes), self.codes)


@dataclass(kw_only=True)
class Score(Output):
    """Write the anomaly scores of a table's rows; higher is more anomalous."""

    data: Data
    """A table with the columns that the run trained on."""

    contamination: Annotated[float | None, _BY_DEFAULT] = None
    """Anomalies are the rows above a threshold above which this share of the training rows lies. It
    promises nothing of other rows, whose scores are higher."""

    alpha: float | None = None
    """Anomalies are the rows whose p-value is at most this: of rows like the calibration rows at
    most this share, in the mean over runs. Needs a run trained with --calibration-fraction."""

    fdr: float | None = None
    """Anomalies are as many rows as can be with at most this share of them, in expectation, like
    the calibration rows: Benjamini and Hochberg's procedure over the table, which is scored twice
    for it. Needs a run trained with --calibration-fraction."""

    p_value: bool = False
    """Write the column p_value: the share of the calibration rows, and of the row itself, whose
    score is at least the row's. Needs a run trained with --calibration-fraction."""

    explain: int = 0
    """Write for each row the K columns that fit the others least: the column, its value, what the
    other columns let expect, a category's probability, and its share, which sum to 1 over all
    columns. Needs a denoiser, or an autoencoder trained with --views hide."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns score and anomaly, and p_value and reasons if they are asked for."""
        from jaxrep.data.transform import Counts
        from jaxrep.runs.explaining import check_explaining
        from jaxrep.runs.levels import Flagging, flagging
        from jaxrep.runs.outputs import score_blocks

        counts = Counts()
        anomalies = rows = 0
        chosen: Flagging | None = None

        def make(run: "Run") -> "Iterator[pa.Table]":
            nonlocal anomalies, rows, chosen
            if self.explain:
                check_explaining(run, self.explain, "--explain")
            chosen = flagging(
                run,
                self.data,
                contamination=self.contamination,
                alpha=self.alpha,
                fdr=self.fdr,
                p_value=self.p_value,
            )
            blocks = score_blocks(
                run,
                self.data,
                counts,
                limit=chosen.threshold,
                calibration=chosen.calibration if self.p_value else None,
                reasons=self.explain,
            )
            for block in blocks:
                anomalies += int(block["anomaly"].to_numpy().sum())
                rows += len(block)
                yield block

        text, result = self.write(make, self.data, counts)
        assert chosen is not None
        return f"{text}\n{chosen.sentence(anomalies, rows)}", result | chosen.to_json(anomalies)


@dataclass(kw_only=True)
class Generate(Output):
    """Write new rows: latents drawn from a VAE's prior, and cells from what they decode to."""

    count: Annotated[int, arg(aliases=["-n"])] = 16
    """Rows to draw."""

    seed: int = 0
    """Decides the draws."""

    mean: bool = False
    """Draw latents alone: numbers are expectations, and categories the likeliest."""

    where: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="CONDITIONS")] = ()
    """What every row must meet, such as country=France,age>=60: rows are drawn until enough do.
    Comparisons are = != < <= > >=. Repeat it for more."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.conditions import parse_conditions
        from jaxrep.runs.generating import generate

        where = parse_conditions(self.where)

        def make(run: "Run") -> "list[pa.Table]":
            made = generate(run, self.count, seed=self.seed, mean=self.mean, where=where, note=note)
            return [made]

        return self.write(make)


@dataclass(kw_only=True)
class Interpolate(Output):
    """Write the rows between two rows, along the straight line between their codes."""

    data: Data
    """The table that holds both rows."""

    rows: tuple[int, int]
    """The two rows' numbers, from 0."""

    steps: int = 8
    """Rows to write, both ends included."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the columns that the run trained on."""
        from jaxrep.runs.outputs import interpolate

        def make(run: "Run") -> "list[pa.Table]":
            return [interpolate(run, self.data, self.rows, self.steps)]

        return self.write(make, self.data)


def _without_scores(config: Mapping[str, Any]) -> Result:
    from jaxrep.runs.folder import KEPT_SCORES

    return {key: value for key, value in config.items() if key not in KEPT_SCORES}


def _lines(summary: Result, indent: str = "") -> list[str]:
    """Lays an object out as indented lines of `key: value`."""
    lines = []
    for key, value in summary.items():
        if isinstance(value, dict):
            lines += [f"{indent}{printable(key)}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{printable(f'{key}: {value}')}")
    return lines
