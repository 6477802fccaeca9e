"""Finished run folders of models that were never trained."""

import dataclasses
import json

import numpy as np
from flax import nnx

from jaxrep import files
from jaxrep.data.columns import Columns
from jaxrep.data.schema import MISSING, Number, Schema
from jaxrep.data.targets import Classes, Numbers
from jaxrep.methods import AutoencoderHyperparameters, Backbone, hyperparameters_of, make, resolve
from jaxrep.networks import get_weights
from jaxrep.runs import folder
from jaxrep.runs.results import TrainResult

SCHEMA = Schema(
    tuple(Number(name, mean=1.0, scale=2.0, fill=None) for name in "abc"),
    label="y",
    missing=(*MISSING, "?"),
    marks=("?",),
)
QUANTILES = {"levels": [0.0, 0.5, 1.0], "scores": [0.0, 1.0, 5.0]}
ORIGIN = {"finetuned": {"run": None, "model": "0" * 64}}
FINETUNED = {
    "classes": ORIGIN | {"target": Classes("y", ("no", "yes")).to_json()},
    "numbers": ORIGIN | {"target": Numbers("y", 1.0, 2.0).to_json()},
}
EPOCHS = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25}]


def configuration(method):
    hyperparameters = settings(method)
    return {
        "schema_version": folder.SCHEMA_VERSION,
        "method": method,
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "data": {
            "source": "/x/π.csv",
            "sha256": "0" * 64,
            "columns": dataclasses.asdict(Columns(label="y", na_values=("?",))),
        },
        "versions": {"jaxrep": "0.1.0"},
        **FINETUNED.get(hyperparameters.predicts, {}),
    }


def settings(method):
    """Hyperparameters with small layers."""
    widths = {"hidden_dims": (8,), "latent_dim": 2}
    kind = hyperparameters_of(method)
    if kind.predicts is None:
        recipe = "seed" if "seed" in kind.recipes else None
        return resolve(kind, recipe, {**widths, "epochs": 2})
    return kind(backbone=Backbone.of(AutoencoderHyperparameters(**widths)), epochs=2)


def results(path, method):
    figures = TrainResult(
        run=str(path),
        method=method,
        rows=10,
        epochs=2,
        steps=2,
        epoch=2,
        stopped_early=False,
        loss=1.25,
        validation_loss=None,
        held_out=None,
        seconds=0.5,
        compile_seconds=0.25,
        rows_per_second=40.0,
        resumed_from_step=0,
    )
    return {"result": dataclasses.asdict(figures), "score_quantiles": QUANTILES}


def untrained_weights(method):
    network = make(settings(method)).init(SCHEMA.row_spec(), nnx.Rngs(0))
    return {name: np.asarray(array) for name, array in get_weights(network).items()}


def save(path, method="vae"):
    config, weights = configuration(method), untrained_weights(method)
    folder.begin(path, config, SCHEMA)
    for metrics in EPOCHS:
        folder.append_metrics(path, metrics)
    folder.finish(path, config | results(path, method), weights)
    return weights


def seal(path):
    """Makes the manifest agree with what the files now hold, as an attacker could."""
    digests = {name: files.sha256(path / name) for name in folder.CONTENT}
    manifest = {"schema_version": folder.SCHEMA_VERSION, "sha256": digests}
    (path / folder.MANIFEST).write_text(json.dumps(manifest))
