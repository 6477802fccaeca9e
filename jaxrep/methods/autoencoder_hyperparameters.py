"""The autoencoder's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import (
    Recipe,
    ViewHyperparameters,
    anomaly_score,
    hyperparameters,
    likelihood,
)


@hyperparameters(
    name="autoencoder",
    title="Autoencoder",
    recipes={
        "seed": Recipe("a small network, trained for 50 epochs.", {"epochs": 50}),
        "filling": Recipe(
            "fills missing cells (`reconstruct --fill`): trained with random cells hidden.",
            {
                "views": ("hide",),
                "hide_rate": 0.35,
                "hidden_dims": (256, 256),
                "latent_dim": 64,
                "steps": 6000,
                "schedule": "cosine",
            },
        ),
        "anomalies": Recipe(
            "finds rows that do not fit, and can say why: trained with random cells hidden.",
            {
                "views": ("hide",),
                "hide_rate": 0.2,
                "hidden_dims": (256,),
                "latent_dim": 128,
                "epochs": 0,
                "schedule": "cosine",
                "anomaly_score": "mahalanobis",
            },
        ),
    },
)
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: mean over columns of what the reconstruction misses.

    With a view whose rate is above 0 it is a denoising autoencoder: the input is corrupted, the
    target is not.
    """

    likelihood: Literal["squared", "by_kind"] = likelihood()
    anomaly_score: Literal["reconstruction", "mahalanobis", "neighbours"] = anomaly_score(
        "reconstruction", "mahalanobis", "neighbours"
    )
