"""`jaxrep report`: one file that holds up in a browser, whatever the table's cells hold."""

import csv
import html
import re
import shlex
import shutil
import subprocess
import unicodedata
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrep.batch import empty
from jaxrep.data.store import row_file
from jaxrep.losses import gaussian_kl
from jaxrep.report import maps
from jaxrep.report.origin import command_of
from jaxrep.report.subject import posterior
from jaxrep.runs.default_table import rows_of, table_of
from jaxrep.runs.folder import load
from tests.helpers.commands import call, done
from tests.helpers.parsed import Parsed

METHODS = ("autoencoder", "vae", "simclr")
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=http://evil.example/x.png onerror=alert(2)>'
CONTROLS = "c\x01\x1b[2J\x7f\x85\u2028{{ 7*7 }}"
HEADER = ("id", f"a {SCRIPT}", "_b $x$", CONTROLS, "job & 'trade'", "y</svg>")
ROLES = ("--column", f"{HEADER[4]}=category", "--label", HEADER[5], "--id-column", "id")
SMALL = ("--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "20", *ROLES)
FAST = ("--learning-rate", "0.02")
# The shapes are those of test_command_line.py, so that nothing is compiled twice.
OF_METHOD = {
    "autoencoder": (*("--validation-fraction", "0.25", "--batch-size", "16"), *FAST),
    "vae": FAST,
    "simclr": FAST,
}
DECODED = {"columns", "interpolations"}
COMMON = {"training", "embedding", "anomalies", "speed", "parity", "origin"}
SECTIONS = {
    "autoencoder": COMMON | DECODED,
    "vae": COMMON | DECODED | {"units", "samples"},
    "simclr": COMMON,
}
CHROMIUM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)


def make_rows(count=60):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, 3)).round(4).tolist()
    jobs = rng.choice([IMAGE, "smith"], count).tolist()
    labels = [f"{SCRIPT}$\\foo$", "_no"]
    return [[f"{SCRIPT}{i}", *numbers[i], jobs[i], labels[i % 2]] for i in range(count)]


