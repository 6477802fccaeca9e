"""Imports go down the floors of the design, never in a circle; methods know of themselves alone."""

import ast
import itertools
from collections.abc import Collection
from pathlib import Path

import pytest

from jaxrep import methods

NAMES = set(methods.names())

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]

FLOORS = {
    "__main__": 7,
    "cli": 7,
    "commands": 7,
    "demo": 7,
    "estimators": 6,
    "doctor": 6,
    "progress": 6,
    "tensorboard": 6,
    "report": 6,
    "export": 5,
    "comparison": 5,
    "evaluation": 5,
    "parity": 5,
    "runs": 4,
    "training": 3,
    "inference": 3,
    "reasons": 3,
    "methods": 2,
    "likelihoods": 1,
    "priors": 1,
    "networks": 1,
    "views": 1,
    "data": 1,
    "batch": 0,
    "row_coding": 0,
    "conformal": 0,
    "outputs": 0,
    "hyperparameters": 0,
    "losses": 0,
    "nt_xent": 0,
    "optim": 0,
    "shuffle": 0,
    "compile_cache": 0,
    "once": 0,
    "text_table": 0,
    "dispatch": 0,
    "strict_json": 0,
    "files": 0,
    "errors": 0,
}
STANDARD_LIBRARY_ONLY = ("hyperparameters", "outputs", "errors")
# What reads tables for a served model, wherever that runs: no torch, no pandas, no Arrow.
NUMPY_ONLY = ("encode", "carriers", "cells", "schema", "times")
PACKAGES = ("jaxrep", "torch_ref")
# The public declaration of an estimator for each method, and a walk through the seed's three.
MAY_KNOW_METHODS = (
    "jaxrep.estimators._estimators",
    "jaxrep.estimators._finetuned",
    "jaxrep.demo",
)


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, *, at_import_time_only: bool = False) -> set[str]:
    """The modules that a file imports, wherever in it, and the names that it imports from them."""
    pairs = imported_pairs(name, path, at_import_time_only=at_import_time_only)
    return set(itertools.chain(*((base, f"{base}.{alias}".rstrip(".")) for base, alias in pairs)))


def imported_modules(name: str, path: Path, known: Collection[str]) -> set[str]:
    """The modules, of those known, that a file imports, wherever in it."""
    pairs = imported_pairs(name, path)
    # Of `from jaxrep import views` it is jaxrep.views, not the package that it is in.
    found = (f"{base}.{alias}" if f"{base}.{alias}" in known else base for base, alias in pairs)
    return {module for module in found if module in known}


def imported_pairs(
    name: str, path: Path, *, at_import_time_only: bool = False
) -> list[tuple[str, str]]:
    """Every import of a file, as a module and a name in it; of a module as a whole no name."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if at_import_time_only:
        for node in ast.walk(tree):
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or guarded:
                skipped |= set(ast.walk(node))
    found = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            found += [(base, alias.name) for alias in node.names]
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


def circle(edges: set[tuple[str, str]]) -> set[str]:
    """The nodes of a graph that lie in a circle, or between two."""
    while True:
        inside = {a for a, _ in edges} & {b for _, b in edges}  # of some edge, and to some edge
        kept = {(a, b) for a, b in edges if a in inside and b in inside}
        if kept == edges:
            return inside
        edges = kept


def test_no_rooms_import_each_other_in_a_circle():
    edges = {
        (room(name), room(imported))
        for name, path in modules("jaxrep").items()
        for imported in imports(name, path)
        if room(name) and room(imported) and room(name) != room(imported)
    }
    assert not circle(edges)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package):
    known = modules(package)
    edges = {
        (name, imported)
        for name, path in known.items()
        for imported in imported_modules(name, path, known)
        if name != package  # which hands out all rooms, lazily
    }
    assert not circle(edges)


def test_a_circle_is_seen():
    assert circle({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")}) == {"b", "c"}
    assert not circle({("a", "b"), ("b", "c"), ("a", "c")})


def concrete_methods(package: str) -> tuple[set[str], set[str]]:
    """The modules of a package's methods, and the names of the classes that they define."""
    found = {
        name: path
        for name, path in modules(package).items()
        if name.startswith(f"{package}.methods.") and not path.name.startswith("_")
    }
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in found.values()]
    classes = {n.name for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)}
    return set(found), classes


def known_methods(tree: ast.Module, package: str) -> list[str]:
    """What in a module's code, docstrings left out, is a method by its name or its class."""
    concrete, classes = concrete_methods(package)
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if text in NAMES and node not in prose:
                found.append((node.lineno, repr(text)))
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in classes:
                found.append((node.lineno, name))
            case ast.ImportFrom(module=str(module)) if module in concrete:
                found.append((node.lineno, module))
            case ast.ImportFrom(module=str(module), names=names):
                imported = {alias.name for alias in names}
                found += [(node.lineno, name) for name in sorted(imported & classes)]
                whole = {f"{module}.{name}" for name in imported} & concrete
                found += [(node.lineno, name) for name in sorted(whole)]
            case ast.Import(names=names):
                whole = {alias.name for alias in names} & concrete
                found += [(node.lineno, name) for name in sorted(whole)]
    return [f"line {line}: {what}" for line, what in sorted(found)]


OUTSIDE = [
    (package, name)
    for package in PACKAGES
    for name in sorted(modules(package))
    if not name.startswith(f"{package}.methods") and name not in MAY_KNOW_METHODS
]


@pytest.mark.parametrize(("package", "name"), OUTSIDE, ids=[name for _, name in OUTSIDE])
def test_no_method_is_known_outside_the_methods(package, name):
    tree = ast.parse(modules(package)[name].read_text(encoding="utf-8"))
    assert known_methods(tree, package) == []


@pytest.mark.parametrize(
    "code",
    [
        "if name == 'vae': pass",
        "TITLES = {'simclr': 'SimCLR'}",
        "match name:\n    case 'autoencoder': pass",
        "def load(name='vae'): pass",
        "methods.get('vae')",
        "from jaxrep.methods import VAE",
        "from jaxrep.methods import vae",
        "from jaxrep.methods.vae import VAENetwork as Network",
        "import jaxrep.methods.simclr_hyperparameters",
        "methods.SimCLRHyperparameters()",
    ],
)
def test_a_method_known_elsewhere_is_seen(code):
    assert known_methods(ast.parse(code), "jaxrep")


def test_a_method_may_be_named_in_prose():
    code = '"""vae"""\ndef f():\n    """simclr"""\n    x: int = 1\n    """vae"""\n'
    assert not known_methods(ast.parse(code), "jaxrep")


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

    room = [each for each in modules("jaxrep") if f"{each}.".startswith(f"jaxrep.{name}.")]
    assert room
    for each in room:
        found = imports(each, modules("jaxrep")[each])
        others = {imported for imported in found if not imported.startswith(f"jaxrep.{name}")}
        assert {imported.split(".")[0] for imported in others} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_what_reads_tables_for_a_served_model_imports_numpy_alone(name):
    import sys

    found = imports(f"torch_ref.{name}", modules("torch_ref")[f"torch_ref.{name}"])
    own = {f"torch_ref.{each}" for each in NUMPY_ONLY}
    others = {each for each in found if ".".join(each.split(".")[:2]) not in own | {"torch_ref"}}
    assert {each.split(".")[0] for each in others} <= {"numpy", *sys.stdlib_module_names}
