"""scikit-learn estimators: representations, anomaly scores, new rows, and predictions.

Each takes the hyperparameters of its method, from `jaxrep.methods`, as arguments of its
constructor, and keeps the contract of scikit-learn's `check_estimator`. A fitted estimator holds
the run that `jaxrep train` or `jaxrep finetune` would have made of the same table; `save` and
`load` exchange it with the command line.
"""

from jaxrep.estimators._embedding import Embedding as Embedding
from jaxrep.estimators._estimators import AutoencoderEmbedding as AutoencoderEmbedding
from jaxrep.estimators._estimators import DenoiserEmbedding as DenoiserEmbedding
from jaxrep.estimators._estimators import SimCLREmbedding as SimCLREmbedding
from jaxrep.estimators._estimators import VAEEmbedding as VAEEmbedding
from jaxrep.estimators._finetuned import FineTunedClassifier as FineTunedClassifier
from jaxrep.estimators._finetuned import FineTunedRegressor as FineTunedRegressor
