"""What all estimators share: a run, the features that it takes, and its folder."""

import contextlib
import dataclasses
import inspect
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from jaxrep.batch import Batch
from jaxrep.data.frames import Kind
from jaxrep.data.schema import Schema
from jaxrep.estimators import _folders, _runs
from jaxrep.estimators._checks import check_rows, seed_of
from jaxrep.estimators._conversion import FLOATS, Rows, features_of
from jaxrep.hyperparameters import TrainingHyperparameters, declaration
from jaxrep.methods import hyperparameters_of, recipe_name
from jaxrep.runs.folder import Run
from jaxrep.training import Callback, EpochMetrics, Progress


@dataclass(eq=False, repr=False)
class RunEstimator(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that holds a run.

    Attributes:
        run_: the trained run: its method, weights, schema and configuration.
        schema_: what its columns are, the run's `jaxrep.data.schema.Schema`.
        history_: the metrics of every epoch, as `jaxrep.training.fit` gives them.
        hyperparameters_: the values that were trained with, by name; in the place of each None the
            recipe's.
        n_features_in_: columns of X.
        feature_names_in_: their names `[n_features_in_]`, where X was a DataFrame.
    """

    name: ClassVar[str]

    recipe: str | None = None
    """The name of a set of hyperparameters, of those that `jaxrep train METHOD --help` lists; None
    stands for the first. A hyperparameter that is None is the recipe's; any other value wins."""

    verbose: bool = False
    """Whether training shows what the columns are, and its progress, on stderr."""

    random_state: Any = None
    """A number in the place of `seed`, or a generator of NumPy that draws one; None: `seed`."""

    # Two estimators are not the same because they are set alike, as hyperparameters are.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init_subclass__(cls) -> None:
        """Makes parameters of the hyperparameters that an estimator inherits: None by default.

        What follows from the rows or the backbone is no parameter, and keeps its default.
        """
        super().__init_subclass__()
        bases = (base for base in cls.__mro__[1:] if issubclass(base, TrainingHyperparameters))
        declared = next(bases, None)
        taken = {*cls.__dataclass_fields__, *inspect.get_annotations(cls)}
        made: dict[str, Any] = {}
        for field in dataclasses.fields(declared) if declared else ():
            if field.name not in taken:
                derived = declaration(field).is_derived
                default = field.default if derived else None
                setattr(cls, field.name, dataclasses.field(default=default, init=not derived))
                made[field.name] = field.type
        cls.__annotations__ = {**made, **inspect.get_annotations(cls)}

    def transform(self, X: Any) -> np.ndarray:
        """Returns the representations of rows; nothing is random.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`; of a frame
                those that were left out of it may lack.

        Returns:
            The code, the VAE's μ or SimCLR's backbone output, `[rows, latent_dim]`, in the dtype
            of X where that is float32, else in float64.

        Raises:
            ValueError: the columns are others, or a cell is not what its column is.

        Warns:
            DataWarning: categories are of no level, or cells are missing where none was in `fit`.
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
            "columns": self._columns,
            **self._to_store(),
        }
        _folders.save(self.run_, Path(path), stored, overwrite=overwrite)

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
        run = _folders.load(Path(path), cls.name, _readers())
        stored = _folders.read_estimator(run)
        made = cls._from(run, stored)
        made._expect(stored["columns"], stored["feature_names"], stored["frame"])
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
            export_run(_folders.load(saved, self.name, _readers()), Path(path))

    def _to_store(self) -> dict[str, Any]:
        """Returns what the folder is to keep of the estimator besides the run."""
        return {}

    @staticmethod
    def _trained_with(run: Run) -> dict[str, Any]:
        """Returns the parameters that say what a run was trained with."""
        recipe = run.config.get("recipe")
        known = recipe if recipe in run.method.hyperparameters_type.recipes else None
        return {**_hyperparameters_of(run), "recipe": known}

    @classmethod
    @abstractmethod
    def _from(cls, run: Run, stored: dict[str, Any]) -> Self:
        """Returns an estimator, not fitted, with a run's hyperparameters and what was stored."""

    def _hold(self, run: Run) -> None:
        """Takes over a run, trained or read."""
        self.run_ = run
        self.schema_: Schema = run.schema
        self.history_: list[EpochMetrics] = run.history
        self.hyperparameters_: dict[str, Any] = _hyperparameters_of(run)

    def _expect(self, columns: Sequence[str], named: bool, kind: Kind) -> None:
        """Expects rows with some columns.

        Args:
            columns: their names, in order.
            named: whether rows have them, which those of a matrix have not.
            kind: what rows are given back as.
        """
        self._kind, self._columns = kind, list(columns)
        self.n_features_in_ = len(columns)
        if named:
            self.feature_names_in_ = np.asarray(columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _hyperparameters(self) -> TrainingHyperparameters:
        """Returns those of the method, as the parameters say them.

        Raises:
            ValueError: there is no such recipe, or a value is out of its range.
        """
        kind = hyperparameters_of(self.name)
        return _runs.hyperparameters_from(kind, self.recipe, self._settings())

    def _recipe(self) -> str:
        """Returns the name of the recipe that is taken."""
        return recipe_name(hyperparameters_of(self.name), self.recipe)

    def _settings(self) -> dict[str, Any]:
        """Returns the parameters as the hyperparameters have them."""
        settings: dict[str, Any] = self.get_params(deep=False)
        if self.random_state is not None:
            settings["seed"] = seed_of(self.random_state)
        return settings

    def _features(self, X: Any) -> tuple[Batch, np.dtype[Any]]:
        """Returns rows as the run's features, and the dtype that X has."""
        check_is_fitted(self)
        return self._to_features(self.run_.schema, X)

    def _to_features(
        self, schema: Schema, X: Any, *, at_least: int = 1
    ) -> tuple[Batch, np.dtype[Any]]:
        """Returns rows with the expected columns as features, and the dtype that X has."""
        rows, dtype = self._checked(schema, X, at_least=at_least)
        return features_of(schema, rows), dtype

    def _checked(self, schema: Schema, X: Any, *, at_least: int = 1) -> tuple[Rows, np.dtype[Any]]:
        """Returns rows with the expected columns as blocks of a table, and the dtype that X has."""
        X = check_rows(self, X, at_least=at_least, schema=schema)
        dtype = X.dtype if getattr(X, "dtype", None) in FLOATS else np.dtype(np.float64)
        is_named = hasattr(self, "feature_names_in_")
        return Rows(X, self._columns, None if is_named else self._columns), dtype

    def _map(self, function: Any, X: Any) -> np.ndarray:
        features, dtype = self._features(X)
        made: np.ndarray = self.run_.map(function, features).astype(dtype)
        return made

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
        tags.input_tags.allow_nan = True  # a missing number stays missing, or is filled
        return tags


def _hyperparameters_of(run: Run) -> dict[str, Any]:
    """Returns the hyperparameters of a run that are an estimator's parameters."""
    made = run.method.hyperparameters
    return {field.name: getattr(made, field.name) for field in _runs.free_fields(made)}


def _readers() -> dict[str, str]:
    """Returns the names of the estimators by those of their methods."""
    kinds = RunEstimator.__subclasses__()
    return {made.name: made.__name__ for kind in kinds for made in kind.__subclasses__()}
