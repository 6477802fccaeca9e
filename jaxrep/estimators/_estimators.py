"""The estimators of the built-in methods."""

from dataclasses import dataclass

from jaxrep.estimators._embedding import Embedding
from jaxrep.methods import (
    AutoencoderHyperparameters,
    DenoiserHyperparameters,
    SimCLRHyperparameters,
    VAEHyperparameters,
)


@dataclass(eq=False, repr=False)
class AutoencoderEmbedding(Embedding, AutoencoderHyperparameters):
    """Codes of an autoencoder; with `noise_std` or `drop_rate` above 0, of a denoising one.

    Takes the fields of `AutoencoderHyperparameters` as parameters, each None: from the recipe;
    and `recipe`, `columns`, `contamination`, `alpha`, `random_state`, `warm_start` and `verbose`.
    The same seed gives the same bits.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(50, 6))
        >>> autoencoder = AutoencoderEmbedding(latent_dim=2, epochs=5).fit(X)
        >>> autoencoder.inverse_transform(autoencoder.transform(X)).shape
        (50, 6)
    """


@dataclass(eq=False, repr=False)
class VAEEmbedding(Embedding, VAEHyperparameters):
    """Posterior means μ of a variational autoencoder, or β-VAE.

    Takes the fields of `VAEHyperparameters` as parameters, each None: from the recipe;
    and `recipe`, `columns`, `contamination`, `alpha`, `random_state`, `warm_start` and `verbose`.
    The same seed gives the same bits.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(50, 6))
        >>> vae = VAEEmbedding(latent_dim=2, beta=4.0, epochs=5).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((50, 2), (3, 6))
    """


@dataclass(eq=False, repr=False)
class SimCLREmbedding(Embedding, SimCLRHyperparameters):
    """Outputs h of a backbone that SimCLR has trained, never of its projection.

    Takes the fields of `SimCLRHyperparameters` as parameters, each None: from the recipe;
    and `recipe`, `columns`, `contamination`, `alpha`, `random_state`, `warm_start` and `verbose`.
    The same seed gives the same bits.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(50, 6))
        >>> simclr = SimCLREmbedding(latent_dim=2, epochs=5).fit(X)
        >>> simclr.get_feature_names_out()
        array(['z0', 'z1'], dtype=object)
    """


@dataclass(eq=False, repr=False)
class DenoiserEmbedding(Embedding, DenoiserHyperparameters):
    """The last hidden layer of a denoiser, whose scores find rows that do not fit.

    Takes the fields of `DenoiserHyperparameters` as parameters, each None: from the recipe;
    and `recipe`, `columns`, `contamination`, `alpha`, `random_state`, `warm_start` and `verbose`.
    The same seed gives the same bits.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(50, 6))
        >>> denoiser = DenoiserEmbedding(hidden_dims=(16,), latent_dim=8, epochs=50).fit(X)
        >>> scores = denoiser.score_samples(np.vstack([X, X[:1] + 9]))  # lower is more anomalous
        >>> int(scores.argmin())
        50
    """
