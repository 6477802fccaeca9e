"""What a label column says: classes, numbers, or which rows are anomalies; and what is wrong."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxrep.errors import InputError

from ._sample import is_number, value_counts

MOST_NUMERIC_CLASSES = 20
_LISTED = 10
_LARGEST = 1e100  # a number whose squares may be summed in float64


@dataclass(frozen=True)
class Target:
    """The label of the rows to evaluate on."""

    task: str
    """`classification`, `regression` or `anomalies`."""

    kept: npt.NDArray[np.bool_]
    """Which of the rows drawn have a label, `[drawn]`."""

    values: npt.NDArray[Any]
    """Text, numbers, or whether a row is an anomaly, `[N]`."""

    groups: npt.NDArray[Any]
    """What each split has to hold some rows of, `[N]`."""

    classes: dict[str, int] | None
    """Rows of each class, the largest first; None for numbers."""


def choose_target(
    labels: npt.NDArray[Any],
    source: str,
    name: str,
    anomalies: Sequence[str],
    task: str,
    labelled: int | None,
    *,
    skip_unlabelled: bool,
) -> Target:
    """Reads a label column.

    Args:
        labels: text, None where missing, `[drawn]`.
        source: where it comes from, for messages.
        name: the column's name.
        anomalies: values that count as anomalous.
        task: `auto`, `classification` or `regression`.
        labelled: rows whose label may be used.
        skip_unlabelled: whether rows without a label are left out.

    Raises:
        InputError: labels are missing, all the same, too few of a class, no numbers where numbers
            are due, or without the anomalies.
    """
    where = f"{source}: label {name!r}"
    kept = np.array([text is not None for text in labels], bool)
    if not kept.all() and not skip_unlabelled:
        raise InputError(
            f"{where}: missing in {int((~kept).sum())} of {len(kept)} rows; fill them in, or leave "
            "those rows out with --skip-unlabelled"
        )
    texts = labels[kept]
    if len(texts) < 2:
        raise InputError(
            f"{where}: {len(texts)} row{'s' * (len(texts) != 1)} with a label; at least 4 are "
            "needed, some to learn from and others to test on"
        )
    classes = value_counts(texts)
    if len(classes) == 1:
        raise InputError(
            f"{where}: all {len(texts)} rows have the value {next(iter(classes))!r}; there is "
            "nothing to tell apart: choose another label, or a table with other rows too"
        )
    if anomalies:
        if task == "regression":
            raise InputError("--anomaly goes with classes; leave it or --task regression out")
        return _anomalies(texts, kept, classes, anomalies, where)
    numeric = all(is_number(text) for text in classes)
    if task == "regression" and not numeric:
        odd = next(text for text in classes if not is_number(text))
        raise InputError(f"{where}: {odd!r} is not a number; leave --task regression out")
    if task == "regression" or (task == "auto" and numeric and len(classes) > MOST_NUMERIC_CLASSES):
        if len(texts) < 4:
            raise InputError(f"{where}: {len(texts)} rows; at least 4 are needed")
        numbers = texts.astype(np.float64)
        largest = float(numbers[np.argmax(np.abs(numbers))])
        if abs(largest) > _LARGEST:
            raise InputError(f"{where}: {largest:g} is too large to square; correct it or rescale")
        return Target("regression", kept, numbers, np.zeros(len(texts)), None)
    _check_classes(classes, labelled, where)
    text = texts.astype(str)
    return Target("classification", kept, text, text, classes)


def _check_classes(classes: dict[str, int], labelled: int | None, where: str) -> None:
    single = sorted(value for value, count in classes.items() if count == 1)
    if single:
        raise InputError(
            f"{where}: one row alone of {_listed(single)} ({len(single)} of {len(classes)} "
            "classes); each needs one row to learn from and one to test on: remove or merge them, "
            "or take numbers as they are with --task regression"
        )
    if labelled is not None and labelled < len(classes):
        raise InputError(
            f"--labels is {labelled}; there are {len(classes)} classes, and each needs a label"
        )


def _anomalies(
    texts: npt.NDArray[Any],
    kept: npt.NDArray[np.bool_],
    classes: dict[str, int],
    anomalies: Sequence[str],
    where: str,
) -> Target:
    for value in anomalies:
        if value not in classes:
            near = difflib.get_close_matches(value, list(classes), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(
                f"--anomaly {value}: no row of {where} has that value{hint} There are "
                f"{_listed(list(classes))}"
            )
    is_anomaly = np.isin(texts.astype(str), list(anomalies))
    count = int(is_anomaly.sum())
    for number, kind in ((count, "anomalous"), (len(texts) - count, "not anomalous")):
        if number < 2:
            raise InputError(
                f"{where}: {number} of {len(texts)} rows {kind}; at least 2 are needed of either "
                "kind: name other values with --anomaly, or look at more rows with --rows"
            )
    return Target("anomalies", kept, is_anomaly, is_anomaly, classes)


def _listed(values: Sequence[str]) -> str:
    more = len(values) - _LISTED
    named = ", ".join(repr(value) for value in values[:_LISTED])
    return named + (f" and {more} more" if more > 0 else "")
