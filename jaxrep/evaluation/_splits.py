"""Which rows a probe learns from, and which it is tested on."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]


class Split(NamedTuple):
    """Positions of rows; training and test rows share none."""

    train: Positions
    """All rows outside the test rows, for what needs no label."""

    labelled: Positions
    """Those of them whose label is used."""

    test: Positions
    """The rows that every number is measured on."""


def split(
    groups: npt.NDArray[Any],
    *,
    seed: int,
    test_fraction: float = 0.25,
    labels: int | None = None,
) -> Split:
    """Draws test rows from each group, and labelled rows from the others.

    Args:
        groups: each row's class, `[N]`, at least two rows of each; all the same where rows have no
            class.
        seed: decides the draw.
        test_fraction: share of each group's rows to test on; at least one row, and never all.
        labels: number of labelled rows, at least one a group: one of each is drawn first, the
            others at random. By default all rows that are not for testing.

    Returns:
        Positions in ascending order.

    Example:
        >>> [len(rows) for rows in split(np.array(list("aaaabbbb")), seed=0, labels=3)]
        [6, 3, 2]
    """
    draws = np.random.default_rng(seed)
    order = draws.permutation(len(groups))
    train, test, firsts = [], [], []
    for group in np.unique(groups):
        members = order[groups[order] == group]
        count = min(max(round(test_fraction * len(members)), 1), len(members) - 1)
        test.append(members[:count])
        train.append(members[count:])
        firsts.append(members[count])
    kept = np.sort(np.concatenate(train))
    labelled = kept
    if labels is not None and labels < len(kept):
        others = draws.permutation(np.setdiff1d(kept, firsts))
        labelled = np.sort(np.concatenate([firsts, others])[:labels])
    return Split(kept, labelled, np.sort(np.concatenate(test)))
