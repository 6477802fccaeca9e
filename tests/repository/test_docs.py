"""The pages in docs/: their code runs, prints what they say it prints, and draws their pictures."""

import re

import pytest

from tests.helpers.pages import DOCS, PAGES, ROOT, pictures, run

# docs/extending.md adds a method to its process, and is run in one of its own: test_extending.py.
RUN = [p for p in PAGES if "```python" in p.read_text("utf-8") and p.name != "extending.md"]


def by_name(page):
    return page.relative_to(DOCS).as_posix()


# These train for their pictures and figures; one page of docs/howto stands for the others at every
# run of the tests.
SLOW = {page for page in RUN if page.parent.name == "howto"} - {DOCS / "howto/find_anomalies.md"}
SLOW |= {DOCS / "estimators.md", DOCS / "evaluate.md", DOCS / "finetune.md"}
CASES = [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in RUN]


# Some columns of scikit-learn's digits are of one value, of which `fit` warns.
@pytest.mark.filterwarnings("ignore::jaxrep.errors.DataWarning")
@pytest.mark.parametrize("page", CASES, ids=by_name)
def test_the_code_of_a_page_prints_and_draws_what_it_shows(page, tmp_path):
    for said, printed in run(page, tmp_path):
        assert printed == said
    if page.parent.name == "howto":
        assert pictures(page)
        for name in pictures(page):
            assert (tmp_path / name).stat().st_size > 10_000, f"{name} is not drawn"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_test_that_a_page_names_is_there(page):
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", page.read_text("utf-8")):
        assert f"def {name}(" in tests, name
