"""Pictures of a record, as PNG files."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bench.measured import Measured, Series


def draw(entry: str, title: str, measured: Measured, path: Path) -> None:
    """Draws an entry's first unit: bars of medians, whiskers from minimum to maximum.

    The grid of `matmul_share` becomes lines over the batch.

    Args:
        entry: name of the entry.
        title: of the picture.
        measured: its samples.
        path: PNG file to write.
    """
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    unit = measured.series[0].unit
    chosen = [series for series in measured.series if series.unit == unit]
    if entry == "matmul_share":
        _lines(axes, chosen)
    else:
        _bars(axes, chosen)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend(fontsize="small")
    # Without the version, the same samples give the same bytes for longer.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _bars(axes: Axes, chosen: list[Series]) -> None:
    cases = list(dict.fromkeys(series.case for series in chosen))
    sides = list(dict.fromkeys(series.side for series in chosen))
    width = 0.8 / len(sides)
    for i, side in enumerate(sides):
        of_side = [series for series in chosen if series.side == side]
        at = [cases.index(series.case) + (i - (len(sides) - 1) / 2) * width for series in of_side]
        medians = np.array([series.median for series in of_side])
        below = medians - [series.minimum for series in of_side]
        above = [max(series.samples) for series in of_side] - medians
        axes.bar(at, medians, width, label=side, yerr=[below, above], capsize=2)
    axes.set_xticks(range(len(cases)), cases)
    medians = np.array([series.median for series in chosen])
    if medians.max() > 30 * medians.min():
        axes.set_yscale("log")


def _lines(axes: Axes, chosen: list[Series]) -> None:
    grid = [series for series in chosen if series.case.startswith("batch ")]
    for side in dict.fromkeys(series.side for series in grid):
        of_side = [series for series in grid if series.side == side]
        batches = [int(series.case.split()[1]) for series in of_side]
        axes.plot(batches, [series.median for series in of_side], "o-", label=side)
    for series in chosen:
        if series not in grid:
            axes.axhline(series.median, ls=":", color="grey")
            axes.annotate(
                f"{series.case}, {series.side}", (batches[0], series.median), fontsize="small"
            )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("batch")
    axes.set_ylim(bottom=0)
