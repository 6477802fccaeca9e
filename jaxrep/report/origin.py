"""The report's parts on where a run comes from: parity, settings, versions, the command."""

import dataclasses
import os
import shlex
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from jaxrep.methods import hyperparameters_of, recipe_name, resolve
from jaxrep.report.content import Command, Paragraph, Part, Section, Table
from jaxrep.report.subject import Subject


def agreement(subject: Subject) -> Iterator[Section]:
    """Yields what JAX and PyTorch make of the run; nothing where PyTorch is not installed."""
    if find_spec("torch") is None:
        return
    from jaxrep.parity import check_run

    report = check_run(subject.run, subject.x)
    rows = [
        [
            check.check,
            check.dtype,
            check.jax_error,
            check.torch_error,
            check.difference,
            "holds" if check.passed else "FAILS",
        ]
        for check, _ in report.worst()
    ]
    head = ["what", "dtype", "JAX", "PyTorch", "between them", "bounds"]
    told = "All of them agree." if report.passed else "They do not all agree: see the rows."
    parts: list[Part] = [
        Table("Errors against float64, and differences, of the largest element", head, rows),
        Paragraph(
            f"{told} The run's own weights, on at most 1,000 of these rows, through both "
            "frameworks; `jaxrep parity` says more. A dash is PyTorch's float64, the reference."
        ),
    ]
    yield Section("parity", "JAX against PyTorch", parts)


def origin(subject: Subject) -> Iterator[Section]:
    """Yields the command that repeats the run, its settings, and what it ran on."""
    config = subject.run.config
    parts: list[Part] = []
    if command := command_of(config, str(subject.run.path)):
        parts += [Paragraph("The command that repeats the run:"), Command(command)]
    hyperparameters = dataclasses.asdict(subject.run.method.hyperparameters)
    rows = [["recipe", config["recipe"]]] if "recipe" in config else []
    rows += [[name, _listed(value)] for name, value in hyperparameters.items()]
    parts.append(Table("Hyperparameters", ["name", "value"], rows))
    parts.append(Table("Data, versions and device", ["what", "value"], _surroundings(config)))
    yield Section("origin", "How it was made", parts)


def command_of(config: dict[str, Any], out: str) -> str | None:
    """Returns the command that repeats a run, quoted for a shell; None of an imported run.

    The best run of a sweep is repeated in a folder of its own, as a run by itself.

    Args:
        config: the run's.
        out: its folder.

    Example:
        >>> columns = {"kinds": {"zip code": "category"}, "label": None, "id_column": None}
        >>> config = {
        ...     "method": "vae",
        ...     "data": {"source": "my table.csv", "columns": columns},
        ...     "hyperparameters": {"beta": 4.0},
        ...     "versions": {},
        ... }
        >>> command_of(config, "run")
        "jaxrep train vae 'my table.csv' --out run --column 'zip code=category' --beta 4.0"
    """
    if "imported" in config:
        return None
    data = config["data"]
    is_swept = "sweep" in config
    words = ["jaxrep", "train", config["method"], data["source"]]
    words += ["--out", f"{out}-again" if is_swept else out]
    words += _said_of_columns(data["columns"])
    words += _said_of_hyperparameters(config)
    if data.get("streamed"):
        words += ["--stream", "always"]
    return " ".join(map(_quoted, words))


def _said_of_hyperparameters(config: Mapping[str, Any]) -> list[str]:
    """Returns the flags of a config's recipe, and of what differs from it."""
    kind = hyperparameters_of(config["method"])
    recipe = config.get("recipe")
    if recipe not in kind.recipes or recipe == recipe_name(kind, None):
        recipe = None
    words = [] if recipe is None else _flag("recipe", recipe)
    usual = dataclasses.asdict(resolve(kind, recipe))
    for name, default in usual.items():
        value = config["hyperparameters"].get(name, default)
        value = tuple(value) if isinstance(value, list) else value
        if value != default:
            words += _flag(name, value)
    return words


def _said_of_columns(columns: Mapping[str, Any]) -> list[str]:
    """Returns the flags that say what `data.columns` of a config does."""
    words = []
    for name, kind in columns.get("kinds", {}).items():
        words += _flag("column", f"{name}={kind}")
    for name, likelihood in columns.get("likelihoods", {}).items():
        words += _flag("column_likelihood", f"{name}={likelihood}")
    for flag in ("drop", "na_values"):
        for value in columns.get(flag, ()):
            words += _flag(flag, value)
    for flag in ("label", "id_column"):
        if value := columns.get(flag):
            words += _flag(flag, value)
    if impute := columns.get("impute"):
        words += _flag("impute", impute)
    if (scale := columns.get("scale", "standard")) != "standard":
        words += _flag("scale", scale)
    for name, scale in columns.get("scales", {}).items():
        words += _flag("scale", f"{name}={scale}")
    return words


def _quoted(word: str) -> str:
    """Quotes a word for a shell; bytes that do not print are spelled as bash spells them."""
    if word.isprintable():
        return shlex.quote(word)
    spelled = {"\\": r"\\", "'": r"\'"}
    letters = []
    for letter in word:
        codes = os.fsencode(letter) if not letter.isprintable() else b""
        plain = spelled.get(letter, letter)
        letters.append("".join(f"\\x{code:02x}" for code in codes) or plain)
    return "$'" + "".join(letters) + "'"


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else [f"--no-{flag[2:]}"]
    if isinstance(value, tuple):
        return [flag, *(str(part) for part in value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _surroundings(config: dict[str, Any]) -> list[list[Any]]:
    data, device = config["data"], config.get("device", {})
    rows = [["data", data["source"]], ["SHA-256 of the data", data.get("sha256") or "–"]]
    rows += [[f"{name} column", data["columns"].get(key) or "–"] for name, key in _ROLES]
    rows += [[name, version] for name, version in config.get("versions", {}).items()]
    if device:
        rows.append(["device", f"{device.get('count')} × {device.get('kind')}"])
    return rows


_ROLES = (("label", "label"), ("id", "id_column"))


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
