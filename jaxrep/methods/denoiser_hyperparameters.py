"""The denoiser's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import (
    Number,
    Recipe,
    TrainingHyperparameters,
    anomaly_score,
    hyperparameter,
    hyperparameters,
)


@hyperparameters(
    name="denoiser",
    title="Denoiser",
    recipes={
        "anomalies": Recipe(
            "finds rows that do not fit: wide layers, 2000 to 12000 steps.",
            {
                "hidden_dims": (256,),
                "latent_dim": 256,
                "schedule": "cosine",
                "epochs": 0,
            },
        ),
    },
)
class DenoiserHyperparameters(TrainingHyperparameters):
    """Denoiser: gives rows back that were corrupted at a noise level, which it is told."""

    hide_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.2,
        kind="traced",
        changes_loss=True,
        help="Share of the cells that are hidden in every second row, to be told from the others.",
    )
    anomaly_score: Literal[
        "levels_and_distance", "levels", "reconstruction", "mahalanobis", "neighbours"
    ] = anomaly_score(
        "levels_and_distance", "levels", "reconstruction", "mahalanobis", "neighbours"
    )
