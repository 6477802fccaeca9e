"""What all estimators share: a run, the features that it takes, and its folder."""

import contextlib
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxrep.data.frames import Kind
from jaxrep.data.schema import Schema
from jaxrep.errors import InputError
from jaxrep.estimators import _runs
from jaxrep.estimators._conversion import FLOATS, SOURCE, features_of, is_frame, is_numeric
from jaxrep.runs.folder import Run
from jaxrep.training import Callback, EpochMetrics, Progress


@dataclass(eq=False, repr=False)
class RunEstimator(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that holds a run.

    Attributes:
        run_: the trained run: its method, weights, schema and configuration.
        history_: the metrics of every epoch, as `jaxrep.training.fit` gives them.
        n_features_in_: columns of X.
        feature_names_in_: their names `[n_features_in_]`, where X was a DataFrame.
    """

    name: ClassVar[str]

    verbose: bool = False
    """Whether training shows its progress and its warnings about columns on stderr."""

    # Two estimators are not the same because they are set alike, as hyperparameters are.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def transform(self, X: Any) -> np.ndarray:
        """Returns the representations of rows; nothing is random.

        Args:
            X: rows with the columns of the training, `[rows, columns]`.

        Returns:
            The code, the VAE's μ or SimCLR's backbone output, `[rows, latent_dim]`, in the dtype
            of X.
        """
        return self._map("embed", X)

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
            "feature_names": hasattr(self, "feature_names_in_"),
            "frame": self._kind,
            **self._to_store(),
        }
        _runs.save(self.run_, Path(path), stored, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads a run folder that `save` or the command line wrote; nothing in it executes.

        Args:
            path: of the folder.

        Returns:
            A fitted estimator with the run's hyperparameters.

        Raises:
            InputError: the run is of another method.
            ModelFormatError: there is no finished run, or it is damaged.
        """
        run = _runs.load(Path(path), cls.name, _readers())
        stored = _runs.read_estimator(run)
        made = cls._from(run, stored)
        made._expect(run, stored["feature_names"], stored["frame"])
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

    def _to_store(self) -> dict[str, Any]:
        """Returns what the folder is to keep of the estimator besides the run."""
        return {}

    @classmethod
    @abstractmethod
    def _from(cls, run: Run, stored: dict[str, Any]) -> Self:
        """Returns an estimator, not fitted, with a run's hyperparameters and what was stored."""

    def _hold(self, run: Run) -> None:
        """Takes over a run, trained or read."""
        self.run_ = run
        self.history_: list[EpochMetrics] = run.history

    def _expect(self, run: Run, named: bool, kind: Kind) -> None:
        """Expects rows with a run's columns.

        Args:
            run: whose columns.
            named: whether they have names, which those of a matrix have not.
            kind: what rows are given back as.
        """
        self._kind: Kind = kind
        names = list(run.schema.names)
        if not named:
            names += [c.name for c in run.schema.left_out if c.kind == "constant"]
        self.n_features_in_ = len(names)
        if named:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _features(self, X: Any) -> tuple[np.ndarray, np.dtype[Any]]:
        """Returns rows as the run's features, and the dtype that X has."""
        check_is_fitted(self)
        return self._to_features(self.run_.schema, X)

    def _to_features(
        self, schema: Schema, X: Any, *, at_least: int = 1
    ) -> tuple[np.ndarray, np.dtype[Any]]:
        """Returns rows with the expected columns as features, and the dtype that X has."""
        X = self._checked(X, at_least=at_least, schema=schema)
        dtype = X.dtype if getattr(X, "dtype", None) in FLOATS else np.dtype(np.float64)
        return features_of(schema, X), dtype

    def _checked(
        self, X: Any, *, at_least: int, reset: bool = False, schema: Schema | None = None
    ) -> Any:
        """Returns rows that scikit-learn has found good, a matrix as floats.

        Args:
            X: what the caller gives.
            at_least: how many rows there must be.
            reset: whether their columns are those to expect from now on.
            schema: that the rows are for; without one they are for a new one.

        Raises:
            ValueError: too few rows, other columns, or in a matrix values that are no numbers.
        """
        if not is_frame(X):
            if schema is not None and not is_numeric(schema) and not issparse(X):
                raise InputError(
                    f"{SOURCE} is {type(X).__name__}; this run has columns of categories: give a "
                    "DataFrame with the columns that it was trained on"
                )
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=FLOATS,
                accept_sparse="csr",
                ensure_all_finite="allow-nan",
                ensure_min_samples=at_least,
                order="C" if reset else None,
            )
        if reset or not schema or set(_names_of(X)) <= set(self._expected()):
            validate_data(self, X, reset=reset, skip_check_array=True)
        if (rows := _rows_of(X)) < at_least:
            raise InputError(
                f"{SOURCE}: {rows} sample{'s' * (rows != 1)}; a minimum of {at_least} is required"
            )
        return X

    def _expected(self) -> list[str]:
        """Returns the names of the columns that X had in `fit`; none where they had no names."""
        return list(getattr(self, "feature_names_in_", ()))

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
        """Says that float32 stays float32, and what X may be."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True  # a missing number is filled, as `fit` has found
        return tags


def _names_of(X: Any) -> list[str]:
    """Returns the names of the columns of a DataFrame, or of a table of Arrow."""
    return [str(name) for name in getattr(X, "column_names", None) or list(X.columns)]


def _rows_of(X: Any) -> int:
    rows: int = X.num_rows if hasattr(X, "num_rows") else len(X)
    return rows


def _readers() -> dict[str, str]:
    """Returns the names of the estimators by those of their methods."""
    kinds = RunEstimator.__subclasses__()
    return {made.name: made.__name__ for kind in kinds for made in kind.__subclasses__()}
