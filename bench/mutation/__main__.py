"""Mutates the modules that compute numbers: `python -m bench.mutation [--survivors] [MODULE ...]`.

cosmic-ray (the extra `mutation`) changes one operator, number or keyword at a time, and the tests
named here run on each change. A mutant that they do not notice survives. Either it changes no
number, and `arguments.json` says why, or a test is missing.

The working tree is not mutated: each of the workers has a copy of its own. The result is merged
into the JSON file by module; with --survivors only the mutants that survived before run again.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).parents[2]
ARGUMENTS = Path(__file__).parent / "arguments.json"
RESULT = ROOT / "bench" / "results" / "mutation.json"
TIMEOUT = 240  # seconds; all tests of a module take less than 60

# Tests of the other twin alone would only take time.
_ONLY_JAX = "-k 'not torch- and not [torch]'"
_ONLY_TORCH = "-k 'not jax- and not [jax]'"
_LOSSES = (
    "tests/functions/test_losses.py tests/functions/test_properties.py "
    "tests/functions/test_padding.py::test_padding_changes_neither_loss_nor_gradient"
)
_OPTIM = (
    "tests/functions/test_properties.py::test_the_steps_of_an_optimiser_equal_its_formulas "
    "tests/functions/test_properties.py::test_scale_by_adam_reads_its_decay_rates_and_its_epsilon"
)
_SIGNATURES = "tests/repository/test_twin_rule.py::test_functions_have_equal_signatures"
_METHODS = (
    "tests/functions/test_mutants.py tests/methods/test_methods.py "
    "tests/repository/test_twin_rule.py::test_noise_has_the_same_names_shapes_and_dtypes "
    "tests/functions/test_padding.py::test_padding_changes_no_gradient_of_a_"
)
_NETWORKS = "tests/networks/test_networks.py tests/functions/test_mutants.py"
_VIEWS = "tests/views/test_views.py tests/functions/test_mutants.py"
_CORRUPTIONS = " ".join(
    f"tests/functions/test_properties.py::{name}"
    for name in (
        "test_noise_is_added_to_numbers_with_its_standard_deviation_and_codes_stay",
        "test_dropped_cells_are_zero_whatever_they_held_unless_missing_and_the_others_stay",
        "test_replaced_cells_are_those_given_and_the_others_keep_their_bits",
    )
)


def _tests() -> dict[str, str]:
    """Returns pytest's arguments by module, the slowest first, so that the workers end together."""
    methods = ("simclr", "vae", "autoencoder", "_method")
    views = ("__init__", "_replacement", "_noise_dropout", "_view")
    made = {}
    for name in methods:
        module = f"jaxrep/methods/{name}.py"
        others = "tests/methods/test_hyperparameters.py" if name == "_method" else ""
        made[module] = f"{module} {_METHODS}jax_model {others} {_ONLY_JAX}"
    for name in methods:
        module = f"torch_ref/methods/{name}.py"
        made[module] = f"{module} {_METHODS}torch_model {_ONLY_TORCH}"
    for package, only in (("jaxrep", _ONLY_JAX), ("torch_ref", _ONLY_TORCH)):
        for name in views:
            module = f"{package}/views/{name}.py"
            made[module] = f"{module} {_VIEWS} {_CORRUPTIONS} {only}"
        made[f"{package}/losses.py"] = f"{package}/losses.py {_LOSSES} {_SIGNATURES} {only}"
        for name in ("_mahalanobis", "_mlp", "_projection"):
            module = f"{package}/networks/{name}.py"
            made[module] = f"{module} {_NETWORKS} {only}"
    for package in ("jaxrep", "torch_ref"):
        module = f"{package}/optim.py"
        made[module] = f"{module} tests/functions/test_optim.py {_OPTIM} {_SIGNATURES}"
    return made


TESTS = _tests()


