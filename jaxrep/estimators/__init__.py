"""scikit-learn estimators: representations, anomaly scores and new rows for pipelines.

Each takes every hyperparameter of its method, from `jaxrep.hyperparameters`, as an argument of its
constructor, and passes scikit-learn's own `check_estimator`. A fitted estimator holds the run that
`jaxrep train` would have made of the same table; `save` and `load` exchange it with the command
line.
"""

from jaxrep.estimators._embedding import Embedding as Embedding
from jaxrep.estimators._estimators import AutoencoderEmbedding as AutoencoderEmbedding
from jaxrep.estimators._estimators import SimCLREmbedding as SimCLREmbedding
from jaxrep.estimators._estimators import VAEEmbedding as VAEEmbedding
