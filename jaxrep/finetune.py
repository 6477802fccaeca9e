"""A classifier and a regressor on a pre-trained backbone, for tables with few labels.

The backbone maps rows to representations; a head, linear or an MLP, maps those to classes or to a
number. Frozen, the backbone stays as it is and the head alone is trained; otherwise both are, each
with a learning rate of its own. A whole training is one compiled program: order, steps and all; in
float32 and without noise. Shape letters: N rows, D features, Z representation, K classes.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from flax import nnx
from jax import Array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from jaxrep import hyperparameters, optim, shuffle
from jaxrep.batch import Batch, RowSpec
from jaxrep.data import preprocessing
from jaxrep.data.preprocessing import Preprocessing
from jaxrep.errors import InputError
from jaxrep.inference import map_rows
from jaxrep.methods import AnyMethod, abstract_network
from jaxrep.networks import MLP, get_weights, with_weights
from jaxrep.runs import folder
from jaxrep.runs.folder import Run

Weights = dict[str, np.ndarray]
Params = dict[str, dict[str, Array]]
_HEAD_ROWS = 1024  # of a batch of predictions
_INIT_STREAM, _ORDER_STREAM = range(2)


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network whose representations a head is put on.

    Example:
        >>> from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
        >>> method, rows = Autoencoder(AutoencoderHyperparameters()), RowSpec(4)
        >>> weights = get_weights(method.init(rows, nnx.Rngs(0)))
        >>> Backbone(method, weights, rows).preprocessing is None
        True
    """

    method: AnyMethod
    """The method whose network makes the representations, by `embed`."""

    weights: Mapping[str, np.ndarray | Array]
    """All weights of the method's network, by name."""

    rows: RowSpec
    """What every row holds, once it is features."""

    preprocessing: Preprocessing | None = None
    """From a table's rows to features; None where rows come as features."""


