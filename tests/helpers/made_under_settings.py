"""Trains and serves by every way, and prints a digest of what each gave; argument: a folder."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from jaxrep import VAEEmbedding, cli
from jaxrep.batch import Batch, RowSpec
from jaxrep.methods import hyperparameters_of, make
from jaxrep.training import fit, row_store, sweep


def digest(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def of_weights(trained):
    return digest(array for _, array in sorted(trained.weights.items()))


def main(folder):
    x = np.random.default_rng(0).normal(size=(90, 4))
    np.save(folder / "x.npy", x)
    small = {"hidden_dims": (5,), "latent_dim": 2, "epochs": 2, "batch_size": 32}

    def call(*argv):
        assert cli.main([str(argument) for argument in argv]) == 0, argv

    run = folder / "run"
    flags = "--hidden-dims 5 --latent-dim 2 --epochs 2 --batch-size 32 --validation-fraction 0.2"
    call("train", "vae", folder / "x.npy", "--out", run, *flags.split())
    call("embed", run, folder / "x.npy", "--out", folder / "z.npy")
    call("score", run, folder / "x.npy", "--out", folder / "scores.csv")
    call("generate", run, "-n", 20, "--seed", 3, "--out", folder / "new.csv")
    files = ("run/model.safetensors", "run/metrics.jsonl", "z.npy", "scores.csv", "new.csv")
    made = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}

    views = {"views": ("noise", "scarf", "swap", "dropout"), "precision": "default"}
    simclr = make(hyperparameters_of("simclr")(**small, **views, proj_dim=3))
    made["simclr"] = of_weights(fit(simclr, x.astype("float32")))

    row_store.BLOCK_BYTES = 4 * 4 * 32
    regressor = make(hyperparameters_of("regressor")(**small))
    made["streamed"] = of_weights(fit(regressor, Batch(Store(x), targets=x[:, 0])))

    methods = [make(hyperparameters_of("autoencoder")(**small, seed=seed)) for seed in (0, 1)]
    made["sweep"] = digest(map(str.encode, map(of_weights, sweep(methods, x).members)))

    estimator = VAEEmbedding(**small, warm_start=True).fit(x).fit(x)
    made["estimator"] = digest([estimator.transform(x), estimator.sample(9, seed=1)])
    print(json.dumps(made))


class Store:
    """Rows in memory that are read block by block."""

    def __init__(self, x):
        self._x = x.astype("float32")
        self.rows, self.spec = len(x), RowSpec(x.shape[1])

    def read_into(self, start, buffer):
        buffer.numbers[:] = self._x[start : start + len(buffer.numbers)]

    def sample(self, count):
        return Batch(self._x[:count])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
