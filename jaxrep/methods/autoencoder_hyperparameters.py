"""The autoencoder's hyperparameters."""

from jaxrep.hyperparameters import ViewHyperparameters, hyperparameters


@hyperparameters(name="autoencoder", title="Autoencoder", recipes={"seed": {"epochs": 50}})
class AutoencoderHyperparameters(ViewHyperparameters):
    """Autoencoder: mean squared error of the reconstruction.

    With a view whose rate is above 0 it is a denoising autoencoder: the input is corrupted, the
    target is not.
    """