@dataclass(eq=False, kw_only=True)
class _FineTuned(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What classifier and regressor share: parameters, data, training."""

    backbone: Any
    head_dims: tuple[int, ...] = ()
    frozen: bool = True
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 1e-2
    backbone_learning_rate: float = 1e-3
    l2: float = 1e-2
    seed: int = 0

    def _fit(self, X: Any, y: Array, outputs: int) -> Self:
        """Trains a head with `outputs` outputs; y is a class's number or a standardised target."""
        backbone = self.backbone_ = _as_backbone(self.backbone)
        x = _features(backbone, X)
        self.n_features_in_ = _columns(backbone)
        weights: Weights = {name: np.asarray(array) for name, array in backbone.weights.items()}
        z = map_rows(backbone.method, "embed", weights, x, backbone.rows)
        self.embedding_mean_ = z.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = z.std(axis=0, dtype=np.float64).astype(np.float32)
        self.embedding_scale_ = np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
        self._dims = (z.shape[1], *map(int, self.head_dims), outputs)
        trained, losses = train_head(
            None if self.frozen else backbone.method,
            {} if self.frozen else {name: jnp.array(array) for name, array in weights.items()},
            jnp.asarray(self.embedding_mean_),
            jnp.asarray(self.embedding_scale_),
            jnp.asarray(z if self.frozen else x),
            y,
            np.uint32(self.seed),
            int(self.epochs),
            self.l2,
            self.learning_rate,
            self.backbone_learning_rate,
            dims=self._dims,
            batch_size=min(int(self.batch_size), len(x)),
            slots=1 << (int(self.epochs) - 1).bit_length(),
        )
        self.loss_curve_ = np.asarray(losses)[: self.epochs]
        if not np.isfinite(self.loss_curve_).all():
            raise InputError(
                "the loss became infinite or NaN: lower learning_rate or backbone_learning_rate"
            )
        self.head_weights_ = {name: np.asarray(a) for name, a in trained["head"].items()}
        self.backbone_weights_ = weights | {
            name: np.asarray(array) for name, array in trained["backbone"].items()
        }
        return self

    def _outputs(self, X: Any) -> npt.NDArray[np.float32]:
        """Returns the head's outputs, `[N, outputs]`, in padded batches of one size."""
        check_is_fitted(self)
        backbone: Backbone = self.backbone_
        x = _features(backbone, X)
        if not len(x):
            raise InputError("X has no rows (0 samples); at least 1 is needed")
        z = map_rows(backbone.method, "embed", self.backbone_weights_, x, backbone.rows)
        z = (z - self.embedding_mean_) / self.embedding_scale_
        padded = np.zeros((-(-len(z) // _HEAD_ROWS) * _HEAD_ROWS, z.shape[1]), np.float32)
        padded[: len(z)] = z
        blocks = [
            np.asarray(apply_head(self.head_weights_, padded[i : i + _HEAD_ROWS], dims=self._dims))
            for i in range(0, len(padded), _HEAD_ROWS)
        ]
        return np.concatenate(blocks)[: len(z)]

    def _check(self, rows: int, y: npt.NDArray[Any]) -> None:
        _check_ranges(self)
        if y.ndim != 1:
            raise InputError(f"y has the shape {y.shape}; it must be one value a row, ({rows},)")
        if len(y) != rows:
            raise InputError(f"X has {rows} rows and y {len(y)} values; they must be as many")
        if rows < 2:
            raise InputError(f"there is {rows} row (1 sample); at least 2 are needed")


class FineTunedClassifier(ClassifierMixin, _FineTuned):  # type: ignore[misc]
    """Classifies rows by a head on a pre-trained backbone.

    The loss is the mean cross-entropy over rows + l2/2 · Σ‖W‖² over the head's kernels. The head
    sees representations standardised over the training rows, as the backbone first gave them. With
    a linear head on a frozen backbone this is scikit-learn's `LogisticRegression(C=1 / (N·l2))` on
    those representations. Adam's step sizes fall to zero along half a cosine.

    Args:
        backbone: a run's folder, a loaded `Run`, or a `Backbone`. With a run, `X` is a table
            (pyarrow or a DataFrame) with the run's columns, or an array of them in the run's
            order, in the table's own units; with a `Backbone` that has no preprocessing, features.
        head_dims: widths of the head's hidden layers; none makes it linear.
        frozen: whether the backbone stays as it is.
        epochs: passes over the training rows.
        batch_size: rows in a step.
        learning_rate: Adam's first step size for the head.
        backbone_learning_rate: the same for the backbone, where it is trained on.
        l2: strength of the penalty on the head's kernels.
        seed: decides the head's initial weights and the order of the rows.

    Attributes:
        classes_: the classes, `[K]`, sorted.
        n_features_in_: columns of X.
        head_weights_: the head's weights by name.
        backbone_weights_: the backbone's, as they were or as they became.
        loss_curve_: each epoch's mean loss with its penalty, `[epochs]`.

    Example:
        >>> from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
        >>> from jaxrep.training import fit
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
        >>> y = np.where(x[:, 0] > 0, "yes", "no")
        >>> method = Autoencoder(AutoencoderHyperparameters(epochs=20))
        >>> backbone = Backbone(method, fit(method, x).weights, RowSpec(4))
        >>> classifier = FineTunedClassifier(backbone=backbone).fit(x, y)
        >>> classifier.classes_.tolist(), bool(classifier.score(x, y) > 0.9)
        (['no', 'yes'], True)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on rows X `[N, columns]` with the classes y `[N]`.

        Raises:
            InputError: a parameter is out of its range, X does not fit the backbone, or y has
                missing values or one class alone.
        """
        y = _without_missing(y)
        self._check(_count(X), y)
        try:
            self.classes_, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise InputError(f"y holds values that cannot be sorted: {error}") from error
        if len(self.classes_) < 2:
            raise InputError(
                f"y has one class alone, {self.classes_.tolist()[0]!r}; at least 2 are needed"
            )
        return self._fit(X, jnp.asarray(codes, jnp.int32), len(self.classes_))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:
        """Returns the probability of each class, `[N, K]`."""
        logits = self._outputs(X)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = exponentials / exponentials.sum(
            axis=1, keepdims=True
        )
        return probabilities

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the most probable class of each row, `[N]`."""
        chosen = self._outputs(X).argmax(axis=1)
        classes: npt.NDArray[Any] = self.classes_[chosen]
        return classes


class FineTunedRegressor(RegressorMixin, _FineTuned):  # type: ignore[misc]
    """Predicts a number for each row by a head on a pre-trained backbone.

    The loss is the mean of (t − t̂)²/2 over rows + l2/2 · Σ‖W‖² over the head's kernels, t being y
    standardised over the training rows. With a linear head on a frozen backbone this is
    scikit-learn's `Ridge(alpha=N·l2)` of t on the standardised representations.

    Args:
        backbone: as of `FineTunedClassifier`, and so all others.
        head_dims: widths of the head's hidden layers; none makes it linear.
        frozen: whether the backbone stays as it is.
        epochs: passes over the training rows.
        batch_size: rows in a step.
        learning_rate: Adam's first step size for the head.
        backbone_learning_rate: the same for the backbone, where it is trained on.
        l2: strength of the penalty on the head's kernels.
        seed: decides the head's initial weights and the order of the rows.

    Attributes:
        target_mean_: the mean of y over the training rows.
        target_scale_: its standard deviation.
        n_features_in_: columns of X.
        head_weights_: the head's weights by name.
        backbone_weights_: the backbone's, as they were or as they became.
        loss_curve_: each epoch's mean loss with its penalty, `[epochs]`.

    Example:
        >>> from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
        >>> from jaxrep.training import fit
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
        >>> method = Autoencoder(AutoencoderHyperparameters(epochs=20))
        >>> backbone = Backbone(method, fit(method, x).weights, RowSpec(4))
        >>> regressor = FineTunedRegressor(backbone=backbone, frozen=False).fit(x, 5 * x[:, 0])
        >>> bool(regressor.score(x, 5 * x[:, 0]) > 0.9)
        True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on rows X `[N, columns]` with the numbers y `[N]`.

        Raises:
            InputError: a parameter is out of its range, X does not fit the backbone, or y has
                values that are missing, infinite, no numbers, or all the same.
        """
        y = _without_missing(y)
        self._check(_count(X), y)
        try:
            numbers = y.astype(np.float64, casting="unsafe" if y.dtype.kind != "c" else "safe")
        except (TypeError, ValueError) as error:
            raise InputError(f"y must be numbers: {error}") from error
        if not np.isfinite(numbers).all():
            raise InputError("y has infinite values; correct them or leave their rows out")
        unit = float(np.abs(numbers).max()) or 1.0  # so that no square is infinite, or 0
        self.target_mean_ = unit * float(np.mean(numbers / unit))
        self.target_scale_ = unit * float(np.std(numbers / unit))
        if self.target_scale_ == 0:
            raise InputError(f"y is {numbers[0]:g} in all rows; there is nothing to predict")
        standardised = (numbers - self.target_mean_) / self.target_scale_
        return self._fit(X, jnp.asarray(standardised, jnp.float32), 1)

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Returns each row's number, `[N]`."""
        standardised = self._outputs(X)[:, 0].astype(np.float64)
        return standardised * self.target_scale_ + self.target_mean_


@functools.partial(
    jax.jit, static_argnames=("dims", "batch_size", "slots"), donate_argnames="backbone"
)
def train_head(
    method: AnyMethod | None,
    backbone: dict[str, Array],
    mean: Array,
    scale: Array,
    x: Array,
    y: Array,
    seed: int | Array,
    epochs: int | Array,
    l2: float | Array,
    learning_rate: float | Array,
    backbone_learning_rate: float | Array,
    *,
    dims: tuple[int, ...],
    batch_size: int,
    slots: int,
) -> tuple[Params, Array]:
    """Trains a head, and the backbone below it, from the first step to the last.

    Args:
        method: whose network embeds rows; None where x holds representations.
        backbone: weights of the method's network by name; none without a method.
        mean: subtracted from representations, `[Z]`.
        scale: then divides them, `[Z]`.
        x: rows, `[N, D]`, or representations, `[N, Z]`.
        y: classes as int32 or targets as float32, `[N]`.
        seed: decides the head's initial weights and the order of the rows.
        epochs: passes over the rows.
        l2: strength of the penalty on the head's kernels.
        learning_rate: first step size of the head.
        backbone_learning_rate: first step size of the backbone.
        dims: sizes of the head from Z to its outputs.
        batch_size: B, at most N.
        slots: at least `epochs`.

    Returns:
        The weights of `head` and `backbone`, and each epoch's mean loss in the first of `slots`.
    """
    size = len(x)
    steps_per_epoch = -(-size // batch_size)
    key = jax.random.key(seed)
    head = MLP(dims, rngs=nnx.Rngs(jax.random.fold_in(key, _INIT_STREAM)))
    params: Params = {"head": get_weights(head), "backbone": backbone}
    adam = optim.scale_by_adam()
    rates = {"head": learning_rate, "backbone": backbone_learning_rate}
    last = epochs * steps_per_epoch

    def loss(params: Params, rows: Array, inside: Array) -> Array:
        z = x[rows]
        if method is not None:
            with method.matmul_precision():
                abstract = abstract_network(method, RowSpec(x.shape[1]))
                network: Any = with_weights(abstract, params["backbone"])
                z = network.embed(Batch(z))
        z = (z - mean[None, :]) / scale[None, :]
        return head_loss(params["head"], z, y[rows], inside, l2, dims=dims)

    def step(i: Array, carry: tuple[Params, Any, Array]) -> tuple[Params, Any, Array]:
        params, state, losses = carry
        epoch, place = jnp.divmod(i, steps_per_epoch)
        rows, inside = _rows_of_step(key, epoch, place, size=size, batch_size=batch_size)
        value, gradients = jax.value_and_grad(loss)(params, rows, inside)
        updates, state = adam.update(gradients, state)
        decay = 0.5 * (1 + jnp.cos(jnp.pi * i / last))
        moved: Params = {
            part: {
                name: array - rates[part] * decay * updates[part][name]
                for name, array in params[part].items()
            }
            for part in params
        }
        share = jnp.sum(inside) / size
        return moved, state, losses.at[epoch].add(value * share)

    with jax.default_matmul_precision("highest"):
        start = (params, adam.init(params), jnp.zeros(slots, jnp.float32))
        params, _, losses = jax.lax.fori_loop(0, last, step, start)
    return params, losses


def head_loss(
    head: dict[str, Array], z: Array, y: Array, weights: Array, l2: float | Array, *, dims: Any
) -> Array:
    """Computes the loss of a batch: Σ wᵢℓᵢ / Σ wᵢ + l2/2 · Σ‖W‖² over the kernels.

    ℓ is the cross-entropy of the logits where y are whole numbers, (t − t̂)²/2 where they are not.

    Args:
        head: weights by name.
        z: standardised representations, `[B, Z]`.
        y: classes or targets, `[B]`.
        weights: row weights, `[B]`; 0 for padding.
        l2: strength of the penalty.
        dims: sizes of the head.

    Example:
        >>> zeros = {"0.bias": jnp.zeros(2), "0.kernel": jnp.zeros((3, 2))}
        >>> y = jnp.array([0, 1])
        >>> print(head_loss(zeros, jnp.ones((2, 3)), y, jnp.ones(2), 0.0, dims=(3, 2)).round(4))
        0.6931
    """
    outputs = with_weights(_abstract_head(dims), head)(z)
    if jnp.issubdtype(y.dtype, jnp.integer):
        log_probabilities = jax.nn.log_softmax(outputs, axis=-1)
        losses = -jnp.take_along_axis(log_probabilities, y[:, None], axis=-1)[:, 0]
    else:
        losses = 0.5 * (outputs[:, 0] - y) ** 2
    penalty = sum(jnp.sum(array**2) for name, array in head.items() if name.endswith("kernel"))
    return jnp.sum(weights * losses) / jnp.sum(weights) + 0.5 * l2 * penalty


@functools.partial(jax.jit, static_argnames="dims")
def apply_head(head: dict[str, Array], z: Array, *, dims: tuple[int, ...]) -> Array:
    """Maps standardised representations `[B, Z]` to a head's outputs, `[B, dims[-1]]`."""
    with jax.default_matmul_precision("highest"):
        return with_weights(_abstract_head(dims), head)(z)


def _abstract_head(dims: tuple[int, ...]) -> MLP:
    head: MLP = nnx.eval_shape(lambda: MLP(dims, rngs=nnx.Rngs(0)))
    return head


def _rows_of_step(
    key: Array, epoch: Array, place: Array, *, size: int, batch_size: int
) -> tuple[Array, Array]:
    """Returns the rows of a step and their weights; padding repeats rows that weigh nothing."""
    order = jax.random.fold_in(jax.random.fold_in(key, _ORDER_STREAM), epoch)
    words = jax.random.bits(order, (shuffle.rounds(size),))
    positions = jnp.uint32(place * batch_size) + jnp.arange(batch_size, dtype=jnp.uint32)
    inside = positions < size
    rows = shuffle.shuffled(jnp.where(inside, positions, 0), words, size=size)
    return rows, inside.astype(jnp.float32)


def _as_backbone(given: Any) -> Backbone:
    if isinstance(given, Backbone):
        return given
    run = folder.load(Path(given)) if isinstance(given, str | os.PathLike) else given
    if not isinstance(run, Run):
        raise InputError(
            f"backbone is {type(given).__name__}; it must be a run's folder, a Run or a Backbone"
        )
    return Backbone(run.method, run.weights, RowSpec(run.preprocessing.width), run.preprocessing)


def _features(backbone: Backbone, X: Any) -> npt.NDArray[np.float32]:
    """Returns rows as the backbone's features, `[N, D]`."""
    prepared = backbone.preprocessing
    if prepared is not None:
        return preprocessing.apply(prepared, _as_table(prepared, X), source="X")
    with np.errstate(over="ignore"):
        x = np.asarray(X, np.float32)
    if x.ndim != 2 or x.shape[1] != backbone.rows.numbers:
        raise InputError(f"X has the shape {x.shape}; it must be (rows, {backbone.rows.numbers})")
    if not np.isfinite(x).all():
        raise InputError(
            "X has values that are missing, infinite or beyond float32; correct them or leave "
            "their rows out"
        )
    return x


def _as_table(prepared: Preprocessing, X: Any) -> pa.Table:
    if isinstance(X, pa.Table):
        return X
    if hasattr(X, "iloc"):  # pandas, whose index is not a column
        return pa.Table.from_pandas(X, preserve_index=False)
    if hasattr(X, "__arrow_c_stream__"):
        return pa.table(X)
    rows = np.asarray(X)
    names = [column.name for column in prepared.columns]
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise InputError(f"X has the shape {rows.shape}; it must be (rows, {len(names)})")
    return pa.table({name: pa.array(rows[:, i].tolist()) for i, name in enumerate(names)})


def _columns(backbone: Backbone) -> int:
    prepared = backbone.preprocessing
    return backbone.rows.numbers if prepared is None else len(prepared.columns)


def _count(X: Any) -> int:
    if not isinstance(X, pa.Table) and not hasattr(X, "__len__"):
        raise InputError(f"X is {type(X).__name__}; it must be a table, a DataFrame or an array")
    return X.num_rows if isinstance(X, pa.Table) else len(X)


def _without_missing(y: Any) -> npt.NDArray[Any]:
    """Returns y as an array; refuses None, NaN and pandas' NA, which cannot be compared."""
    values = np.asarray(y)
    missing = [
        value is None or type(value).__name__ == "NAType" or value != value
        for value in values.ravel().tolist()
    ]
    if any(missing):
        raise InputError(f"y is missing in {sum(missing)} of {len(missing)} rows; leave them out")
    return values


def _check_ranges(given: _FineTuned) -> None:
    """Raises an error for the first parameter out of its range, as `hyperparameters.check` does."""
    if not isinstance(given.frozen, bool | np.bool_):
        raise InputError(f"frozen is {given.frozen!r}; it must be True or False")
    shared = hyperparameters.TrainingHyperparameters(
        hidden_dims=given.head_dims,
        epochs=given.epochs,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        seed=given.seed,
    )
    others = {"l2": given.l2, "backbone_learning_rate": given.backbone_learning_rate}
    checked = {"weight_decay": shared}
    for name, value in others.items():  # weight decay has their range
        checked[name] = hyperparameters.TrainingHyperparameters(weight_decay=value)
    for name, made in checked.items():
        try:
            hyperparameters.check(made)
        except ValueError as error:
            text = str(error).replace("hidden_dims", "head_dims").replace("weight_decay", name)
            raise InputError(text) from error
