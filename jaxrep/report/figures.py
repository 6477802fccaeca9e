"""Drawings inside HTML: SVG that takes the page's text colour and asks nothing of the network."""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrep.report.text import printable

WIDTH, HEIGHT = 5.2, 3.6  # inches; narrow, so that text stays readable on a phone
_INK = "#010203"  # stands for the page's text colour, which a drawing cannot know
_MANY_POINTS = 300  # from which on a cloud is an image inside the drawing
_DOTS = 140  # per inch of such an image
_STYLE: Any = {
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxrep",
}


def draw(make: Callable[[], Figure], name: str, description: str) -> str:
    """Draws a figure as an SVG element.

    Args:
        make: draws it with matplotlib.
        name: begins all ids in it, so that several drawings can stand on one page.
        description: what it shows, for those who do not see it.

    Example:
        >>> svg = draw(lambda: blank()[0], "empty", "An empty figure.")
        >>> svg[:57], "http" in svg
        ('<svg viewBox="0 0 374.4 259.2" version="1.1" role="img" a', False)
    """
    file = io.BytesIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser may well have it
        made = make()
        _rasterise_clouds(made)
        made.savefig(file, format="svg", dpi=_DOTS, metadata=no_metadata)
    return _inline(ET.fromstring(file.getvalue()), name, printable(description, 1000))


def blank(
    height: float = HEIGHT,
    rows: int = 1,
    columns: int = 1,
    *,
    height_ratios: Sequence[float] | None = None,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of the page's width with empty axes, row by row.

    Args:
        height: of the figure, in inches.
        rows: of axes.
        columns: of axes.
        height_ratios: of the rows; None: all alike.
        width_ratios: of the columns; None: all alike.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes: Any = figure.subplots(
        rows, columns, squeeze=False, height_ratios=height_ratios, width_ratios=width_ratios
    )
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes.flat)


def fitted(figure: Figure) -> Figure:
    """Gives a figure that was drawn for a file the page's size."""
    figure.set_size_inches(WIDTH, HEIGHT)
    return figure


def _rasterise_clouds(figure: Figure) -> None:
    for axes in figure.axes:
        for cloud in axes.collections:
            if len(cloud.get_offsets()) > _MANY_POINTS:  # type: ignore[arg-type]
                cloud.set_rasterized(True)


def _inline(root: ET.Element, name: str, description: str) -> str:
    """Takes out what only a file needs: namespaces, sizes in points, styles for all elements."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}style", "}metadata")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        old = dict(element.attrib)
        element.attrib.clear()
        for key, value in old.items():
            key = key.rpartition("}")[2]
            if key == "id":
                value = f"{name}-{value}"
            elif key == "href" and value.startswith("#"):
                value = f"#{name}-{value[1:]}"
            value = re.sub(r"url\(#", f"url(#{name}-", value).replace(_INK, "currentColor")
            element.set(key, value)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": description}
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)
