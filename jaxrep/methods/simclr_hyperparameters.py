"""SimCLR's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import (
    MAX_WIDTH,
    Flag,
    Number,
    Recipe,
    ViewHyperparameters,
    Whole,
    anomaly_score,
    hyperparameter,
    hyperparameters,
)


@hyperparameters(
    name="simclr",
    title="SimCLR",
    recipes={
        "seed": Recipe(
            "a small network, trained for 60 epochs on rows with noise and dropout.",
            {
                "epochs": 60,
                "weight_decay": 1e-4,
                "noise_std": 0.1,
                "drop_rate": 0.1,
                "temperature": 0.5,
            },
        ),
        "anomalies": Recipe(
            "finds rows that do not fit: wide, trained on rows with noise and hidden cells.",
            {
                "views": ("hide", "noise"),
                "hide_rate": 0.3,
                "noise_std": 0.3,
                "temperature": 0.2,
                "hidden_dims": (256,),
                "latent_dim": 128,
                "proj_dim": 64,
                "epochs": 0,
                "schedule": "cosine",
            },
        ),
    },
    changes_loss=("batch_size",),  # a row's negatives are those of its batch
)
class SimCLRHyperparameters(ViewHyperparameters):
    """SimCLR: two corrupted views of a row attract, views of different rows repel (NT-Xent)."""

    temperature: float = hyperparameter(
        Number(above=0),
        default=0.5,
        kind="traced",
        changes_loss=True,
        help="Temperature τ of the softmax over cosine similarities.",
    )
    proj_dim: int = hyperparameter(
        Whole(1, MAX_WIDTH),
        default=32,
        kind="shaping",
        help="Size of the projection that the loss compares.",
    )
    clean_anchor: bool = hyperparameter(
        Flag(),
        default=False,
        kind="shaping",
        changes_loss=True,
        help="Leave the first view of each row as it is and corrupt the second alone, as SCARF's "
        "paper does.",
    )
    microbatch: int = hyperparameter(
        Whole(0),
        default=0,
        kind="shaping",
        help="Rows that the network takes at a time, to save memory in large batches; the loss "
        "still compares all rows of a batch, and the gradients stay the same. 0 takes the batch "
        "as a whole.",
    )
    anomaly_score: Literal["mahalanobis", "neighbours"] = anomaly_score("mahalanobis", "neighbours")
