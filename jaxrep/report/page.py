"""`jaxrep report`: one HTML file that shows a run, and needs nothing but itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxrep import files
from jaxrep.hyperparameters import CONTAMINATION
from jaxrep.report import anomalies, columns, curves, latents, maps, origin, samples
from jaxrep.report.content import Page, Paragraph, Section
from jaxrep.report.rendering import render
from jaxrep.report.subject import Subject, of_run
from jaxrep.runs.folder import Run
from jaxrep.runs.overwriting import check_spared
from jaxrep.runs.results import TrainResult

_PARTS = (
    curves.training,
    maps.maps,
    anomalies.anomalies,
    columns.errors,
    latents.units,
    samples.samples,
    latents.interpolations,
    curves.speed,
)


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    out: Path
    """The file."""

    source: str
    """Where its rows come from."""

    rows: int
    """How many there are."""

    sections: tuple[str, ...]
    """The names of its sections."""

    bytes: int
    """Its size."""


def write_report(
    run: Run,
    out: Path,
    data: str | None = None,
    *,
    contamination: float = CONTAMINATION,
    parity: bool = True,
    note: Callable[[str], None] = lambda message: None,
) -> Report:
    """Writes a run's report.

    Args:
        run: the run.
        out: the HTML file.
        data: a table to show in the place of the run's own.
        contamination: share of the training rows that lie above the threshold.
        parity: whether to compare JAX with PyTorch, if that is installed.
        note: called with remarks.

    Raises:
        InputError: the table cannot be read or does not fit the run, or `out` cannot be written.
    """
    files.check_writable(out)
    check_spared(out, data, run=run)
    subject = of_run(run, data, contamination, note=note)
    sections = list(_sections(subject, parity))
    title = f"{subject.title}: {run.path}"
    html = render(Page(title, list(_facts(subject)), [_remark(subject)], sections))
    files.write_text(out, html)
    names = tuple(section.name for section in sections)
    return Report(out, subject.source, subject.count, names, len(html.encode()))


def _sections(subject: Subject, parity: bool) -> Iterator[Section]:
    for part in _PARTS:
        yield from part(subject)
    if parity:
        yield from origin.agreement(subject)
    yield from origin.origin(subject)


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    run = subject.run
    result = run.config.get("result", {})
    if "rows" in result:
        yield "trained on", f"{result['rows']:,} rows"
    schema = run.schema
    numbers, categories = len(schema.numeric), len(schema.categorical)
    yield "features", f"{_counted(numbers, 'number')}, {_counted(categories, 'category')}"
    yield "representation", f"{run.method.hyperparameters.latent_dim} numbers"
    if run.history:
        yield "epochs", f"{len(run.history):,}"
        yield "loss", f"{result.get('loss', run.history[-1]['loss']):.5g}"
    members = run.method.hyperparameters.members
    if members > 1:
        yield "networks", f"{members}; the scores are means, all else is the first one's"
    if "validation_loss" in result:  # an imported run may have no result
        yield "weights", TrainResult(**result).served
    yield "parameters", f"{sum(array.size for array in run.weights.values()):,}"
    yield "rows shown", f"{subject.count:,}"


def _remark(subject: Subject) -> Paragraph:
    if not subject.is_drawn:
        return Paragraph(f"Rows shown: {subject.source}")
    return Paragraph(
        f"{subject.run.config['data']['source']}, which the run was trained on, is not to be had: "
        "the rows shown are drawn from the run's statistics, each column by itself. Their "
        "embedding and scores are not those of real rows; give --data.",
        is_warning=True,
    )


def _counted(count: int, what: str) -> str:
    """Returns how many there are of something.

    Example:
        >>> _counted(1, "number"), _counted(1200, "category")
        ('1 number', '1,200 categories')
    """
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else several}"