def write_csv(path, rows, header=HEADER):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, a run of each method and its report, all with names that are hostile to HTML."""
    path = tmp_path_factory.mktemp("report") / "<script>alert(3)<"
    path.mkdir()
    source = write_csv(path / "people.csv", make_rows())
    for method in METHODS:
        done("train", method, source, "--out", path / method, *SMALL, *OF_METHOD[method])
        # Comparing with PyTorch compiles for seconds; the VAE shows it.
        skipped = () if method == "vae" else ("--no-parity",)
        result = done("report", path / method, *skipped)
        assert result["sections"] and result["rows"] == 60
    return path


def page_of(folder, method):
    return Parsed((folder / method / "report.html").read_text("utf-8"))


@pytest.mark.parametrize("method", METHODS)
def test_a_report_is_well_formed_and_leads_nowhere_outside(folder, method):
    page = page_of(folder, method)
    assert len(page.ids) == len(set(page.ids)) > 50
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "form", "base", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src", "xlink:href"}:
                assert value.startswith("data:") or value[1:] in page.ids, value
            elif name not in {"aria-label", "content"}:  # text, which is shown and not followed
                assert "//" not in (value or "") and "@import" not in (value or "")
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target.startswith("#") and target[1:] in page.ids
    assert len(page.of("style")) == 1  # one inside a drawing would reach the whole page
    assert "default-src 'none'" in page.of("meta")[3]["content"]


@pytest.mark.parametrize("method", METHODS)
def test_a_report_can_be_read_without_seeing_it(folder, method):
    page = page_of(folder, method)
    assert {a["role"] for a in page.of("svg")} == {"img"}
    assert all(len(a["aria-label"]) > 20 for a in page.of("svg"))
    assert {a["scope"] for a in page.of("th")} == {"col", "row"}
    assert len(page.of("caption")) == len(page.of("table")) >= 3
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1 and len(page.of("h2")) == len(page.of("section"))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_the_sections_that_make_sense_for_it(folder, method):
    page = page_of(folder, method)
    wanted = SECTIONS[method] - (set() if method == "vae" else {"parity"})
    assert {a["id"] for a in page.of("section")} == wanted
    assert [a["href"][1:] for a in page.of("a")] == [a["id"] for a in page.of("section")]


def test_what_the_data_hold_is_text_and_nothing_else(folder):
    page = page_of(folder, "vae")
    text = "\n".join(page.texts)
    shown = [
        HEADER[1],
        "_b $x$",
        "c\ufffd\ufffd[2J\ufffd {{ 7*7 }}",
        HEADER[4],
        HEADER[5],
        '"><img',
        f"{SCRIPT}$\\foo$",
        "_no",
    ]
    for value in (*shown, str(folder)):
        assert value in text, value
    assert re.search(re.escape(SCRIPT) + r"\d", text)  # an id
    assert "mathdefault" not in text
    html = (folder / "vae" / "report.html").read_text("utf-8")
    assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in html)


def test_a_report_is_small_and_the_same_each_time(folder, tmp_path):
    first = (folder / "simclr" / "report.html").read_bytes()
    done("report", folder / "simclr", "--no-parity", "--out", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == first
    assert len(first) < 3 << 20


def cells(folder, method, caption):
    """The cells of a table's body, as text."""
    text = (folder / method / "report.html").read_text("utf-8")
    body = re.search(rf"<caption>{caption}.*?<tbody>(.*?)</tbody>", text, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_worst_rows_are_those_that_score_finds(folder, tmp_path):
    done("score", folder / "vae", folder / "people.csv", "--out", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        scored = list(csv.DictReader(file))
    found = cells(folder, "vae", "The rows with the highest scores")
    order = sorted(range(60), key=lambda i: -float(scored[i]["score"]))[: len(found)]
    assert [int(row[0]) for row in found] == order
    assert [row[1] for row in found] == [scored[i]["id"] for i in order]
    assert [row[3] for row in found] == [f"{float(scored[i]['score']):.4g}" for i in order]
    text = "\n".join(page_of(folder, "vae").texts)
    above = sum(row["anomaly"] in ("true", "True", "1") for row in scored)
    assert f"{above} lie above the threshold" in text


def test_latent_units_have_the_kl_divergence_and_the_activity_of_their_definitions(folder):
    run = load(folder / "vae")
    x = rows_of(run)
    mu, log_var = posterior(run, x)
    np.testing.assert_allclose(mu, run.map("embed", x), atol=1e-5)
    sigma = np.exp(log_var / 2)
    kl = np.mean(-np.log(sigma) + (sigma**2 + mu**2) / 2 - 0.5, axis=0)
    np.testing.assert_allclose(kl.sum(), gaussian_kl(mu, log_var), rtol=1e-5)
    found = cells(folder, "vae", "Latent units")
    for name, shown, activity, active in found:
        unit = int(name[1:])
        assert float(shown) == pytest.approx(kl[unit], rel=1e-3)
        assert float(activity) == pytest.approx(mu[:, unit].var(), rel=1e-3)
        assert active == ("yes" if mu[:, unit].var() > 0.01 else "no")
    assert [float(row[1]) for row in found] == sorted(float(row[1]) for row in found)[::-1]


def test_the_command_repeats_the_run_bit_for_bit(folder, tmp_path):
    for method in METHODS:
        text = (folder / method / "report.html").read_text("utf-8")
        command = html.unescape(re.search(r"<code>(.*?)</code>", text, re.DOTALL)[1])
        program, *argv = shlex.split(command)
        assert program == "jaxrep"
        argv[argv.index("--out") + 1] = str(tmp_path / method)
        done(*argv)
        again, before = (path / method / "model.safetensors" for path in (tmp_path, folder))
        assert again.read_bytes() == before.read_bytes()


@pytest.mark.quick
def test_a_command_is_quoted_for_a_shell_whatever_its_words_hold():
    kinds = {"a b": "category", "it's": "id"}
    columns = {"kinds": kinds, "label": "-x", "id_column": "c\x01\udcff\\'"}
    config = {
        "method": "autoencoder",
        "data": {"source": "$HOME; rm *", "columns": columns},
        "hyperparameters": {"hidden_dims": [], "views": ["scarf"]},
    }
    command = command_of(config, "run")
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    )
    words = printed.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    assert words == [
        *("jaxrep", "train", "autoencoder", "$HOME; rm *", "--out", "run"),
        *("--column", "a b=category", "--column", "it's=id"),
        *("--label=-x", "--id-column", "c\x01\udcff\\'"),
        *("--hidden-dims", "--views", "scarf"),
    ]


def test_rows_that_are_gone_are_drawn_and_the_page_says_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    run = tmp_path / "copy" / "vae"
    (folder / "people.csv").rename(folder / "moved.csv")
    try:
        result = done("report", run, "--no-parity")
    finally:
        (folder / "moved.csv").rename(folder / "people.csv")
    assert result["source"] == "drawn rows"
    text = "\n".join(Parsed((run / "report.html").read_text("utf-8")).texts)
    assert "not those of real rows; give --data" in text
    assert "The rows with the highest scores" not in text


@pytest.mark.parametrize("method", METHODS)
def test_a_single_row_makes_a_report(folder, method, tmp_path):
    source = write_csv(tmp_path / "one.csv", make_rows()[:1])
    out = tmp_path / "one.html"
    result = done("report", folder / method, "--data", source, "--out", out, "--no-parity")
    assert result["rows"] == 1
    Parsed(out.read_text("utf-8"))


def test_many_rows_are_mapped_as_an_image_and_by_their_neighbours(folder):
    z = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    made = SimpleNamespace(
        run=load(folder / "vae"), z=z, labels=None, scores=z[:, 0], mapped=np.arange(400)
    )
    (section,) = maps.maps(made)
    page = Parsed("".join(part.svg for part in section.parts))
    # Each map's points are an image, as is the colour bar beside it.
    assert len([a for a in page.of("image") if a["href"].startswith("data:image/png")]) == 4
    assert len(page.of("use")) < 100
    text = "\n".join(page.texts)
    assert "PC 1 (" in text and ("t-SNE 1" in text or "UMAP 1" in text)


def test_rows_that_are_all_alike_are_mapped_to_one_point(folder):
    z = np.ones((400, 4), np.float32)
    made = SimpleNamespace(
        run=load(folder / "vae"), z=z, labels=None, scores=z[:, 0], mapped=np.arange(400)
    )
    (section,) = maps.maps(made)
    assert [part.kind for part in section.parts] == ["drawing"]


def test_the_rows_of_a_prepared_folder_are_those_that_it_holds(folder, tmp_path):
    done("prepare", folder / "people.csv", "--out", tmp_path / "rows", *ROLES)
    argv = ("train", "vae", tmp_path / "rows", "--out", tmp_path / "run", *SMALL[:6], *FAST)
    done(*argv)
    stored = row_file.open_prepared(tmp_path / "rows")
    held, found = empty(stored.spec, 60), rows_of(load(tmp_path / "run"))
    stored.read_into(0, held)
    np.testing.assert_allclose(found.numbers, held.numbers, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.codes, held.codes)
    result = done("report", tmp_path / "run", "--no-parity")
    assert result["source"] == str(tmp_path / "rows") and result["rows"] == 60


def test_the_rows_of_a_folder_of_parquet_files_are_its_own(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "rows").mkdir()
    for i in range(2):
        part = pa.table({name: rng.normal(size=30) for name in "abcdef"})
        pq.write_table(part, tmp_path / "rows" / f"{i}.parquet")
    done("train", "vae", tmp_path / "rows", "--out", tmp_path / "run", *SMALL[:6], *FAST)
    remarks = []
    table, raw, source = table_of(load(tmp_path / "run"), note=remarks.append)
    np.testing.assert_array_equal(raw[:, 0], table["a"].to_numpy())
    assert (table.num_rows, source, remarks) == (60, str(tmp_path / "rows"), [])
    pq.write_table(part.slice(1), tmp_path / "rows" / "1.parquet")
    *_, source = table_of(load(tmp_path / "run"), note=remarks.append)
    assert source == "drawn rows" and "has changed since" in remarks[0]


# wrong input


def refused(*argv, facts):
    code, out, err = call("report", *argv)
    assert (code, out) == (2, ""), err
    assert err.startswith("jaxrep: ") and err.count("\n") == 1, err
    for fact in facts:
        assert str(fact) in err, err


def test_a_run_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "none", facts=["not a run folder"])


