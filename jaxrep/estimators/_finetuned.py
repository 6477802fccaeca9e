"""A classifier and a regressor: a head on the network of a run that was trained without labels."""

import copy
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from jaxrep.data.frames import kind_of
from jaxrep.data.targets import Classes, Numbers, fit_classes, fit_numbers
from jaxrep.errors import InputError
from jaxrep.estimators import _folders, _runs
from jaxrep.estimators._checks import check_weights
from jaxrep.estimators._conversion import SOURCE, names_of, warn
from jaxrep.estimators._embedding import Embedding
from jaxrep.estimators._estimator import RunEstimator
from jaxrep.methods import ClassifierHyperparameters, RegressorHyperparameters
from jaxrep.runs import folder
from jaxrep.runs.folder import Run
from jaxrep.runs.labelled import Labelled, with_label

BACKBONE = "backbone"


@dataclass(eq=False, repr=False, kw_only=True)
class FineTuned(RunEstimator):
    """What classifier and regressor share: the backbone, the training, the representations.

    Attributes:
        run_: the fine-tuned run: its method, weights, schema, target and configuration.
        schema_: what its columns are, the run's `jaxrep.data.schema.Schema`.
        history_: the metrics of every epoch, as `jaxrep.training.fit` gives them.
        hyperparameters_: the values that were trained with, by name.
        held_out_: how good the predictions of the rows held out are, by metric; None where
            `validation_fraction` is 0.
        n_features_in_: columns of X.
        feature_names_in_: their names `[n_features_in_]`, where X was a DataFrame with the names
            that the backbone knows.
    """

    backbone: Any = None
    """What the head is put on: a fitted estimator of `jaxrep.estimators`, a loaded `Run`, or a
    run's folder. It must be given before `fit`; cloning keeps it as it is."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on labelled rows; columns are standardised as the backbone has them.

        Args:
            X: rows as the backbone takes them, `[rows, columns]`: a matrix, a DataFrame or a table
                of pyarrow; a DataFrame or a table, where the backbone has columns of categories.
            y: the label of each row, `[rows]`, none missing.
            sample_weight: how much each row counts, `[rows]`, at least 0; only the ratios matter. A
                row of weight 0 is left out, though its class is known. None counts all alike.

        Returns:
            The estimator itself.

        Raises:
            ValueError: a parameter is out of its range, there is no such backbone, X does not fit
                it, or y cannot be predicted.
            DivergedError: the loss became infinite or NaN.
            KeyboardInterrupt: Ctrl-C came before the first step, or twice; a first one ends the
                training early.
        """
        hyperparameters = self._hyperparameters()
        run, is_named, columns = self._read_backbone()
        named = is_named and names_of(X) is not None
        self._expect(columns, named, kind_of(X))
        name = _label_name(y, run)
        fitted = with_label(run.schema, name)
        features, _ = self._to_features(fitted, X, at_least=2)
        if named:  # of X, which may have columns that were left out, or lack them
            self._expect(names_of(X) or columns, named, self._kind)
        labels = self._check_labels(y, len(features.numbers))
        weighted = self._weights(labels, sample_weight)
        weights = check_weights(weighted, len(features.numbers))
        kept = np.flatnonzero(weights)
        target = self._fit_target(labels, kept, name)
        rows = Labelled(
            SOURCE,
            fitted,
            lambda note: features,
            kept,
            labels[kept],
            None if weighted is None else weights[kept],
        )
        with self._reporter() as (note, callbacks):
            tuned, sentences = _runs.finetune(
                run,
                hyperparameters,
                rows,
                target,
                recipe=self._recipe(),
                note=note,
                callbacks=callbacks,
            )
        warn(sentences)
        self._hold(tuned)
        return self

    def _read_backbone(self) -> tuple[Run, bool, list[str]]:
        """Returns the backbone's run, and its columns: whether they are named, and how."""
        given = self.backbone
        if isinstance(given, Embedding):
            check_is_fitted(given)
            return given.run_, hasattr(given, "feature_names_in_"), given._columns
        run = folder.load(Path(given)) if isinstance(given, str | os.PathLike) else given
        if not isinstance(run, Run):
            raise InputError(
                f"backbone is {type(given).__name__}; it must be a fitted estimator of "
                "jaxrep.estimators, a loaded Run or a run's folder"
            )
        stored = _folders.read_estimator(run)
        return run, stored["feature_names"], stored["columns"]

    def _check_labels(self, y: Any, rows: int) -> npt.NDArray[Any]:
        """Returns y as an array, `[rows]`."""
        if y is None:
            raise InputError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        labels: npt.NDArray[Any] = column_or_1d(y, warn=True)
        if len(labels) != rows:
            raise InputError(f"X has {rows} rows and y {len(labels)} values; they must be as many")
        return labels

    def _weights(self, labels: npt.NDArray[Any], given: Any) -> Any:
        """Returns the weights of rows; None where all count alike."""
        del labels
        return given

    @abstractmethod
    def _fit_target(
        self, labels: npt.NDArray[Any], kept: npt.NDArray[np.intp], name: str
    ) -> Classes | Numbers:
        """Learns what is to be predicted.

        Args:
            labels: y, `[rows]`.
            kept: numbers of the rows whose weight is not 0.
            name: of the label.
        """

    @classmethod
    def _from(cls, run: Run, stored: dict[str, Any]) -> Self:
        return cls(**cls._trained_with(run), backbone=run.config["finetuned"]["run"])

    def _hold(self, run: Run) -> None:
        super()._hold(run)
        self.held_out_: dict[str, float] | None = run.config["result"]["held_out"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the parameters; the backbone is trained, so that its own are no longer any.

        Args:
            deep: ignored.
        """
        del deep
        params: dict[str, Any] = super().get_params(deep=False)
        return params

    def set_params(self, **params: Any) -> Self:
        """Sets parameters.

        Args:
            **params: by name.

        Raises:
            ValueError: there is no such parameter.
        """
        if any(name.startswith(f"{BACKBONE}__") for name in params):
            raise InputError("the backbone is trained already; fit another, and set backbone to it")
        made: Self = super().set_params(**params)
        return made

    def __sklearn_clone__(self) -> Self:
        """Returns an estimator that is not fitted, on the same backbone, which stays so."""
        without = copy.copy(self)
        without.backbone = None
        made: Self = BaseEstimator.__sklearn_clone__(without)
        made.backbone = self.backbone
        return made


@dataclass(eq=False, repr=False, kw_only=True)
class FineTunedClassifier(ClassifierMixin, FineTuned, ClassifierHyperparameters):  # type: ignore[misc]
    """Classifies rows by a head on a pre-trained backbone.

    The loss is the cross-entropy, a mean over rows by their weights, plus l2/2 · Σ‖W‖² over the
    head's kernels. The head sees representations standardised over the training rows. With a linear
    head on a frozen backbone this is scikit-learn's `LogisticRegression(C=1 / (N·l2))` on them.

    Takes the fields of `ClassifierHyperparameters` that no backbone and no label decides as
    parameters, each None: from the recipe; and `recipe`, `backbone`, `random_state` and `verbose`.
    `class_weight` may also be a mapping of classes to weights, as scikit-learn has it.

    Attributes:
        classes_: the classes, `[K]`, sorted, in the dtype of y.

    Example:
        >>> from jaxrep.estimators import AutoencoderEmbedding
        >>> X = np.random.default_rng(0).normal(size=(64, 4))
        >>> y = np.where(X[:, 0] > 0, "yes", "no")
        >>> backbone = AutoencoderEmbedding(epochs=20).fit(X)
        >>> classifier = FineTunedClassifier(backbone=backbone).fit(X, y)
        >>> classifier.classes_.tolist(), bool(classifier.score(X, y) > 0.8)
        (['no', 'yes'], True)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on rows of known classes; as `FineTuned.fit`."""
        super().fit(X, y, sample_weight)
        self.classes_: npt.NDArray[Any] = self.classes_.astype(column_or_1d(y).dtype)
        return self

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        if isinstance(self.class_weight, Mapping):
            settings["class_weight"] = "none"
        return settings

    def _weights(self, labels: npt.NDArray[Any], given: Any) -> Any:
        by_class: Any = self.class_weight
        if not isinstance(by_class, Mapping):
            return given
        weights = compute_sample_weight(dict(by_class), labels)
        return weights * check_weights(given, len(labels))

    def _to_store(self) -> dict[str, Any]:
        by_class: Any = self.class_weight
        if not isinstance(by_class, Mapping):
            return {}
        return {"class_weights": [float(by_class.get(each, 1)) for each in self.classes_]}

    @classmethod
    def _from(cls, run: Run, stored: dict[str, Any]) -> Self:
        made = super()._from(run, stored)
        by_class = stored["class_weights"]
        if by_class is not None and isinstance(run.target, Classes):
            classes = run.target.decode(np.arange(len(run.target.labels))).tolist()
            made.set_params(class_weight=dict(zip(classes, by_class, strict=False)))
        return made

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Returns the probability of each class, `[rows, K]`, in the dtype of X.

        Args:
            X: rows with the columns of the training, `[rows, columns]`.
        """
        x, dtype = self._features(X)
        predicted = self.run_.map("predict", x).astype(np.float64)
        # In float32 they add up to 1 but for its rounding, of which metrics in float64 would warn.
        probabilities: npt.NDArray[Any] = predicted / predicted.sum(axis=1, keepdims=True)
        return probabilities.astype(dtype)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the most probable class of each row, `[rows]`, in the dtype of y."""
        x, _ = self._features(X)
        classes: npt.NDArray[Any] = self.classes_[self.run_.map("predict", x).argmax(axis=1)]
        return classes

    def _fit_target(
        self, labels: npt.NDArray[Any], kept: npt.NDArray[np.intp], name: str
    ) -> Classes:
        if labels.dtype.kind == "f" and np.isfinite(labels).all():
            check_classification_targets(labels)  # refuses quantities in scikit-learn's words
        return fit_classes(labels, name, SOURCE)

    def _hold(self, run: Run) -> None:
        super()._hold(run)
        assert isinstance(run.target, Classes)
        self.classes_ = run.target.decode(np.arange(len(run.target.labels)))


@dataclass(eq=False, repr=False, kw_only=True)
class FineTunedRegressor(RegressorMixin, FineTuned, RegressorHyperparameters):  # type: ignore[misc]
    """Predicts a number for each row by a head on a pre-trained backbone.

    The loss is the mean of (t − t̂)²/2 over rows by their weights, plus l2/2 · Σ‖W‖² over the head's
    kernels, t being y standardised over the rows. The head sees representations standardised over
    the training rows. With a linear head on a frozen backbone this is scikit-learn's
    `Ridge(alpha=N·l2)` of t on them.

    Takes the fields of `RegressorHyperparameters` that no backbone decides as parameters, each
    None: from the recipe; and `recipe`, `backbone`, `random_state` and `verbose`.

    Example:
        >>> from jaxrep.estimators import AutoencoderEmbedding
        >>> X = np.random.default_rng(0).normal(size=(64, 4))
        >>> backbone = AutoencoderEmbedding(epochs=20).fit(X)
        >>> regressor = FineTunedRegressor(backbone=backbone, frozen=False).fit(X, 5 * X[:, 0])
        >>> bool(regressor.score(X, 5 * X[:, 0]) > 0.9)
        True
    """

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Returns the number of each row, `[rows]`, in the units of y.

        Args:
            X: rows with the columns of the training, `[rows, columns]`.
        """
        x, _ = self._features(X)
        assert isinstance(self.run_.target, Numbers)
        return self.run_.target.decode(self.run_.map("predict", x)[:, 0])

    def _fit_target(
        self, labels: npt.NDArray[Any], kept: npt.NDArray[np.intp], name: str
    ) -> Numbers:
        return fit_numbers(labels[kept], name, SOURCE)


def _label_name(y: Any, run: Run) -> str:
    """Returns what the fine-tuned run calls its label: as y is called, or the backbone's label was.

    No column of X may have the name, which a folder keeps of either.
    """
    given = getattr(y, "name", None)
    name = given if isinstance(given, str) and given else run.schema.label or "y"
    while name in (column.name for column in run.schema.columns):
        name += "_"
    return name
