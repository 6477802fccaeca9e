"""The templates: every value that a page takes is text on it, whatever it holds."""

import re
import subprocess
import sys
from importlib.resources import files
from types import SimpleNamespace

import jinja2
import pytest

from jaxrep.report.content import Command, Drawing, Page, Paragraph, Section, Table
from jaxrep.report.rendering import render
from tests.helpers.parsed import Parsed

HOSTILE = "</td></title></style></svg>'\"><script>alert(1)</script>&amp;{{ 7*7 }}{% x %}"
CONTROLS = "a\x00\x1b[2J\x7f\x9b\udcff\ue000b"
SHOWN = "a\ufffd\ufffd[2J\ufffd\ufffd\ufffd\ufffdb"
SVG = '<svg role="img" aria-label="a drawing"><path d="M 0 0"></path></svg>'


def page_with(text):
    """A page with the text in each place that can hold any."""
    parts = [
        Drawing(SVG, f"caption {text}"),
        Table(f"table {text}", ["head", f"head {text}"], [[f"name {text}", f"cell {text}"]]),
        Paragraph(f"paragraph {text}"),
        Paragraph(f"warning {text}", is_warning=True),
        Command(f"command {text}"),
    ]
    section = Section("one", f"section {text}", parts)
    return Page(f"title {text}", [("fact", text)], [Paragraph(f"remark {text}")], [section])


def shape(html):
    """The elements of a page and their attributes, without the only one that holds text."""
    return [
        (tag, {name: value for name, value in attributes.items() if name != "aria-label"})
        for tag, attributes in Parsed(html).elements
    ]


def test_hostile_text_adds_no_element_and_no_attribute_anywhere():
    html = render(page_with(HOSTILE))
    assert shape(html) == shape(render(page_with("harmless")))
    # Twelve places, of which the page's title and the section's are shown twice.
    assert sum(HOSTILE in text for text in Parsed(html).texts) == 14
    (label,) = (a["aria-label"] for a in Parsed(html).of("div") if "aria-label" in a)
    assert label == f"table {HOSTILE}"


def test_what_no_page_can_hold_is_replaced_everywhere():
    html = render(page_with(CONTROLS))
    html.encode()  # which half a surrogate pair would refuse
    assert html.count(SHOWN) == 15  # the same, and the table's label


def test_a_command_keeps_its_spaces_and_its_length():
    command = "jaxrep train vae 'two  spaces.csv' --column " + "x" * 3000
    page = Page("t", [], [], [Section("one", "One", [Command(command)])])
    assert command.replace("'", "&#39;") in render(page)


def test_long_text_is_cut_and_numbers_are_short():
    rows = [["x" * 1000, 0.123456789, float("inf"), None, 7, True, "y"]]
    page = Page("t", [], [], [Section("one", "One", [Table("c", ["h"] * 7, rows)])])
    html = render(page)
    assert f'<th scope="row">{"x" * 199}…</th>' in html
    cells = ["0.1235", "inf", "–", "7", "True", "y"]
    classes = [' class="number"'] * 2 + ["", ' class="number"', "", ""]
    row = "".join(f"<td{c}>{cell}</td>" for c, cell in zip(classes, cells, strict=True))
    assert row in html


def test_a_field_that_is_not_there_is_an_error():
    broken = Section("one", "One", [SimpleNamespace(kind="paragraph", is_warning=False)])
    with pytest.raises(jinja2.UndefinedError, match="text"):
        render(Page("t", [], [], [broken]))


def test_the_templates_call_a_drawing_safe_and_nothing_else():
    templates = files("jaxrep.report") / "templates"
    text = "".join(file.read_text("utf-8") for file in templates.iterdir())
    assert re.findall(r"\{\{.*\bsafe\b.*\}\}", text) == ["{{ part.svg | safe }}"]
    assert "autoescape" not in text


@pytest.mark.end_to_end
def test_only_a_report_loads_jinja():
    script = (
        "import sys\n"
        "import jaxrep.cli, jaxrep.commands, jaxrep.report.plots, jaxrep.report.members\n"
        "print('jinja2' in sys.modules)\n"
        "import jaxrep.report.page\n"
        "print('jinja2' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.stdout.split() == ["False", "True"], process.stderr
