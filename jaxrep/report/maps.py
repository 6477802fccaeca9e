"""The report's maps of the embedding: principal components, and UMAP or t-SNE beside them."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure

from jaxrep.report import plots
from jaxrep.report.content import Drawing, Section
from jaxrep.report.figures import draw, fitted
from jaxrep.report.subject import Subject
from jaxrep.report.text import printable

MAX_NEIGHBOUR_ROWS = 1000  # of which neighbours are sought; t-SNE takes seconds for these
_LEAST_ROWS = 20


def maps(subject: Subject) -> Iterator[Section]:
    """Yields the maps, coloured by the run's label where the rows have it, else by the score."""
    colours, legend = _colours(subject)
    z = subject.z
    told = f"coloured by {legend}"
    parts = [
        Drawing(
            _draw(z, colours, legend, "map", None),
            f"{len(z):,} rows, {told}, "
            + (
                "along the first two principal components of their representations."
                if z.shape[1] > 2
                else "by their representations themselves."
            ),
        )
    ]
    some = np.unique(np.linspace(0, len(z) - 1, MAX_NEIGHBOUR_ROWS).astype(int))
    if z.shape[1] > 2 and len(some) >= _LEAST_ROWS and np.ptp(z[some], axis=0).any():
        method, points = _by_neighbours(z[some])
        caption = (
            f"{len(some):,} rows by {method}, {told}. Neighbours are near one another; distances "
            "between far groups, and their sizes, mean nothing."
        )
        parts.append(Drawing(_draw(points, colours[some], legend, "neighbours", method), caption))
    yield Section("embedding", "Embedding", parts)


def _colours(subject: Subject) -> tuple[np.ndarray, str]:
    if subject.labels is None:
        return subject.scores[subject.mapped], "anomaly score"
    return subject.labels[subject.mapped], printable(subject.run.schema.label)


def _draw(
    points: np.ndarray, colours: np.ndarray, legend: str, name: str, method: str | None
) -> str:
    def make() -> Figure:
        made = fitted(plots.draw_embedding(points, colours, legend))
        if method is not None:
            made.axes[0].set(xlabel=f"{method} 1", ylabel=f"{method} 2")
        made.axes[0].set_title("")
        return made

    by = method or "principal components"
    return draw(make, name, f"Map of {len(points)} rows by {by}, coloured by {legend}.")


def _by_neighbours(z: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns the name of a method that keeps neighbours together, and its points `[rows, 2]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on threads and spectra; the map is there to be seen
        if find_spec("umap") is not None:
            import umap  # type: ignore[import-not-found,unused-ignore]

            return "UMAP", np.asarray(umap.UMAP(random_state=0).fit_transform(z))
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(z) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0)
        return "t-SNE", np.asarray(tsne.fit_transform(z.astype(np.float64)))
