"""How the tests themselves are laid out."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOMS = sorted(path.name for path in TESTS.iterdir() if list(path.glob("test_*.py")))

pytestmark = pytest.mark.quick


def imported(path):
    """The modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_what_tests_share_is_in_helpers(path):
    shared = [name for name in imported(path) if name.split(".")[0] == "tests"]
    assert all(name.startswith("tests.helpers") for name in shared), shared


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_tests_that_are_quick(room):
    files = (TESTS / room).glob("test_*.py")
    assert any("pytest.mark.quick" in path.read_text("utf-8") for path in files)
