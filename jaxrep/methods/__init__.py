"""The methods: which there are, and where each stands.

A method is a module with its network, noise and loss, and a file of its hyperparameters beside it.
Importing this loads no JAX; a class that needs it loads its module when it is first asked for.

Methods of other packages come by the entry points `jaxrep.methods`, by `register`, or by `use`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxrep.methods._backbone import Backbone as Backbone
from jaxrep.methods._list import BUILT_IN
from jaxrep.methods._list import GROUP as GROUP
from jaxrep.methods._list import get as get
from jaxrep.methods._list import hyperparameters_of as hyperparameters_of
from jaxrep.methods._list import make as make
from jaxrep.methods._list import names as names
from jaxrep.methods._list import predicting as predicting
from jaxrep.methods._list import register as register
from jaxrep.methods._list import use as use
from jaxrep.methods._list import without_labels as without_labels
from jaxrep.methods._recipes import recipe_name as recipe_name
from jaxrep.methods._recipes import resolve as resolve
from jaxrep.methods.autoencoder_hyperparameters import (
    AutoencoderHyperparameters as AutoencoderHyperparameters,
)
from jaxrep.methods.classifier_hyperparameters import (
    ClassifierHyperparameters as ClassifierHyperparameters,
)
from jaxrep.methods.denoiser_hyperparameters import (
    DenoiserHyperparameters as DenoiserHyperparameters,
)
from jaxrep.methods.regressor_hyperparameters import (
    RegressorHyperparameters as RegressorHyperparameters,
)
from jaxrep.methods.simclr_hyperparameters import SimCLRHyperparameters as SimCLRHyperparameters
from jaxrep.methods.vae_hyperparameters import VAEHyperparameters as VAEHyperparameters

if TYPE_CHECKING:
    from jaxrep.methods._members import join_members as join_members
    from jaxrep.methods._members import split_members as split_members
    from jaxrep.methods._method import AnyMethod as AnyMethod
    from jaxrep.methods._method import Method as Method
    from jaxrep.methods._method import Metrics as Metrics
    from jaxrep.methods._method import abstract_network as abstract_network
    from jaxrep.methods._method import members_of as members_of
    from jaxrep.methods._method import training_network as training_network
    from jaxrep.methods.autoencoder import Autoencoder as Autoencoder
    from jaxrep.methods.autoencoder import AutoencoderNetwork as AutoencoderNetwork
    from jaxrep.methods.classifier import Classifier as Classifier
    from jaxrep.methods.classifier import ClassifierNetwork as ClassifierNetwork
    from jaxrep.methods.denoiser import Denoiser as Denoiser
    from jaxrep.methods.denoiser import DenoiserNetwork as DenoiserNetwork
    from jaxrep.methods.regressor import Regressor as Regressor
    from jaxrep.methods.regressor import RegressorNetwork as RegressorNetwork
    from jaxrep.methods.simclr import SimCLR as SimCLR
    from jaxrep.methods.simclr import SimCLRNetwork as SimCLRNetwork
    from jaxrep.methods.vae import VAE as VAE
    from jaxrep.methods.vae import VAENetwork as VAENetwork

_LAZY = {
    **dict.fromkeys(
        ("AnyMethod", "Method", "Metrics", "abstract_network", "members_of", "training_network"),
        "jaxrep.methods._method",
    ),
    **dict.fromkeys(("join_members", "split_members"), "jaxrep.methods._members"),
    **{
        made: f"jaxrep.methods.{name}"
        for name, cls in BUILT_IN.items()
        for made in (cls, f"{cls}Network")
    },
}


def __getattr__(name: str) -> Any:
    """Loads a class that needs JAX when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
