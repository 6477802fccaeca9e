"""Whole rows: whether a classifier tells them apart, what they teach, whether they are copies."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from ._cells import Cells, is_discrete

MOST_ROWS, MOST_JUDGED, MOST_TAUGHT, FOLDS = 15_000, 5_000, 100_000, 3


@dataclass(frozen=True)
class ToldApart:
    """How well gradient boosting tells made rows from real ones."""

    auc: float
    """Area under its ROC curve on rows that it was not trained on; ½ is chance, 1 always."""

    rows: int
    """Of each kind."""


@dataclass(frozen=True)
class Usefulness:
    """What a model of a column is worth when it is trained on made rows."""

    target: str
    """The column."""

    measure: str
    """`accuracy` of levels, `R²` of numbers; on real rows that neither model has seen."""

    real: float
    """Of a model that was trained on as many real rows."""

    made: float
    """Of one that was trained on made rows."""

    rows: int
    """Rows that each was trained on."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data; what is not defined is None."""
        plain = asdict(self)
        return {k: None if v != v else v for k, v in plain.items()}


@dataclass(frozen=True)
class Closeness:
    """Whether made rows are copies of real ones."""

    copies: float
    """Share of the made rows that equal a real row in every cell."""

    usual: float | None
    """The same share of the holdout rows, which are no copies; None without a holdout."""

    nearer: float | None
    """Share of the made rows that are nearer to a real row than to a holdout row, of equally many;
    ½ where the model has learned the distribution alone. None without a holdout."""

    error: float | None
    """Standard error of that share."""

    rows: int
    """Rows of each kind that distances are taken to."""


def told_apart(real: Cells, made: Cells, *, seed: int) -> ToldApart:
    """Cross-validates `HistGradientBoostingClassifier` on equally many rows of both kinds.

    Args:
        real: rows, best such that the model of the made rows has not seen.
        made: rows.
        seed: of the draws, the folds and the classifier.
    """
    draws = np.random.default_rng(seed)
    count = min(len(real), len(made), MOST_ROWS)
    x = np.concatenate([cells.drawn(count, draws).raw for cells in (real, made)])
    y = np.repeat([0, 1], count)
    aucs = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        model = HistGradientBoostingClassifier(random_state=seed).fit(x[train], y[train])
        aucs.append(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1]))
    return ToldApart(float(np.mean(aucs)), count)


def usefulness(real: Cells, made: Cells, test: Cells, target: str, *, seed: int) -> Usefulness:
    """Trains gradient boosting to predict a column on real rows and on made ones.

    Args:
        real: rows to train on.
        made: rows to train on.
        test: real rows to test on.
        target: the column's name.
        seed: of the draws and the models.
    """
    names = [column.name for column in real.schema.columns]
    at = names.index(target)
    has_levels = is_discrete(real.schema.columns[at])
    kind: Any = HistGradientBoostingClassifier if has_levels else HistGradientBoostingRegressor
    measure: Any = accuracy_score if has_levels else r2_score
    draws = np.random.default_rng(seed)
    count = min(len(real), len(made), MOST_TAUGHT)
    x_test, y_test = _split(test, at)
    worth = []
    for cells in (real, made):
        x, y = _split(cells.drawn(count, draws), at)
        if not len(y):
            worth.append(float("nan"))
            continue
        if len(np.unique(y)) < 2:  # nothing is learned from it
            worth.append(float(measure(y_test, np.full(len(y_test), y[0]))))
            continue
        worth.append(float(measure(y_test, kind(random_state=seed).fit(x, y).predict(x_test))))
    return Usefulness(target, "accuracy" if has_levels else "R²", worth[0], worth[1], count)


def _split(cells: Cells, at: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the other columns and the target of the rows that have one."""
    y = cells.raw[:, at]
    is_there = ~np.isnan(y)
    return np.delete(cells.raw, at, axis=1)[is_there], y[is_there]


def closeness(real: Cells, made: Cells, holdout: Cells | None, *, seed: int) -> Closeness:
    """Looks for made rows that are real ones, and measures which real rows they are nearest to.

    Distances are Euclidean, of numbers on the real table's scale, and 1 for levels that differ.

    Args:
        real: the rows that the model was trained on.
        made: rows.
        holdout: rows from the same source that it was not trained on.
        seed: of the draws.
    """
    known = _keys(real)
    copies = float(np.isin(_keys(made), known).mean())
    if holdout is None:
        return Closeness(copies, None, None, None, 0)
    draws = np.random.default_rng(seed)
    count = min(len(real), len(holdout), MOST_ROWS)
    judged = made.drawn(MOST_JUDGED, draws).matrix()
    ours, theirs = (
        _nearest(cells.drawn(count, draws).matrix(), judged) for cells in (real, holdout)
    )
    nearer = (ours < theirs) + 0.5 * (ours == theirs)
    usual = float(np.isin(_keys(holdout), known).mean())
    error = float(nearer.std() / np.sqrt(len(nearer)))
    return Closeness(copies, usual, float(nearer.mean()), error, count)


def _keys(cells: Cells) -> npt.NDArray[np.void]:
    """Returns each row as one value that only an equal row has, `[N]`."""
    raw = np.ascontiguousarray(np.where(np.isnan(cells.raw), np.nan, cells.raw + 0.0))
    return raw.view(np.dtype((np.void, raw.shape[1] * raw.itemsize)))[:, 0]


def _nearest(rows: Any, judged: Any) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(judged)[0][:, 0]
    return found