def main() -> int:
    """Mutates, writes the result, and names the survivors that nobody argued for."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--survivors", action="store_true", help="run again what survived")
    parser.add_argument("--arguments", action="store_true", help="run nothing, argue anew")
    parser.add_argument("--workers", type=int, default=2, help="copies at once (default: 2)")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if unknown := set(options.modules) - set(TESTS):
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}")
    result = _read(options.out)
    if not options.arguments:
        names = [name for name in TESTS if name in options.modules or not options.modules]
        before = result["modules"] if options.survivors else None
        if before is not None:
            names = [name for name in names if name in before and before[name]["survivors"]]
        result["versions"] = _versions()
        for name, module in _run(names, before, options.workers):
            result["modules"][name] = module
            _argue(result)
            _write(options.out, result)
            print(f"{name}: {_counts(module)}", flush=True)
    unargued = _argue(result)
    _write(options.out, result)
    _print(result, unargued)
    print(f"every survivor is in {options.out}")
    return 1 if unargued else 0


def _run(
    names: list[str], before: dict[str, Any] | None, workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Mutates the modules on as many copies of the working tree as there are workers."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def mutate(name: str) -> tuple[str, dict[str, Any]]:
        folder = free.get()
        try:
            return name, _mutate(name, folder, before and before[name])
        finally:
            free.put(folder)

    with tempfile.TemporaryDirectory() as parent, ThreadPoolExecutor(workers) as pool:
        for worker in range(workers):
            folder = Path(parent, str(worker))
            _copy_working_tree(folder / "copy")
            free.put(folder)
        for done in as_completed([pool.submit(mutate, name) for name in names]):
            yield done.result()


def _copy_working_tree(target: Path) -> None:
    """Copies the files that git does not ignore, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # and not deleted since the last commit
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def _mutate(name: str, folder: Path, former: dict[str, Any] | None) -> dict[str, Any]:
    """Runs the mutants of one module, or those that survived formerly, in a copy."""
    start = time.monotonic()
    copy, session = folder / "copy", folder / name.replace("/", ".")
    source = (copy / name).read_text(encoding="utf-8")
    digest = hashlib.sha256(source.encode()).hexdigest()
    if former is not None and former["sha256"] != digest:
        raise SystemExit(f"{name} has changed; run all its mutants")
    # Rewritten assertions would say more, to nobody, and take a second.
    Path(f"{session}.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{name}"\ntimeout = {TIMEOUT}.0\nexcluded-modules = []\n'
        f'test-command = "-x -q --assert=plain -p no:cacheprovider {TESTS[name]}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    with use_db(f"{session}.sqlite") as database:
        init([copy / name], database, {})
        again = former and {(s["operator"], s["occurrence"]) for s in former["survivors"]}
        for item in database.work_items:
            reason = _reason_to_skip(item, source, again)
            if reason:
                skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED, output=reason)
                database.set_result(item.job_id, skipped)
        subprocess.run(
            [sys.executable, "-m", "bench.mutation.worker", str(session)],
            cwd=copy,
            env=_environment(folder),
            check=True,
        )
        found = _summary(database.completed_work_items, former, copy)
    seconds = time.monotonic() - start + (former["seconds"] if former else 0)
    return {"sha256": digest, "tests": TESTS[name], **found, "seconds": round(seconds)}


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        # Programs that a mutant does not change are compiled once.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # A fork takes no threads along.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _reason_to_skip(item: WorkItem, source: str, again: set[tuple[str, int]] | None) -> str:
    (mutation,) = item.mutations
    if again is not None and (mutation.operator_name, mutation.occurrence) not in again:
        return "did not survive before"
    inside = any(
        start <= mutation.start_pos and mutation.end_pos <= end
        for start, end in _annotations(source)
    )
    if inside:
        return "annotation"
    mutant = mutate_code(source, get_operator(mutation.operator_name)(), mutation.occurrence)
    return "" if _compiles(mutant) else "does not compile"


