"""Computes in processes forked after JAX ran, by every way; prints each one's error."""

import multiprocessing
import tempfile
import warnings
from pathlib import Path

import numpy as np

from jaxrep import VAEEmbedding
from jaxrep.batch import RowSpec
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters
from jaxrep.training import Checkpoints, fit, sweep

X = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
METHOD = Autoencoder(AutoencoderHyperparameters(hidden_dims=(), latent_dim=2, epochs=1))
ESTIMATOR = VAEEmbedding(hidden_dims=(), latent_dim=2, epochs=1)

WAYS = {
    "transform": lambda: ESTIMATOR.transform(X),
    "sample": lambda: ESTIMATOR.sample(3),
    "fit": lambda: VAEEmbedding(epochs=1).fit(X),
    "training": lambda: fit(METHOD, X),
    "sweep": lambda: sweep([METHOD], X),
    "checkpoint": lambda: Checkpoints(Path(tempfile.gettempdir())).newest(METHOD, RowSpec(4)),
}


def attempt(way):
    try:
        WAYS[way]()
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main():
    warnings.simplefilter("ignore")  # JAX's own, of the fork
    with multiprocessing.get_context("fork").Pool(1) as early:  # before JAX runs: it may compute
        print(early.apply_async(attempt, ["training"]).get(100))
    ESTIMATOR.fit(X)
    with multiprocessing.get_context("fork").Pool(1) as late:
        for way in WAYS:
            print(late.apply_async(attempt, [way]).get(10))


if __name__ == "__main__":
    main()
