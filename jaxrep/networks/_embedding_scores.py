"""The scores of representations, by the names that the hyperparameter `anomaly_score` has."""

from jaxrep.networks._fitted import EmbeddingScore
from jaxrep.networks._mahalanobis import Mahalanobis
from jaxrep.networks._neighbours import Neighbours

_BLOCKS: dict[str, type[Mahalanobis] | type[Neighbours]] = {
    "mahalanobis": Mahalanobis,
    "levels_and_distance": Mahalanobis,  # the distance, beside what a denoiser adds to it
    "neighbours": Neighbours,
}


def embedding_score(name: str, latent_dim: int) -> EmbeddingScore | None:
    """Returns the block of a score of representations; None if the score is of another kind.

    Args:
        name: of the score.
        latent_dim: Z, size of the representation.

    Example:
        >>> type(embedding_score("neighbours", 8)).__name__, embedding_score("reconstruction", 8)
        ('Neighbours', None)
    """
    return _BLOCKS[name](latent_dim) if name in _BLOCKS else None
