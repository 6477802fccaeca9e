"""Blocks that networks are built of, as PyTorch modules, name by name as in `jaxrep.networks`.

Attributes have the same names, so that `torch_ref.weights` turns a network into jaxrep's flat
dictionary and back. Linear layers start uniform in ±1/√fan_in, from the given generator. Shape
letters: B batch, D features, Z latent, P projection.
"""

from torch_ref.networks._embedding_scores import embedding_score as embedding_score
from torch_ref.networks._fitted import EmbeddingScore as EmbeddingScore
from torch_ref.networks._fitted import OutputBlock as OutputBlock
from torch_ref.networks._frozen import Standardisation as Standardisation
from torch_ref.networks._frozen import freeze as freeze
from torch_ref.networks._level_score import LevelScore as LevelScore
from torch_ref.networks._mahalanobis import Mahalanobis as Mahalanobis
from torch_ref.networks._mean_score import MeanScore as MeanScore
from torch_ref.networks._mlp import GAINS as GAINS
from torch_ref.networks._mlp import MLP as MLP
from torch_ref.networks._mlp import linears as linears
from torch_ref.networks._neighbours import BANK_ROWS as BANK_ROWS
from torch_ref.networks._neighbours import Neighbours as Neighbours
from torch_ref.networks._network import Network as Network
from torch_ref.networks._norms import BatchNorm as BatchNorm
from torch_ref.networks._norms import LayerNorm as LayerNorm
from torch_ref.networks._projection import ProjectionHead as ProjectionHead
from torch_ref.networks._rows import EMBEDDING_DIM as EMBEDDING_DIM
from torch_ref.networks._rows import WIDE as WIDE
from torch_ref.networks._rows import Embedding as Embedding
from torch_ref.networks._rows import Embeddings as Embeddings
from torch_ref.networks._rows import RowDecoder as RowDecoder
from torch_ref.networks._rows import RowEncoder as RowEncoder
from torch_ref.networks._rows import RowLayout as RowLayout
from torch_ref.networks._rows import Tables as Tables
