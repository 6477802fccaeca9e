"""What the estimators of methods that learn without labels have in common."""

import importlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from jaxrep import conformal
from jaxrep.data.columns import Columns
from jaxrep.data.frames import kind_of
from jaxrep.errors import InputError, MissingPackageError
from jaxrep.estimators import _folders, _runs
from jaxrep.estimators._checks import check_rows, check_share, check_weights
from jaxrep.estimators._conversion import (
    Rows,
    default_names,
    features_of,
    in_python,
    names_of,
    warn,
)
from jaxrep.estimators._decoding import Decoding
from jaxrep.estimators._estimator import RunEstimator
from jaxrep.hyperparameters import CONTAMINATION
from jaxrep.inference import map_errors
from jaxrep.methods import get
from jaxrep.runs.explaining import Reason, check_explaining, reasons_of
from jaxrep.runs.folder import Run
from jaxrep.runs.levels import alpha_threshold, calibration_of
from jaxrep.runs.outputs import threshold
from jaxrep.runs.training_rows import calibration_count


@dataclass(eq=False, repr=False)
class Embedding(Decoding, OutlierMixin, RunEstimator):  # type: ignore[misc]
    """A transformer and an outlier detector on top of a method.

    A method's estimator is declared by its hyperparameters alone, which become its parameters, each
    None by default, for the recipe's value:

        @dataclass(eq=False, repr=False)
        class VAEEmbedding(Embedding, VAEHyperparameters): …

    Attributes:
        run_: the trained run: its method, weights, schema and configuration.
        schema_: what its columns are, the run's `jaxrep.data.schema.Schema`.
        history_: the metrics of every epoch, as `jaxrep.training.fit` gives them.
        hyperparameters_: the values that were trained with, by name.
        offset_: score of a normal row at the threshold; `decision_function` is 0 there. It is by
            `alpha`, or by `contamination` where that is None.
        n_features_in_: columns of X.
        feature_names_in_: their names `[n_features_in_]`, where X was a DataFrame.
    """

    contamination: float = CONTAMINATION
    """Share of the training rows that `predict` calls outliers, where `alpha` is None."""

    alpha: float | None = None
    """Largest p-value of an outlier, in the place of `contamination`: of rows like the calibration
    rows `predict` calls at most this share outliers, in the mean over fits. Needs
    `calibration_fraction`."""

    warm_start: bool = False
    """Whether another `fit` continues from the weights of the last one: `epochs` more, counted on,
    with a new optimiser. The schema stays that of the first fit."""

    columns: Any = None
    """What columns are, where that is not to be inferred: a mapping of names to kinds, such as
    `{"zip": "category", "day": "datetime:%d.%m.%Y"}`, or `jaxrep.data.Columns`."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Trains on rows; what their columns are is inferred, and kept.

        Ctrl-C ends the training early, and the estimator keeps what it has reached; a second one
        interrupts as it does elsewhere.

        Args:
            X: at least 2 rows, `[rows, columns]`: a matrix, sparse or not, or a DataFrame of pandas
                or polars or a table of Arrow. Its columns may be numbers, categories,
                booleans, dates and times. Missing cells stay missing, unless `columns` imputes
                them.
            y: ignored.
            sample_weight: how much each row counts in the loss, `[rows]`, at least 0; only the
                ratios matter. A row of weight 0 is left out. None counts all alike.

        Returns:
            The estimator itself.

        Raises:
            ValueError: a parameter out of its range; X has infinite values, fewer than 2 rows or no
                column to learn from; with `warm_start`, other columns or another network than
                before.
            DivergedError: the loss became infinite or NaN.
            KeyboardInterrupt: Ctrl-C came before the first step, or twice.

        Warns:
            DataWarning: columns were left out, or Ctrl-C came.
        """
        del y
        hyperparameters = self._hyperparameters()
        check_share("contamination", self.contamination)
        earlier: Run | None = getattr(self, "run_", None) if self.warm_start else None
        schema = earlier.schema if earlier else None
        X = check_rows(self, X, at_least=2, reset=earlier is None, schema=schema)
        if earlier is None:
            self._kind = kind_of(X)
            self._columns = names_of(X) or default_names(self.n_features_in_)
        rows = Rows(X, self._columns)
        weights = None if sample_weight is None else check_weights(sample_weight, len(rows))
        counted = len(rows) if weights is None else int(np.count_nonzero(weights))
        self._check_alpha(calibration_count(counted, hyperparameters))
        with self._reporter() as (note, callbacks):
            run, sentences = _runs.train(
                hyperparameters,
                rows,
                self._asked(),
                recipe=self._recipe(),
                weights=weights,
                earlier=earlier,
                note=note,
                callbacks=callbacks,
            )
        warn(sentences)
        self._hold(run)
        return self

    def _asked(self) -> Columns:
        """Returns what the parameter `columns` says."""
        given = self.columns
        asked = given if isinstance(given, Columns) else Columns(kinds=dict(given or {}))
        asked.asked()
        return asked

    def score_samples(self, X: Any) -> np.ndarray:
        """Returns how normal rows are: the method's anomaly score with its sign changed.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`.

        Returns:
            `[rows]`; lower is more anomalous. What it is, `anomaly_score` says. Unless that is
            given, it is for autoencoder and VAE the mean over a row's observed cells of their
            log-likelihood under the reconstruction: of numbers minus the squared error in
            standardised units, unless `likelihood` says otherwise, of categories the
            log-probability of the level; for the denoiser minus the mean of the standardised
            logarithms of its errors at several noise levels and of the representation's distance;
            for SimCLR minus the squared Mahalanobis distance of the representation over its size.
        """
        scores: np.ndarray = -self._map("score", X)
        return scores

    def decision_function(self, X: Any) -> np.ndarray:
        """Returns `score_samples(X) − offset_`, `[rows]`: below 0 is an outlier."""
        scores = self.score_samples(X)
        if np.isnan(self.offset_):
            raise InputError(
                "the run was imported without the scores of its training rows, so there is no "
                "threshold; choose one on score_samples"
            )
        difference: np.ndarray = scores - scores.dtype.type(self.offset_)
        return difference

    def predict(self, X: Any) -> np.ndarray:
        """Returns −1 for outliers and 1 for all others, `[rows]`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Returns the split-conformal p-values of rows, `[rows]`, float64: small is anomalous.

        p is the share, of the calibration rows and the row itself, whose anomaly score is at least
        the row's, as `jaxrep.conformal` has it: of rows like the calibration rows a share of at
        most α has p ≤ α, in the mean over fits.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`.

        Raises:
            InputError: no rows were set apart; give `calibration_fraction` before `fit`.
        """
        scores = self._map("score", X)
        return conformal.p_values(scores, self._calibration("p_values"))

    def discoveries(self, X: Any, fdr: float = 0.1) -> np.ndarray:
        """Returns which rows are outliers, booleans `[rows]`, at a false discovery rate.

        Benjamini and Hochberg's procedure on the p-values of all rows of X: of those that it finds,
        at most a share of `fdr` is like the calibration rows, in expectation. One row more or less
        in X may change what is found.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`.
            fdr: the rate, above 0 and below 1.

        Raises:
            InputError: no rows were set apart, or too few for this rate.
        """
        scores, calibration = self._map("score", X), self._calibration("discoveries")
        conformal.check_level("fdr", fdr, len(calibration))
        ranks = conformal.ranks(scores, calibration)
        counts = np.bincount(ranks - 1, minlength=len(calibration) + 1)
        found: np.ndarray = ranks <= conformal.discovery_rank(counts, fdr)
        return found

    def explain(self, X: Any, k: int | None = 3) -> Any:
        """Returns why rows do not fit: the columns that the others did not let expect.

        A column is hidden, predicted from the others, and compared with what stands there
        (`jaxrep.reasons.explain`); it is not the score that is taken apart. A denoiser can be
        asked, and an autoencoder that was trained with the view `hide`.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`.
            k: how many columns of each row, those of the largest shares; None: all.

        Returns:
            A DataFrame of pandas with k lines for each row, the largest share first: `row` from 0,
            `column`, its `value`, what was `expected` in the column's own units, of a category its
            `probability`, and the `share` of the row's misfit. Shares of all columns sum to 1.

        Raises:
            InputError: the method cannot be asked, or k is below 1.
            MissingPackageError: pandas is not installed.
        """
        check_is_fitted(self)
        run = self.run_
        count = run.rows.columns if k is None else k
        with in_python():
            check_explaining(run, count, "explain")
        try:
            pandas: Any = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingPackageError(
                "explain returns a DataFrame of pandas, which is not installed: pip install pandas"
            ) from error
        rows, _ = self._checked(run.schema, X)
        found = reasons_of(
            run, pa.concat_tables(rows), features_of(run.schema, rows), count, "explain"
        )
        return pandas.DataFrame(found, columns=Reason._fields)

    def score(self, X: Any, y: Any = None) -> float:
        """Returns how good a model is, for model selection; higher is better.

        With a decoder it is minus the mean over rows and their observed cells of what the
        reconstruction misses, whatever `beta`, `latent_dim`, the widths and `anomaly_score` are, so
        that they compare; under another `likelihood` it is another quantity. For SimCLR it is the
        mean of `score_samples`, which compares only models of the same size and training, and a
        score on labels (a probe in a Pipeline) says more.

        Args:
            X: rows held out, `[rows, columns]`.
            y: ignored.
        """
        del y
        if "score_by_column" not in get(self.name).network_type.outputs:
            return float(np.mean(self.score_samples(X), dtype=np.float64))
        features, _ = self._features(X)
        run = self.run_
        return -float(np.mean(map_errors(run.method, run.weights, features, run.rows)))

    def _to_store(self) -> dict[str, Any]:
        alpha = None if self.alpha is None else float(self.alpha)
        return {"contamination": float(self.contamination), "alpha": alpha}

    @classmethod
    def _from(cls, run: Run, stored: dict[str, Any]) -> Self:
        return cls(
            **cls._trained_with(run),
            contamination=stored["contamination"],
            alpha=stored["alpha"],
            columns=_folders.asked_columns(run),
        )

    def _check_alpha(self, rows: int) -> None:
        """Refuses an `alpha` that so many calibration rows do not serve, before anything trains."""
        if self.alpha is None:
            return
        check_share("alpha", self.alpha)
        if not rows:
            raise InputError(
                f"alpha is {self.alpha}, and no rows are set apart for p-values; give "
                "calibration_fraction as well, 0.2 for example"
            )
        conformal.check_level("alpha", self.alpha, rows)

    def _calibration(self, asking: str) -> np.ndarray:
        """Returns the scores of the calibration rows, ascending."""
        with in_python():
            return calibration_of(self.run_, asking)

    def _hold(self, run: Run) -> None:
        super()._hold(run)
        self.offset_ = np.nan
        if self.alpha is not None:
            limit = alpha_threshold(self._calibration("alpha"), self.alpha, "alpha")
            self.offset_ = -limit
        elif "score_quantiles" in run.config:  # an imported run may lack them
            # Scores are float32, and the threshold is compared with them as such.
            self.offset_ = -float(np.float32(threshold(run, self.contamination)))