def _compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in the tests
        try:
            compile(source, "mutant", "exec")
        except (SyntaxError, SyntaxWarning):
            return False
    return True


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where the annotations of a module are: they compute nothing, and mypy checks them."""
    lines = source.splitlines()

    def position(line: int, column_in_bytes: int) -> tuple[int, int]:
        return line, len(lines[line - 1].encode()[:column_in_bytes].decode())

    found = []
    for node in ast.walk(ast.parse(source)):
        for field in ("annotation", "returns"):
            part = getattr(node, field, None)
            if isinstance(part, ast.expr):
                start = position(part.lineno, part.col_offset)
                assert part.end_lineno is not None and part.end_col_offset is not None
                found.append((start, position(part.end_lineno, part.end_col_offset)))
    return found


def _summary(
    completed: tuple[tuple[WorkItem, WorkResult], ...], former: dict[str, Any] | None, copy: Path
) -> dict[str, Any]:
    counts = dict.fromkeys(("killed", "incompetent", "timeouts", "survived", "annotations"), 0)
    survivors = []
    for item, result in completed:
        outcome = _outcome(result)
        if outcome in counts:
            counts[outcome] += 1
        if outcome == "survived":
            survivors.append(_survivor(item, result, copy))
    if former is not None:
        counts = {name: former[name] + counts[name] for name in counts}
        counts["survived"] = len(survivors)
        counts["annotations"] = former["annotations"]
    survivors.sort(key=lambda s: (s["line"], s["operator"], s["occurrence"]))
    return {"mutants": sum(counts.values()), **counts, "survivors": survivors}


def _outcome(result: WorkResult) -> str:
    if result.worker_outcome == WorkerOutcome.SKIPPED:
        return {"annotation": "annotations", "does not compile": "incompetent"}.get(
            result.output or "", "skipped"
        )
    if result.test_outcome == TestOutcome.SURVIVED:
        return "survived"
    if result.output == "timeout":
        return "timeouts"
    # The mutated module could not be imported.
    unfit = "ERROR collecting" in (result.output or "")
    return "incompetent" if unfit or result.test_outcome != TestOutcome.KILLED else "killed"


def _survivor(item: WorkItem, result: WorkResult, copy: Path) -> dict[str, Any]:
    (mutation,) = item.mutations
    diff = (result.diff or "").replace(f"{copy}/", "")
    lines = [line for line in diff.splitlines() if line[:3] not in ("---", "+++")]
    return {
        "operator": mutation.operator_name,
        "occurrence": mutation.occurrence,
        "file": mutation.module_path.relative_to(copy).as_posix(),
        "line": mutation.start_pos[0],
        "definition": mutation.definition_name,
        "removed": _changed(lines, "-"),
        "added": _changed(lines, "+"),
        "diff": diff,
    }


def _changed(lines: list[str], sign: str) -> str:
    return "\n".join(line[1:].strip() for line in lines if line.startswith(sign)).strip()


def _argue(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Puts to each survivor why it changes no number; returns those without an argument.

    Arguments go by the text of the line before and after, so that they outlast other changes.
    """
    arguments = {
        (entry["file"], entry["line"], changed): entry["argument"]
        for entry in json.loads(ARGUMENTS.read_text(encoding="utf-8"))
        for changed in entry["changed"]
    }
    unargued = []
    for module in result["modules"].values():
        for survivor in module["survivors"]:
            key = survivor["file"], survivor["removed"], survivor["added"]
            survivor["argument"] = arguments.get(key, "unargued")
            if key not in arguments:
                unargued.append(survivor)
    return unargued


def _versions() -> dict[str, str]:
    names = ("cosmic-ray", "pytest", "hypothesis", "jax", "flax", "optax", "torch", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"versions": {}, "modules": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    result["modules"] = {name: result["modules"][name] for name in sorted(result["modules"])}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _counts(module: dict[str, Any]) -> str:
    names = ("killed", "incompetent", "timeouts", "survived", "annotations")
    counts = ", ".join(f"{module[name]} {name}" for name in names)
    return f"{module['mutants']} mutants: {counts}; {module['seconds']:.0f} s"


def _print(result: dict[str, Any], unargued: list[dict[str, Any]]) -> None:
    for name, module in result["modules"].items():
        print(f"{name:22} {_counts(module)}")
    for survivor in unargued:
        print(f"\nunargued: {survivor['file']}:{survivor['line']} {survivor['operator']}")
        print(f"- {survivor['removed']}\n+ {survivor['added']}")


if __name__ == "__main__":
    sys.exit(main())
