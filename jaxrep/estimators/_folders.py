"""The folder of a fitted estimator: that of its run, with what else the estimator is."""

import dataclasses
import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrep.data.columns import Columns
from jaxrep.data.schema import Schema
from jaxrep.errors import InputError, ModelFormatError
from jaxrep.estimators._conversion import is_numeric
from jaxrep.hyperparameters import CONTAMINATION
from jaxrep.runs import folder
from jaxrep.runs.configuration import read_columns
from jaxrep.runs.folder import Run
from jaxrep.runs.making import write

_NUMBERED = re.compile(r"x\d+")


def save(run: Run, path: Path, estimator: Mapping[str, Any], *, overwrite: bool) -> None:
    """Writes a run's folder.

    Args:
        run: to save.
        path: of the folder.
        estimator: what `read_estimator` is to give back.
        overwrite: whether to replace a run that is there, which other files never are.

    Raises:
        InputError: the folder is taken or cannot be written.
    """
    state = folder.state(path)
    if state == "unrecognised":
        raise InputError(f"{path}: exists and is not a run folder; choose another path")
    if state != "absent" and not overwrite:
        raise InputError(f"{path}: holds a run; choose another path, or replace it: overwrite=True")
    config = run.config | {"estimator": dict(estimator)}
    if "result" in config:
        config["result"] = config["result"] | {"run": str(path)}
    with folder.held(path):
        write(dataclasses.replace(run, config=config), path)


def load(path: Path, method: str, readers: Mapping[str, str]) -> Run:
    """Reads a run's folder.

    Args:
        path: of the folder.
        method: that the run must be of.
        readers: the estimators' names by the methods'.

    Raises:
        ModelFormatError: there is no finished run, or it is damaged.
        InputError: the run is of another method.
    """
    run = folder.load(path)
    if run.method.name != method:
        raise InputError(
            f"{path}: holds a run of the method {run.method.name}, not {method}; load it with "
            f"{readers.get(run.method.name, 'an estimator of that method')}"
        )
    return run


def read_estimator(run: Run) -> dict[str, Any]:
    """Returns what `save` has stored besides the run, of which other runs have nothing.

    Returns:
        `contamination` and `alpha`; `feature_names`: whether the run's columns were named by its
        table; `frame`: what rows are given back as; `columns`: the names of all columns, in order;
        and `class_weights`: how much each class counts, None unless that was said by class.

    Raises:
        ModelFormatError: what is there cannot be.
    """
    stored, path = run.config.get("estimator", {}), run.path / folder.CONFIG
    if not isinstance(stored, dict):
        raise ModelFormatError(f"{path}: estimator is not an object")
    share = stored.get("contamination", CONTAMINATION)
    if not isinstance(share, float) or not 0 < share < 1:
        raise ModelFormatError(f"{path}: estimator.contamination is {share!r}")
    alpha = stored.get("alpha")
    if alpha is not None and not (isinstance(alpha, float) and 0 < alpha < 1):
        raise ModelFormatError(f"{path}: estimator.alpha is {alpha!r}")
    schema = run.schema
    names = _in_order(schema)
    named = stored.get("feature_names", names is None)
    if not isinstance(named, bool):
        raise ModelFormatError(f"{path}: estimator.feature_names is {named!r}")
    usual = "array"
    if named or not is_numeric(schema):
        usual = "pandas" if importlib.util.find_spec("pandas") else "arrow"
    kind = stored.get("frame", usual)
    if kind not in ("array", "pandas", "polars", "arrow"):
        raise ModelFormatError(f"{path}: estimator.frame is {kind!r:.40}")
    columns = stored.get("columns", list(names or schema.names))
    if not isinstance(columns, list) or not set(schema.names) <= {str(c) for c in columns}:
        raise ModelFormatError(f"{path}: estimator.columns is {columns!r:.40}")
    by_class = stored.get("class_weights")
    if by_class is not None and not _are_weights(by_class):
        raise ModelFormatError(f"{path}: estimator.class_weights is {by_class!r:.40}")
    return {
        "contamination": share,
        "alpha": alpha,
        "feature_names": named,
        "frame": kind,
        "columns": columns,
        "class_weights": by_class,
    }


def _are_weights(stored: Any) -> bool:
    if not isinstance(stored, list):
        return False
    return all(isinstance(each, float) and 0 <= each < math.inf for each in stored)


def asked_columns(run: Run) -> Columns | dict[str, str] | None:
    """Returns the kinds and roles that were set for a run's columns, as the parameter `columns`."""
    asked = read_columns(run.config)
    recipes = run.method.hyperparameters.recipes
    of_recipe = recipes[name].scale if (name := run.config.get("recipe")) in recipes else "standard"
    if asked.scale == of_recipe:  # which no one asked for
        asked = dataclasses.replace(asked, scale=None)
    if asked == Columns():
        return None
    kinds = dict(asked.kinds)
    return kinds if asked == Columns(kinds) else asked


def _in_order(schema: Schema) -> list[str] | None:
    """Returns x0, x1, … in order if all columns are called so, as those of a matrix; else None."""
    names = {*schema.names, *(column.name for column in schema.left_out)}
    if schema.label is not None and _NUMBERED.fullmatch(schema.label):
        names.add(schema.label)  # a column of the matrix; otherwise it was apart
    if not all(_NUMBERED.fullmatch(name) for name in names):
        return None
    return sorted(names, key=lambda name: int(name[1:]))
