"""The VAE's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import (
    Number,
    Recipe,
    TrainingHyperparameters,
    anomaly_score,
    hyperparameter,
    hyperparameters,
    likelihood,
)


@hyperparameters(
    name="vae",
    title="Variational autoencoder",
    recipes={
        "seed": Recipe("a small network, trained for 80 epochs, β 1.", {"epochs": 80, "beta": 1.0}),
        "anomalies": Recipe(
            "finds rows that do not fit, by how far their latents are from the others'.",
            {
                "hidden_dims": (256,),
                "latent_dim": 128,
                "epochs": 0,
                "schedule": "cosine",
                "anomaly_score": "mahalanobis",
            },
        ),
    },
    takes_spikes=True,
)
class VAEHyperparameters(TrainingHyperparameters):
    """Variational autoencoder: −log p of the row + β·KL, the negative evidence lower bound."""

    beta: float = hyperparameter(
        Number(at_least=0),
        default=1.0,
        kind="traced",
        changes_loss=True,
        help="Weight β of the KL divergence; above 1 it presses for disentangled latents (β-VAE).",
    )
    likelihood: Literal["squared", "by_kind"] = likelihood()
    anomaly_score: Literal["reconstruction", "mahalanobis", "neighbours"] = anomaly_score(
        "reconstruction", "mahalanobis", "neighbours"
    )
