"""The rows and the hyperparameters that most trainings of the tests take.

A training program compiles for seconds, and anew for every number of rows and columns, width and
batch size. What may be of any shape has these, so that one program serves tests in many files.
"""

import functools

import jax
import numpy as np
import pytest

from jaxrep import methods
from jaxrep.batch import MISSING, Batch, RowSpec, as_batch, take
from jaxrep.networks import WIDE
from jaxrep.parity._models import draw_targets, of_shape
from jaxrep.training import draw_batch, train_step

ROWS, FEATURES, BATCH = 50, 5, 16  # 4 steps an epoch, the last of 2 rows and padding
X = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
SPEC = RowSpec(FEATURES)
SMALL = {"hidden_dims": (6,), "latent_dim": 3, "batch_size": BATCH}
# Rows of four numbers, two of them with gaps, and of three codes: two of few values, one with gaps,
# and one with gaps of more values than have weights of their own.
MIXED = RowSpec(4, (3, 5, WIDE + 3), (False, True, True, False, False, True, True))


def mixed(rows=ROWS, seed=0, spec=MIXED):
    """Rows of numbers and codes with gaps, none of them empty; code 0 occurs, too."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, spec.numbers)).astype(np.float32)
    is_missing = (rng.uniform(size=(rows, spec.columns)) < 0.25) & np.array(spec.gaps or (False,))
    numbers[is_missing[:, : spec.numbers]] = np.nan
    if not spec.codes:
        return Batch(numbers)
    codes = rng.integers(0, spec.levels, (rows, spec.codes), dtype=np.int32)
    codes[is_missing[:, spec.numbers :]] = MISSING
    return Batch(numbers, codes)


MIXED_X = mixed()
# The same for the command line.
FLAGS = ("--recipe", "seed", "--hidden-dims", "6", "--latent-dim", "3", "--batch-size", "16")


def of_seed(name):
    """A method's recipe `seed`, where it has one, but for how long it trains."""
    recipes = methods.hyperparameters_of(name).recipes
    values = dict(recipes["seed"].values) if "seed" in recipes else {}
    values.pop("epochs", None)
    return values


def make(name="autoencoder", **hyperparameters):
    """A method with small layers, that trains for four epochs."""
    length = {} if "steps" in hyperparameters else {"epochs": 4}
    # Under a constant schedule a step can stand alone.
    settings = of_seed(name) | SMALL | {"schedule": "constant"} | length | hyperparameters
    shape = settings.pop("hidden_dims"), settings.pop("latent_dim")
    return methods.make(of_shape(name, *shape, **settings))


def labelled(method, x=X):
    """Rows with what a method is to predict of them, if anything."""
    targets = draw_targets(method, len(x))
    if targets is not None and targets.dtype.kind == "f":
        targets = targets.astype(x.dtype)
    return Batch(x, targets=targets)


def one_of_all(chosen, names=None):
    """Names of methods for tests whose code is the same for all: the others are marked slow."""
    return [
        name if name == chosen else pytest.param(name, marks=pytest.mark.slow)
        for name in names or methods.names()
    ]


# A step as one program: taken operation by operation, each of these would be compiled for itself.
compiled_step = functools.partial(jax.jit(train_step, static_argnames="spec"), spec=SPEC)
compiled_draw = jax.jit(functools.partial(draw_batch, batch_size=BATCH))


class Store:
    """Rows that are streamed from memory: numbers, or a batch of numbers and codes."""

    def __init__(self, x, spec=None):
        self.x = as_batch(x)
        self.rows, numbers = self.x.numbers.shape
        self.spec = spec or RowSpec(numbers)

    def read_into(self, start, buffer):
        found = take(self.x, slice(start, start + len(buffer.numbers)))
        buffer.numbers[:] = found.numbers
        if self.spec.codes:
            buffer.codes[:] = found.codes

    def sample(self, count):
        return take(self.x, slice(None, None, -(-self.rows // count)))