def test_a_run_without_a_checkpoint_is_refused(folder, tmp_path):
    shutil.copytree(folder / "vae", tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    refused(tmp_path / "run", facts=["has not finished", "no checkpoint yet"])


def test_data_with_other_columns_are_refused(folder):
    before = (folder / "vae" / "report.html").read_bytes()
    refused(folder / "vae", "--data", "iris", facts=["iris", "columns", "_b $x$"])
    assert (folder / "vae" / "report.html").read_bytes() == before


def test_an_out_that_cannot_be_written_is_refused_before_work(folder, tmp_path):
    refused(folder / "vae", "--out", tmp_path / "no" / "r.html", facts=["there is no folder"])
    refused(folder / "vae", "--out", tmp_path, facts=["a folder; give the name of a file"])


def test_an_out_that_is_the_table_is_refused(folder):
    source = folder / "people.csv"
    refused(folder / "vae", "--data", source, "--out", source, facts=["is the table to read"])


def test_an_out_that_is_a_file_of_the_run_is_refused(folder):
    config = folder / "vae" / "config.json"
    before = config.read_bytes()
    refused(folder / "vae", "--out", config, facts=["is a file of the run"])
    assert config.read_bytes() == before


def test_rows_too_far_to_square_are_refused_and_those_less_far_are_shown(folder, tmp_path):
    rows = make_rows(20)
    rows[3][1] = 1e6  # whose log-variance has an infinite exponential
    source, out = write_csv(tmp_path / "far.csv", rows), tmp_path / "r.html"
    done("report", folder / "vae", "--data", source, "--out", out, "--no-parity")
    rows[3][1] = 1e30
    write_csv(source, rows)
    refused(folder / "vae", "--data", source, facts=["far.csv: 1 of 20 rows lie too far"])


def test_a_contamination_out_of_range_is_refused(folder):
    refused(folder / "vae", "--contamination", "1.5", facts=["--contamination is 1.5"])


# in a browser

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--enable-logging=stderr", "--v=0", "--allow-file-access-from-files"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
)


