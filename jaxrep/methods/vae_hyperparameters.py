"""The VAE's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import (
    Flag,
    Number,
    OneOf,
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
        "generation": Recipe(
            "new rows that look like the table's: numbers as normal scores, latents that tell rows "
            "apart, and a mixture of Gaussians to draw them from.",
            {
                "hidden_dims": (256, 256),
                "latent_dim": 24,
                "steps": 12_000,
                "schedule": "cosine",
                "beta": 0.02,
                "likelihood": "by_kind",
                "prior": "mixture",
                "draw_missing": True,
                "initial_weights": "he",
            },
            scale="spikes",
        ),
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
    total_correlation: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Weight of the total correlation of the latents beside the KL divergence (β-TCVAE): "
        "it presses for independent latents, and costs less reconstruction than a larger beta.",
    )
    likelihood: Literal["squared", "by_kind"] = likelihood()
    anomaly_score: Literal["reconstruction", "mahalanobis", "neighbours"] = anomaly_score(
        "reconstruction", "mahalanobis", "neighbours"
    )
    prior: Literal["normal", "mixture", "diffusion"] = hyperparameter(
        OneOf("normal", "mixture", "diffusion"),
        default="normal",
        kind="shaping",
        help="What the latents of new rows are drawn from. normal: N(0, 1); mixture: a mixture of "
        "Gaussians, fitted after training to samples of the posteriors of training rows; "
        "diffusion: a diffusion model, fitted to the same, which takes minutes and is closer.",
    )
    draw_missing: bool = hyperparameter(
        Flag(),
        default=False,
        kind="shaping",
        changes_loss=True,
        help="Learn which cells are missing, in the columns that have missing cells: new rows have "
        "them then, too. Else no cell of a new row is missing.",
    )
    initial_weights: Literal["pytorch", "he"] = hyperparameter(
        OneOf("pytorch", "he"),
        default="pytorch",
        kind="shaping",
        help="What the weights of layers with a ReLU start from. pytorch: U(-1, 1) over the root "
        "of their inputs; he: √6 times that, so that more of the latents come to be used.",
    )
