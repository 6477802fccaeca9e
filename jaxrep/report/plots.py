"""Pictures of a run: its loss curves, and a map of its embedding."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxrep import files
from jaxrep.report.text import drawable
from jaxrep.runs.folder import EMBEDDING_PLOT, LOSS_PLOT, PLOTS, Run
from jaxrep.runs.outputs import read_rows
from jaxrep.training import EpochMetrics

MAX_COLOURED_LABELS = 20


def write_plots(run: Run, source: str) -> list[Path]:
    """Draws a run's loss curves and embedding into its folder.

    The embedding is coloured by the run's label column where the table has it and it has few
    values, and by the anomaly score elsewhere.

    Args:
        run: the trained run.
        source: a table with the columns that the run trained on.

    Returns:
        The PNG files written.
    """
    table, x = read_rows(run, source)
    z = run.map("embed", x)
    label = run.schema.label
    labels = None
    if label in table.column_names:
        labels = np.array(table[label].to_pylist(), dtype=str)
    figures = {LOSS_PLOT: draw_history(run.history, run.method.name)}
    if labels is not None and len(np.unique(labels)) <= MAX_COLOURED_LABELS:
        figures[EMBEDDING_PLOT] = draw_embedding(z, labels, label or "")
    else:
        figures[EMBEDDING_PLOT] = draw_embedding(z, run.map("score", x), "anomaly score")
    for name, figure in figures.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        with files.replacing(run.path / name) as temporary:
            figure.savefig(temporary)
    return [run.path / name for name in PLOTS]


def draw_history(history: list[EpochMetrics], title: str) -> Figure:
    """Draws every metric of a training run over its epochs.

    Args:
        history: the metrics of each epoch.
        title: of the picture.
    """
    figure, axes = _figure()
    epochs = [metrics["epoch"] for metrics in history]
    for name in (name for name in history[0] if name != "epoch"):
        values = [metrics[name] for metrics in history]
        axes.plot(
            epochs, values, label=name.replace("_", " "), marker="." if len(epochs) == 1 else ""
        )
    axes.set(xlabel="epoch", ylabel="mean over rows", title=title)
    if min(metrics["loss"] for metrics in history) > 0:
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def draw_embedding(z: np.ndarray, colours: np.ndarray, legend: str) -> Figure:
    """Draws representations in two dimensions: themselves, or their principal components.

    Args:
        z: representations, `[rows, Z]`.
        colours: a number or a label for each row.
        legend: what the colours mean.
    """
    figure, axes = _figure()
    points, names = in_two_dimensions(z)
    # In a drawn order, or the last label would lie on top of all others.
    order = np.random.default_rng(0).permutation(len(points))
    x, y = points[order].T
    size = float(np.clip(20_000 / len(points), 1, 8))
    if colours.dtype.kind in "US":
        labels, codes = np.unique(colours, return_inverse=True)
        palette = colormaps["tab10" if len(labels) <= 10 else "tab20"]
        axes.scatter(x, y, s=size, c=palette(codes[order]), linewidths=0)
        handles = [
            Line2D([], [], color=palette(i), marker="o", linestyle="", label=drawable(label, 24))
            for i, label in enumerate(labels)
        ]
        axes.legend(
            handles=handles,
            title=drawable(legend, 24),
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        )
    else:
        # Above the 99th percentile all are alike, or one outlier would take all the colour.
        limit = float(np.percentile(colours, 99))
        drawn = axes.scatter(x, y, s=size, c=colours[order], vmax=limit, linewidths=0)
        figure.colorbar(drawn, label=legend, extend="max")
    axes.set(xlabel=names[0], ylabel=names[1], title=f"embedding of {len(z)} rows")
    return figure


def in_two_dimensions(z: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns points `[rows, 2]` and the names of their axes: z itself, or its components."""
    from sklearn.decomposition import PCA

    if z.shape[1] == 1:
        return np.column_stack([z, np.zeros(len(z))]), ("z0", "")
    if z.shape[1] == 2:
        return z, ("z0", "z1")
    if not np.ptp(z, axis=0).any():  # one row, or all alike: there are no components
        return np.zeros((len(z), 2)), ("PC 1", "PC 2")
    pca = PCA(2, svd_solver="full")
    points = pca.fit_transform(z)
    first, second = 100 * pca.explained_variance_ratio_
    return points, (f"PC 1 ({first:.0f} % of variance)", f"PC 2 ({second:.0f} %)")


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.5), dpi=150, layout="constrained")
    axes: Any = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
