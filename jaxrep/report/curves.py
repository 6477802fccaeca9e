"""The report's parts on the training: what it reached, its curves, how fast it was."""

from collections.abc import Iterator

from jaxrep.report import plots
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import draw, fitted
from jaxrep.report.subject import Subject
from jaxrep.runs.selection import LOSSES


def training(subject: Subject) -> Iterator[Section]:
    """Yields the loss curves and the metrics' values; nothing for an imported run."""
    history = subject.run.history
    if not history:
        return
    names = [name for name in history[0] if name != "epoch"]
    first, last = history[0], history[-1]
    result = subject.run.config.get("result", {})
    epoch = result.get("epoch", len(history))
    if isinstance(epoch, list):  # of several members, each its own
        told, served = "means of what it serves", {name: result[name] for name in LOSSES}
    else:
        told, served = f"epoch {epoch}, whose weights it serves", history[epoch - 1]
    rows = [
        [
            name.replace("_", " "),
            first[name],
            min(m[name] for m in history if name in m),
            served.get(name),
            last.get(name),
        ]
        for name in names
    ]
    curves = draw(
        lambda: fitted(plots.draw_history(history, subject.title)),
        "curves",
        f"Curves of {', '.join(names)} over {len(history)} epochs; the loss goes from "
        f"{first['loss']:.4g} to {last['loss']:.4g}.",
    )
    parts: list[Part] = [
        Drawing(curves, "Every metric, epoch by epoch. All are means over rows."),
        Table(
            "The metrics' values",
            ["metric", "first epoch", "lowest", told, "last"],
            rows,
        ),
    ]
    yield Section("training", "Training", parts)


def speed(subject: Subject) -> Iterator[Section]:
    """Yields throughput and compile time, where the run has recorded them."""
    result = subject.run.config.get("result", {})
    wanted = ("rows_per_second", "seconds", "compile_seconds")
    if not all(isinstance(result.get(key), int | float) for key in wanted):
        return
    rows = [
        ["throughput", f"{result['rows_per_second']:,.0f} rows/s"],
        ["training", f"{result['seconds']:.3g} s"],
        ["compiling, or loading compiled programs", f"{result['compile_seconds']:.3g} s"],
    ]
    told = (
        "Rows × epochs over the time from the first step's dispatch to the last weights being "
        "ready; compiling and the final save are not in it."
    )
    if step := result.get("resumed_from_step"):
        told += f" The run was interrupted and went on after step {step}."
    parts: list[Part] = [Table("Time taken", ["what", "value"], rows), Paragraph(told)]
    yield Section("speed", "Speed", parts)
