"""`jaxrep report`: one HTML file that shows a run, and needs nothing but itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from jaxrep import files
from jaxrep.hyperparameters import CONTAMINATION
from jaxrep.report import anomalies, columns, curves, latents, maps, origin
from jaxrep.report.markup import Section, paragraph, text
from jaxrep.report.style import CSS
from jaxrep.report.subject import Subject, of_run
from jaxrep.runs.folder import Run
from jaxrep.runs.overwriting import check_spared

# The policy lets nothing be fetched and nothing run, whatever a cell of the data may hold.
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$css</style>
</head>
<body>
<header>
<h1>$title</h1>
$summary
<nav aria-label="Sections"><ul>
$links
</ul></nav>
</header>
<main>
$sections
</main>
</body>
</html>
""")
_PARTS = (
    curves.training,
    maps.maps,
    anomalies.anomalies,
    columns.errors,
    latents.units,
    columns.samples,
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
    page = _laid_out(subject, sections)
    files.write_text(out, page)
    names = tuple(section.name for section in sections)
    return Report(out, subject.source, len(subject.x), names, len(page.encode()))


def _sections(subject: Subject, parity: bool) -> Iterator[Section]:
    for part in _PARTS:
        yield from part(subject)
    if parity:
        yield from origin.agreement(subject)
    yield from origin.origin(subject)


def _laid_out(subject: Subject, sections: list[Section]) -> str:
    return _PAGE.substitute(
        title=text(f"{_NAMES[subject.run.method.name]}: {subject.run.path}"),
        css=CSS,
        summary=_summary(subject),
        links="\n".join(f'<li><a href="#{s.name}">{text(s.title)}</a></li>' for s in sections),
        sections="\n".join(
            f'<section id="{s.name}" aria-labelledby="{s.name}-title">\n'
            f'<h2 id="{s.name}-title">{text(s.title)}</h2>\n{s.body}\n</section>'
            for s in sections
        ),
    )


_NAMES = {"autoencoder": "Autoencoder", "vae": "VAE", "simclr": "SimCLR"}


def _summary(subject: Subject) -> str:
    run = subject.run
    result = run.config.get("result", {})
    facts = {
        "trained on": f"{result['rows']:,} rows" if "rows" in result else None,
        "features": f"{run.preprocessing.width:,}",
        "representation": f"{run.method.hyperparameters.latent_dim} numbers",
        "epochs": f"{len(run.history):,}" if run.history else None,
        "loss": f"{run.history[-1]['loss']:.5g}" if run.history else None,
        "parameters": f"{sum(array.size for array in run.weights.values()):,}",
        "rows shown": f"{len(subject.x):,}",
    }
    known = [(name, value) for name, value in facts.items() if value is not None]
    listed = "".join(f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd></div>" for n, v in known)
    said = paragraph(f"Rows shown: {subject.source}")
    if subject.is_drawn:
        said = paragraph(
            f"{run.config['data']['source']}, which the run was trained on, is not to be had: the "
            "rows shown are drawn from the run's statistics, each column by itself. Their "
            "embedding and scores are not those of real rows; give --data.",
            "warning",
        )
    return f"<dl>{listed}</dl>\n{said}"
