"""Imports go down the floors of the design, and never in a circle."""

import ast
import itertools
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]

FLOORS = {
    "cli": 7,
    "commands": 7,
    "demo": 7,
    "estimators": 6,
    "doctor": 6,
    "progress": 6,
    "finetune": 6,
    "report": 6,
    "export": 5,
    "evaluation": 5,
    "parity": 5,
    "runs": 4,
    "training": 3,
    "inference": 3,
    "methods": 2,
    "views": 1,
    "data": 2,
    "models": 1,
    "hyperparameters": 0,
    "losses": 0,
    "nt_xent": 0,
    "augment": 0,
    "optim": 0,
    "shuffle": 0,
    "compile_cache": 0,
    "strict_json": 0,
    "files": 0,
    "errors": 0,
}
STANDARD_LIBRARY_ONLY = ("hyperparameters", "errors")


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, *, at_import_time_only: bool = False) -> set[str]:
    """The modules that a file imports, wherever in it; relative names resolved."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if at_import_time_only:
        for node in ast.walk(tree):
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or guarded:
                skipped |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [
                        *package.split(".")[: len(package.split(".")) - node.level + 1],
                        *filter(None, [base]),
                    ]
                )
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str | None:
    """The room of the design that a module of jaxrep is in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "jaxrep" and len(parts) > 1 else None


def test_every_room_has_a_floor():
    assert {room(name) for name in modules("jaxrep")} - {None} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(modules("jaxrep")))
def test_imports_only_go_down(name):
    here = room(name)
    if here is None:
        return  # the package itself hands out all rooms, lazily
    for imported in imports(name, modules("jaxrep")[name]):
        there = room(imported)
        if there is not None and there != here:
            assert FLOORS[there] <= FLOORS[here], f"{name} imports {imported}, from above"


def test_no_rooms_import_each_other_in_a_circle():
    edges = {
        (room(name), room(imported))
        for name, path in modules("jaxrep").items()
        for imported in imports(name, path)
        if room(name) and room(imported) and room(name) != room(imported)
    }
    rooms = set(itertools.chain(*edges))
    while leaves := {r for r in rooms if not any(a == r and b in rooms for a, b in edges)}:
        rooms -= leaves
    assert not rooms, f"in a circle: {rooms}"


@pytest.mark.parametrize("name", sorted(modules("torch_ref")))
def test_the_torch_twin_imports_neither_jax_nor_jaxrep(name):
    heads = {imported.split(".")[0] for imported in imports(name, modules("torch_ref")[name])}
    assert not heads & {"jax", "flax", "optax", "orbax", "jaxrep"}


@pytest.mark.parametrize("name", sorted(modules("jaxrep")))
def test_jaxrep_imports_no_torch_at_import_time(name):
    found = imports(name, modules("jaxrep")[name], at_import_time_only=True)
    assert not {imported.split(".")[0] for imported in found} & {"torch", "torch_ref"}


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_plain_data_imports_only_the_standard_library(name):
    import sys

    path = ROOT / "jaxrep" / f"{name}.py"
    heads = {imported.split(".")[0] for imported in imports(f"jaxrep.{name}", path)}
    assert heads <= set(sys.stdlib_module_names)
