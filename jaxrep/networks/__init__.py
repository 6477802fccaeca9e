"""Blocks that networks are built of, as Flax NNX modules, and their weights as plain arrays.

Linear layers start as PyTorch's do: weights and biases uniform in ±1/√fan_in. Shape letters:
B batch, D features, Z latent, P projection.
"""

from jaxrep.networks._embedding_scores import embedding_score as embedding_score
from jaxrep.networks._fitted import EmbeddingScore as EmbeddingScore
from jaxrep.networks._fitted import FittedRows as FittedRows
from jaxrep.networks._fitted import FittedStatistic as FittedStatistic
from jaxrep.networks._fitted import OutputBlock as OutputBlock
from jaxrep.networks._frozen import Frozen as Frozen
from jaxrep.networks._frozen import Standardisation as Standardisation
from jaxrep.networks._frozen import freeze as freeze
from jaxrep.networks._initial import InitialDraws as InitialDraws
from jaxrep.networks._level_score import LevelScore as LevelScore
from jaxrep.networks._mahalanobis import Mahalanobis as Mahalanobis
from jaxrep.networks._mean_score import MeanScore as MeanScore
from jaxrep.networks._mlp import GAINS as GAINS
from jaxrep.networks._mlp import MLP as MLP
from jaxrep.networks._mlp import linears as linears
from jaxrep.networks._neighbours import BANK_ROWS as BANK_ROWS
from jaxrep.networks._neighbours import Neighbours as Neighbours
from jaxrep.networks._network import Network as Network
from jaxrep.networks._norms import BatchNorm as BatchNorm
from jaxrep.networks._norms import LayerNorm as LayerNorm
from jaxrep.networks._projection import ProjectionHead as ProjectionHead
from jaxrep.networks._rows import EMBEDDING_DIM as EMBEDDING_DIM
from jaxrep.networks._rows import WIDE as WIDE
from jaxrep.networks._rows import Embedding as Embedding
from jaxrep.networks._rows import Embeddings as Embeddings
from jaxrep.networks._rows import RowDecoder as RowDecoder
from jaxrep.networks._rows import RowEncoder as RowEncoder
from jaxrep.networks._rows import RowLayout as RowLayout
from jaxrep.networks._weights import compute_in as compute_in
from jaxrep.networks._weights import get_model_state as get_model_state
from jaxrep.networks._weights import get_weights as get_weights
from jaxrep.networks._weights import shapes_like as shapes_like
from jaxrep.networks._weights import with_weights as with_weights