def browse(path, profile):
    """Opens a file in Chromium; returns the page after loading and what its console said."""
    opened = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return opened.stdout, [line for line in opened.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("method", METHODS)
def test_chromium_has_nothing_to_complain_of(folder, method, tmp_path):
    dom, console = browse(folder / method / "report.html", tmp_path / "profile")
    assert console == []
    assert dom.count("<section") == len(page_of(folder, method).of("section"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_chromium_would_fetch_and_run_nothing_that_came_through_unescaped(folder, tmp_path):
    text = (folder / "vae" / "report.html").read_text("utf-8")
    hostile = '<img src="http://evil.example/x.png"><script>document.title = "ran"</script>'
    (tmp_path / "report.html").write_text(text.replace("</h1>", f"</h1>{hostile}"), "utf-8")
    dom, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert "<title>ran" not in dom
    assert any("evil.example" in line for line in console)  # which the test above would notice


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_screen_without_scrolling_sideways(folder, tmp_path, width):
    shutil.copy(folder / "vae" / "report.html", tmp_path / "report.html")
    (tmp_path / "frame.html").write_text(
        f'<iframe src="report.html" width="{width}" height="800" style="border: 0"'
        ' onload="document.title = `wide: ${contentDocument.documentElement.scrollWidth}`">'
        "</iframe>"
    )
    dom, _ = browse(tmp_path / "frame.html", tmp_path / "profile")
    assert 0 < int(re.search(r"<title>wide: (\d+)", dom)[1]) <= width
