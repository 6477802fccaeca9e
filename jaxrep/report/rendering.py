"""A page as HTML: the templates beside this file, in which all that is inserted is escaped.

Text reaches the page through an expression of a template, and there is no other way. Jinja escapes
every one, after `_shown` has taken out what no page may hold. One value alone is called safe in the
templates: the SVG element of a drawing, in which ElementTree has escaped all text.
"""

import math
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from jaxrep.report.content import Page
from jaxrep.report.text import one_line, without_controls


def render(page: Page) -> str:
    """Returns the HTML of a page.

    Args:
        page: what it holds.

    Example:
        >>> html = render(Page("<a> & b", [("rows", "5")], [], []))
        >>> "<h1>&lt;a&gt; &amp; b</h1>" in html, "<dt>rows</dt><dd>5</dd>" in html
        (True, True)
    """
    return _environment().get_template("page.html").render(page=page)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("jaxrep.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shorten"] = _shorten
    return made


def _shorten(value: object, longest: int = 200) -> object:
    """Returns text on one line and no longer than that; other values as they are."""
    return one_line(value, longest) if isinstance(value, str) else value


def _shown(value: object) -> object:
    """Returns what an expression of a template puts on the page, before it is escaped."""
    if hasattr(value, "__html__"):  # made by a template
        return value
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return without_controls(str(value))
