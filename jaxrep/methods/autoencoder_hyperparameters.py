"""The autoencoder's hyperparameters."""

from typing import Literal

from jaxrep.hyperparameters import ViewHyperparameters, hyperparameters, likelihood


@hyperparameters(name="autoencoder", title="Autoencoder", recipes={"seed": {"epochs": 50}})
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: mean over columns of what the reconstruction misses.

    With a view whose rate is above 0 it is a denoising autoencoder: the input is corrupted, the
    target is not.
    """

    likelihood: Literal["squared", "by_kind"] = likelihood()
