"""Weights of rows, random states, and Ctrl-C while an estimator trains."""

import os
import pickle
import signal

import numpy as np
import pytest
from sklearn.base import clone

from jaxrep.errors import DataWarning, InputError
from jaxrep.estimators import (
    AutoencoderEmbedding,
    FineTunedClassifier,
    SimCLREmbedding,
    VAEEmbedding,
)
from jaxrep.estimators._estimator import RunEstimator
from jaxrep.training import Callback

pytestmark = pytest.mark.usefixtures("compiled_fast")
SMALL = {"recipe": "seed", "hidden_dims": (), "latent_dim": 2, "epochs": 3}
ROWS = 60


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(ROWS, 4)) @ np.diag([1, 2, 3, 4]) + 5


def same(a, b):
    one, other = a.run_.weights, b.run_.weights
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def test_the_loss_weighs_rows_and_one_of_weight_2_counts_as_two(X):
    given = {**SMALL, "epochs": 1, "batch_size": ROWS, "learning_rate": 1e-12}
    still = AutoencoderEmbedding(**given).fit(X)  # so small a step changes nothing
    errors = -still.score_samples(X)
    weights = np.random.default_rng(1).integers(1, 4, ROWS)
    expected = (weights * errors).sum() / weights.sum()
    assert abs(expected - errors.mean()) > 1e-3
    (epoch,) = AutoencoderEmbedding(**given).fit(X, sample_weight=weights).history_
    assert epoch["loss"] == pytest.approx(expected, rel=1e-5)
    repeated = np.repeat(errors, weights)
    assert epoch["loss"] == pytest.approx(repeated.mean(), rel=1e-5)


@pytest.mark.parametrize("kind", [AutoencoderEmbedding, VAEEmbedding, SimCLREmbedding])
@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_rows_of_no_weight_are_as_if_they_were_not_there(kind, held_out, X):
    weights = np.tile([3.0, 0.0], ROWS // 2)
    other = np.where(weights[:, None] > 0, X, 1e6)
    model = kind(**SMALL, validation_fraction=held_out)
    made = clone(model).fit(X, sample_weight=weights)
    alone = clone(model).fit(X[weights > 0], sample_weight=np.ones(ROWS // 2))
    assert same(made, alone) and made.history_ == alone.history_
    assert made.offset_ == alone.offset_ and made.schema_ == alone.schema_
    assert same(clone(model).fit(other, sample_weight=weights), made)
    assert made.run_.config["result"]["rows"] == round(ROWS / 2 * (1 - held_out))


def test_only_the_ratios_of_weights_matter(X):
    weights = np.random.default_rng(2).integers(0, 4, ROWS).astype(float)
    models = [VAEEmbedding(**SMALL).fit(X, None, w) for w in (weights, 1024 * weights)]
    assert same(*models)
    assert not same(models[0], VAEEmbedding(**SMALL).fit(X))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(ROWS - 1), "60 rows and sample_weight 59;"),
        (-np.ones(ROWS), "negative"),
        (np.full(ROWS, np.nan), "missing"),
        (np.eye(ROWS)[0], "zero in all but 1 of 60 rows"),
    ],
)
def test_bad_weights_are_refused(weights, message, X):
    with pytest.raises(InputError, match=message):
        VAEEmbedding(**SMALL).fit(X, sample_weight=weights)


def test_a_random_state_takes_the_place_of_the_seed(X):
    by_seed = VAEEmbedding(**SMALL, seed=7).fit(X)
    assert same(VAEEmbedding(**SMALL, random_state=7).fit(X), by_seed)
    assert not same(VAEEmbedding(**SMALL, random_state=8, seed=7).fit(X), by_seed)
    for make in (np.random.RandomState, np.random.default_rng):
        first, again = (VAEEmbedding(**SMALL, random_state=make(0)).fit(X) for _ in range(2))
        assert same(first, again)
        generator = make(0)
        twice = [VAEEmbedding(**SMALL, random_state=generator).fit(X) for _ in range(2)]
        assert same(twice[0], first) and not same(*twice)
    with pytest.raises(ValueError, match="-1"):
        VAEEmbedding(random_state=-1).fit(X)
    y = X[:, 0] > 5
    heads = [
        FineTunedClassifier(backbone=by_seed, epochs=2, **given).fit(X, y)
        for given in ({"seed": 7}, {"random_state": 7}, {})
    ]
    assert same(heads[0], heads[1]) and not same(heads[0], heads[2])


