"""Autoencoders, VAEs and SimCLR on tables, as one compiled program on CPU, GPU or TPU.

Importing this package loads none of what it stands on: its modules are imported when they are
first used.

Example:
    >>> import jaxrep
    >>> jaxrep.methods.VAEHyperparameters(beta=4.0).beta
    4.0
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrep import batch as batch
    from jaxrep import data as data
    from jaxrep import estimators as estimators
    from jaxrep import evaluation as evaluation
    from jaxrep import hyperparameters as hyperparameters
    from jaxrep import inference as inference
    from jaxrep import losses as losses
    from jaxrep import methods as methods
    from jaxrep import networks as networks
    from jaxrep import optim as optim
    from jaxrep import parity as parity
    from jaxrep import training as training
    from jaxrep import views as views
    from jaxrep.estimators import AutoencoderEmbedding as AutoencoderEmbedding
    from jaxrep.estimators import DenoiserEmbedding as DenoiserEmbedding
    from jaxrep.estimators import FineTunedClassifier as FineTunedClassifier
    from jaxrep.estimators import FineTunedRegressor as FineTunedRegressor
    from jaxrep.estimators import SimCLREmbedding as SimCLREmbedding
    from jaxrep.estimators import VAEEmbedding as VAEEmbedding

_ESTIMATORS = (
    "AutoencoderEmbedding",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "DenoiserEmbedding",
    "SimCLREmbedding",
    "VAEEmbedding",
)

__all__ = [
    "AutoencoderEmbedding",
    "DenoiserEmbedding",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "SimCLREmbedding",
    "VAEEmbedding",
    "batch",
    "data",
    "estimators",
    "evaluation",
    "hyperparameters",
    "inference",
    "losses",
    "methods",
    "networks",
    "optim",
    "parity",
    "training",
    "views",
]

__version__: str
"""Of the package that is installed."""


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(importlib.import_module("jaxrep.estimators"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxrep")
    if name in __all__:
        return importlib.import_module(f"jaxrep.{name}")
    raise AttributeError(f"module 'jaxrep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__, "__version__"]
