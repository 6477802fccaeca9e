"""Small tables that come with scikit-learn, by name; nothing is downloaded."""

import difflib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jaxrep.errors import InputError

from ._arrow import to_arrow

LABELS: dict[str, str] = {
    "blobs": "label",
    "breast_cancer": "target",
    "diabetes": "target",
    "digits": "target",
    "iris": "target",
    "wine": "target",
}
"""The label column of each named set, which training leaves out.

Example:
    >>> LABELS["iris"]
    'target'
"""

NAMES: tuple[str, ...] = tuple(LABELS)
"""The named sets, sorted.

Example:
    >>> "blobs" in NAMES
    True
"""


def load(name: str) -> pa.Table:
    """Returns a named set: its features as float64 columns, then its label as text.

    `blobs` is four Gaussian clusters of 2,000 points in 32 dimensions, not standardised; the
    others are the sets bundled with scikit-learn, with its feature names.

    Args:
        name: one of `NAMES`.

    Returns:
        The table; its label column is the one in `LABELS`.

    Raises:
        InputError: there is no such set.

    Example:
        >>> load("iris").num_rows, load("iris").column_names[-1]
        (150, 'target')
    """
    if name not in LABELS:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{name}: no such set; there are {', '.join(NAMES)}{hint}")
    return _blobs() if name == "blobs" else _bundled(name)


def _blobs() -> pa.Table:
    """Draws what scikit-learn's make_blobs(2000, 32, centers=4, random_state=42) draws.

    Importing scikit-learn for it would take a quarter of a whole training's process.
    """
    draws = np.random.RandomState(42)
    centers = draws.uniform(-10, 10, size=(4, 32))
    x = np.concatenate([draws.normal(center, size=(500, 32)) for center in centers])
    order = np.arange(2000)
    draws.shuffle(order)
    return _table([f"x{i}" for i in range(32)], x[order], "label", np.repeat(range(4), 500)[order])


def _bundled(name: str) -> pa.Table:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    return _table(bunch.feature_names, bunch.data, LABELS[name], bunch.target)


def _table(
    names: list[str],
    x: npt.NDArray[np.float64],
    label: str,
    y: npt.NDArray[np.float64] | npt.NDArray[np.int64],
) -> pa.Table:
    columns = {str(name): to_arrow(x[:, i]) for i, name in enumerate(names)}
    return pa.table({**columns, label: to_arrow(y).cast(pa.string())})