class Interrupt(Callback):
    """Presses Ctrl-C once a step is done, and again at others."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def on_step(self, step, metrics):
        if self.steps and step >= self.steps[0]:
            self.steps.pop(0)
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def pressed(monkeypatch):
    """Sets at which steps Ctrl-C is pressed in any `fit`."""
    import contextlib

    # A shell starts what runs in its background with Ctrl-C ignored: the second one, which does
    # what it did before `fit`, would do nothing.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(*steps):
        callback = Interrupt(*steps)

        @contextlib.contextmanager
        def reporter(self):
            yield (lambda message: None), [callback]

        monkeypatch.setattr(RunEstimator, "_reporter", reporter)

    yield press
    signal.signal(signal.SIGINT, before)


MANY = {**SMALL, "epochs": 100_000, "batch_size": 16}


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_ctrl_c_keeps_what_has_been_learned(held_out, X, pressed, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    pressed(30)
    model = VAEEmbedding(**MANY, validation_fraction=held_out)
    with pytest.warns(DataWarning, match=r"interrupted after \d+ steps; the estimator keeps"):
        model.fit(X)
    steps = model.run_.config["result"]["steps"]
    assert 30 <= steps < 400_000 and len(model.history_) < 100_000
    assert signal.getsignal(signal.SIGINT) is handler
    model.save(tmp_path / "run")
    for copy in (VAEEmbedding.load(tmp_path / "run"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copy.score_samples(X), model.score_samples(X))
    if not held_out:
        pressed()
        alike = VAEEmbedding(**MANY | {"epochs": len(model.history_)}).fit(X)
        whole = steps == len(model.history_) * -(-ROWS // 16)
        assert same(alike, model) or not whole


def test_a_second_ctrl_c_interrupts(X, pressed):
    pressed(30, 30)
    model = VAEEmbedding(**MANY)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "run_")


def test_ctrl_c_before_the_first_step_interrupts(X, monkeypatch):
    import contextlib

    from jaxrep.estimators import _runs

    @contextlib.contextmanager
    def listening(signals):
        yield lambda: True

    monkeypatch.setattr(_runs, "listening", listening)
    with pytest.raises(KeyboardInterrupt, match="before the first step"):
        VAEEmbedding(**SMALL).fit(X)


def test_ctrl_c_keeps_what_a_warm_start_has_added(X, pressed):
    model = VAEEmbedding(**SMALL, batch_size=16, warm_start=True).fit(X)
    first = model.history_
    pressed(30)
    with pytest.warns(DataWarning, match="interrupted after"):
        model.set_params(epochs=100_000).fit(X)
    assert model.history_[:3] == first and 3 < len(model.history_) < 100_000
    pressed()
    model.set_params(epochs=2).fit(X)
    assert [epoch["epoch"] for epoch in model.history_] == list(range(1, len(model.history_) + 1))


def test_ctrl_c_keeps_what_a_head_has_learned(X, pressed):
    backbone = VAEEmbedding(**SMALL).fit(X)
    pressed(30)
    head = FineTunedClassifier(backbone=backbone, epochs=100_000, batch_size=16)
    with pytest.warns(DataWarning, match="interrupted after"):
        head.fit(X, X[:, 0] > 5)
    assert head.predict(X).shape == (ROWS,) and len(head.history_) < 100_000


def test_a_mapping_weighs_classes_as_rows_are_weighed(X, tmp_path):
    y = np.where(X[:, 0] > 5, "yes", "no")
    head = FineTunedClassifier(backbone=VAEEmbedding(**SMALL).fit(X), epochs=3)
    weights = np.where(y == "yes", 5.0, 1.0)
    by_class = clone(head).set_params(class_weight={"yes": 5})
    made, by_row = by_class.fit(X, y), clone(head).fit(X, y, weights)
    assert same(made, by_row) and not same(made, clone(head).fit(X, y))
    made.save(tmp_path / "run")
    assert FineTunedClassifier.load(tmp_path / "run").class_weight == {"no": 1.0, "yes": 5.0}
    assert same(clone(head).set_params(class_weight=None).fit(X, y), clone(head).fit(X, y))
    both = clone(by_class).fit(X, y, weights)
    assert same(both, clone(head).fit(X, y, weights * weights))


def test_a_head_needs_a_backbone(X):
    with pytest.raises(InputError, match="backbone is NoneType; it must be a fitted estimator"):
        FineTunedClassifier().fit(X, X[:, 0] > 5)
