"""What trained networks can be asked for: a closed vocabulary of outputs, that of `jaxrep.outputs`.

A network declares which of them it has (`torch_ref.networks.Network.outputs`), and an exported file
lists them. Serving, graphs and `torch_ref.verify` go through what is declared and know no network
by its name.
"""

from dataclasses import dataclass
from typing import Literal

Takes = Literal["rows", "codes", "draws"]
Gives = Literal["embedding", "rows", "score", "terms", "log_var", "projection", "prediction"]
Members = Literal["first", "mean"]


@dataclass(frozen=True)
class Output:
    """The signature of an output."""

    takes: Takes
    """rows: a batch of B rows; codes: embeddings `[B, Z]`; draws: draws from N(0, 1), `[B, G]`, as
    many for each row as the network says (`Network.draws`)."""

    gives: tuple[Gives, ...]
    """What comes back: embedding and log_var `[B, Z]`, score `[B]`, terms `[B, D + C]`, projection
    `[B, P]`, prediction `[B, O]`, an array each; rows, a batch of them."""

    help: str
    """What it is."""

    members: Members
    """What a run of several members gives: the first one's, in whose latent space its embeddings
    lie, or the mean over all."""


OUTPUTS = {
    "embed": Output("rows", ("embedding",), "representations of rows; nothing is random", "first"),
    "reconstruct": Output("rows", ("rows",), "rows as the network gives them back", "first"),
    "score": Output("rows", ("score",), "anomaly scores of rows; higher is more anomalous", "mean"),
    "score_by_column": Output(
        "rows", ("terms",), "what each column adds to the score, in nats", "mean"
    ),
    "encode": Output(
        "rows", ("embedding", "log_var"), "mean and log-variance of the posterior", "first"
    ),
    "project": Output(
        "rows", ("projection",), "projections that a contrastive loss compares", "first"
    ),
    "predict": Output(
        "rows", ("prediction",), "probabilities of classes, or standardised numbers", "mean"
    ),
    "decode": Output("codes", ("rows",), "rows that embeddings stand for", "first"),
    "generate": Output(
        "draws", ("rows",), "rows from draws of the prior and of the likelihoods", "first"
    ),
}
