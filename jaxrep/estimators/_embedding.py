"""What the estimators have in common."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxrep.data import preprocessing
from jaxrep.errors import InputError
from jaxrep.estimators import _runs
from jaxrep.estimators._conversion import (
    FLOATS,
    SOURCE,
    frame_features,
    is_numeric,
    may_be_missing,
    to_table,
)
from jaxrep.estimators._decoding import Decoding
from jaxrep.hyperparameters import CONTAMINATION, check
from jaxrep.methods import hyperparameters_of
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import threshold
from jaxrep.training import Callback, EpochMetrics, Progress


@dataclass(eq=False, repr=False)
class Embedding(Decoding, TransformerMixin, OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer and an outlier detector on top of a method.

    A method's estimator is declared by its hyperparameters alone, which become its parameters:

        @dataclass(eq=False, repr=False)
        class VAEEmbedding(Embedding, VAEHyperparameters): …

    Attributes:
        run_: the trained run: its method, weights, preprocessing and configuration.
        history_: the metrics of every epoch, as `jaxrep.training.fit` gives them.
        offset_: score of a normal row at the threshold; `decision_function` is 0 there.
        n_features_in_: columns of X.
        feature_names_in_: their names `[n_features_in_]`, where X was a DataFrame.
    """

    name: ClassVar[str]

    contamination: float = CONTAMINATION
    """Share of the training rows that `predict` calls outliers."""

    warm_start: bool = False
    """Whether another `fit` continues from the weights of the last one: `epochs` more, counted on,
    with a new optimiser. Columns stay standardised as they were in the first fit."""

    verbose: bool = False
    """Whether training shows its progress and its warnings about columns on stderr."""

    # Two estimators are not the same because they are set alike, as hyperparameters are.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on rows; numeric columns are standardised, and how is kept.

        Args:
            X: matrix or DataFrame of at least 2 rows, `[rows, columns]`.
            y: ignored.

        Returns:
            The estimator itself.

        Raises:
            ValueError: a parameter out of its range; X has missing or infinite values, or
                fewer than 2 rows; with `warm_start`, other columns or another network than before.
            DivergedError: the loss became infinite or NaN.
        """
        del y
        made = hyperparameters_of(self.name)
        hyperparameters = _runs.hyperparameters_from(made, self.get_params(deep=False))
        check(hyperparameters)
        self._check_contamination()
        earlier: Run | None = getattr(self, "run_", None) if self.warm_start else None
        if earlier and not is_numeric(earlier.preprocessing):
            raise InputError(
                "the run has categorical columns, which fit does not take; train on with the "
                "command line, or set warm_start=False and one-hot encode them"
            )
        X = validate_data(
            self, X, reset=earlier is None, dtype=FLOATS, ensure_min_samples=2, order="C"
        )
        names = earlier.preprocessing.numeric_columns if earlier else self._column_names()
        with self._reporter() as (note, callbacks):
            run = _runs.train(
                hyperparameters,
                to_table(X, names),
                earlier=earlier,
                note=note,
                callbacks=callbacks,
            )
        self._hold(run)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Returns the representations of rows; nothing is random.

        Args:
            X: rows with the columns of the training, `[rows, columns]`.

        Returns:
            The code, the VAE's μ or SimCLR's backbone output, `[rows, latent_dim]`, in the dtype
            of X.
        """
        return self._map("embed", X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Returns how normal rows are: the method's anomaly score with its sign changed.

        Args:
            X: rows, `[rows, columns]`.

        Returns:
            `[rows]`, at most 0; lower is more anomalous. For autoencoder and VAE the mean squared
            reconstruction error in standardised units, for SimCLR the squared Mahalanobis distance
            of the representation over its size.
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

    def score(self, X: Any, y: Any = None) -> float:
        """Returns the mean of `score_samples`, for model selection; higher is better.

        For autoencoder and VAE that is −(mean squared reconstruction error), whatever `beta`,
        `latent_dim` and the widths are, so that they compare. For SimCLR it compares only models
        of the same size and training, and a score on labels (a probe in a Pipeline) says more.

        Args:
            X: rows held out, `[rows, columns]`.
            y: ignored.
        """
        del y
        return float(np.mean(self.score_samples(X), dtype=np.float64))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Returns the names of the representation's columns, z0, z1, …, `[latent_dim]`.

        Args:
            input_features: names of X's columns; only checked.
        """
        check_is_fitted(self)
        known = getattr(self, "feature_names_in_", None)
        if input_features is not None:
            given = list(input_features)
            if known is not None and given != list(known):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ValueError(
                    f"input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(given)}"
                )
        size = self.run_.method.hyperparameters.latent_dim
        return np.asarray([f"z{i}" for i in range(size)], dtype=object)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the run folder that `jaxrep embed`, `score`, `info`, `export` … read.

        Args:
            path: of the folder.
            overwrite: replace a run that is there; other files never are.

        Raises:
            InputError: the folder is taken or cannot be written.
        """
        check_is_fitted(self)
        stored = {
            "contamination": float(self.contamination),
            "feature_names": hasattr(self, "feature_names_in_"),
        }
        _runs.save(self.run_, Path(path), stored, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads a run folder that `save` or `jaxrep train` wrote; nothing in it executes.

        Args:
            path: of the folder.

        Returns:
            A fitted estimator with the run's hyperparameters.

        Raises:
            InputError: the run is of another method.
            ModelFormatError: there is no finished run, or it is damaged.
        """
        run = _runs.load(Path(path), cls.name, _readers())
        stored = _runs.read_estimator(run, Path(path))
        made = cls(**asdict(run.method.hyperparameters), contamination=stored["contamination"])
        names = [column.name for column in run.preprocessing.columns]
        made.n_features_in_ = len(names)
        named = stored["feature_names"]
        if names != _default_names(len(names)) if named is None else named:
            made.feature_names_in_ = np.asarray(names, dtype=object)
        made._hold(run)
        return made

    def export_torchscript(self, path: str | PathLike[str]) -> None:
        """Writes a TorchScript file that serves the model without JAX, proven before it exists.

        The file takes rows in the table's own units. It needs PyTorch: `pip install jaxrep[torch]`.

        Args:
            path: the file.

        Raises:
            InputError: the file cannot be written.
            MissingPackageError: PyTorch is not installed.
            VerificationError: the file does not give what JAX gives; nothing is left behind.
        """
        from jaxrep.export import export_run

        check_is_fitted(self)
        with tempfile.TemporaryDirectory() as private:
            saved = Path(private) / "run"
            self.save(saved)
            export_run(_runs.load(saved, self.name, _readers()), Path(path))

    def _check_contamination(self) -> None:
        share = self.contamination
        if (
            isinstance(share, bool)
            or not isinstance(share, float | np.floating)
            or not 0 < share < 1
        ):
            raise ValueError(f"contamination is {share!r}; it must be above 0 and below 1")

    def _column_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return _default_names(self.n_features_in_) if names is None else list(names)

    def _hold(self, run: Run) -> None:
        """Takes over a run, trained or read."""
        self.run_ = run
        self.history_: list[EpochMetrics] = run.history
        self.offset_ = np.nan
        if "score_quantiles" in run.config:  # an imported run may lack them
            # Scores are float32, and the threshold is compared with them as such.
            self.offset_ = -float(np.float32(threshold(run, self.contamination)))

    def _features(self, X: Any) -> tuple[np.ndarray, np.dtype[Any]]:
        """Returns rows as the run's features, and the dtype that X has."""
        check_is_fitted(self)
        fitted = self.run_.preprocessing
        if not is_numeric(fitted):
            return frame_features(fitted, X), np.dtype(np.float64)
        finite = "allow-nan" if may_be_missing(fitted) else True
        X = validate_data(self, X, reset=False, dtype=FLOATS, ensure_all_finite=finite)
        table = to_table(X, fitted.numeric_columns)
        return preprocessing.apply(fitted, table, source=SOURCE), X.dtype

    def _map(self, function: Any, X: Any) -> np.ndarray:
        features, dtype = self._features(X)
        return self.run_.map(function, features).astype(dtype)

    @contextlib.contextmanager
    def _reporter(
        self,
    ) -> Iterator[tuple[Callable[[str], None], list[Callback]]]:
        """Yields what to tell warnings and progress to: stderr if `verbose`, else nobody."""
        if not self.verbose:
            yield (lambda message: None), []
            return
        from jaxrep.progress import Reporter

        last: list[Progress] = []

        class Last(Callback):
            def on_progress(self, progress: Progress) -> None:
                last[:] = [progress]

        name = type(self).__name__

        def note(message: str) -> None:
            print(f"{name}: {message}", file=sys.stderr, flush=True)

        with Reporter() as reporter:
            yield note, [reporter, Last()]
        for progress in last:
            note(
                f"{progress.step} steps · loss {progress.loss:.5g} · "
                f"{progress.rows_per_second:,.0f} rows/s"
            )

    def __sklearn_tags__(self) -> Any:
        """Says that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _readers() -> dict[str, str]:
    """Returns the names of the estimators by those of their methods."""
    return {made.name: made.__name__ for made in Embedding.__subclasses__()}


def _default_names(count: int) -> list[str]:
    """Returns the names that the columns of a matrix have in a run: x0, x1, …."""
    return [f"x{i}" for i in range(count)]
