"""The methods: which there are, and where each stands, as in `jaxrep.methods`.

A method is a module with its hyperparameters, network, noise and loss. Methods of other packages
come by the entry points `torch_ref.methods`, by `register`, or by `use`.
"""

from torch_ref.methods._backbone import Backbone as Backbone
from torch_ref.methods._list import GROUP as GROUP
from torch_ref.methods._list import file_of as file_of
from torch_ref.methods._list import get as get
from torch_ref.methods._list import make as make
from torch_ref.methods._list import names as names
from torch_ref.methods._list import register as register
from torch_ref.methods._list import use as use
from torch_ref.methods._method import AnyMethod as AnyMethod
from torch_ref.methods._method import Count as Count
from torch_ref.methods._method import Method as Method
from torch_ref.methods._method import Metrics as Metrics
from torch_ref.methods._method import TrainingHyperparameters as TrainingHyperparameters
from torch_ref.methods._method import ViewHyperparameters as ViewHyperparameters
from torch_ref.methods.autoencoder import Autoencoder as Autoencoder
from torch_ref.methods.autoencoder import AutoencoderHyperparameters as AutoencoderHyperparameters
from torch_ref.methods.autoencoder import AutoencoderNetwork as AutoencoderNetwork
from torch_ref.methods.classifier import Classifier as Classifier
from torch_ref.methods.classifier import ClassifierHyperparameters as ClassifierHyperparameters
from torch_ref.methods.classifier import ClassifierNetwork as ClassifierNetwork
from torch_ref.methods.denoiser import Denoiser as Denoiser
from torch_ref.methods.denoiser import DenoiserHyperparameters as DenoiserHyperparameters
from torch_ref.methods.denoiser import DenoiserNetwork as DenoiserNetwork
from torch_ref.methods.regressor import Regressor as Regressor
from torch_ref.methods.regressor import RegressorHyperparameters as RegressorHyperparameters
from torch_ref.methods.regressor import RegressorNetwork as RegressorNetwork
from torch_ref.methods.simclr import SimCLR as SimCLR
from torch_ref.methods.simclr import SimCLRHyperparameters as SimCLRHyperparameters
from torch_ref.methods.simclr import SimCLRNetwork as SimCLRNetwork
from torch_ref.methods.vae import VAE as VAE
from torch_ref.methods.vae import VAEHyperparameters as VAEHyperparameters
from torch_ref.methods.vae import VAENetwork as VAENetwork
