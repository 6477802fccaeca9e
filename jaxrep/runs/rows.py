"""What every row of a run holds, as its table's schema and its method have it."""

from typing import Any

import numpy as np

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.data.schema import Boolean, NumericColumn, Schema
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters
from jaxrep.likelihoods import natural_numbers
from jaxrep.methods import Backbone, hyperparameters_of


def row_spec(schema: Schema, hyperparameters: TrainingHyperparameters) -> RowSpec:
    """Returns what every row of a method's network holds.

    A number has the likelihood that its column says, else the one that the method's hyperparameter
    `likelihood` gives its kind. Of a fine-tuned run its backbone's hyperparameters count. Methods
    without that hyperparameter compare no numbers, and their rows name no likelihoods.

    Args:
        schema: of the table.
        hyperparameters: of the method.

    Raises:
        InputError: a column cannot have its likelihood, as a count on a scale other than the
            standard one cannot have `poisson`; or the method does not take its scale.

    Example:
        >>> from jaxrep.data.schema import Boolean, Number, Schema
        >>> from jaxrep.methods import VAEHyperparameters
        >>> people = Schema((Number("age", 40.0, 13.5, None), Boolean("member", 0.5, 0.5, None)))
        >>> row_spec(people, VAEHyperparameters(likelihood="squared")).number_likelihoods
        ('squared', 'squared')
        >>> row_spec(people, VAEHyperparameters(likelihood="by_kind")).number_likelihoods
        ('gaussian', 'bernoulli')
    """
    rows, asked = schema.row_spec(), _likelihood(hyperparameters)
    if rows.spikes and not _takes_spikes(hyperparameters):
        name = schema.numeric[next(i for i, count in enumerate(rows.spikes) if count)].name
        raise InputError(
            f"column {name!r} has the scale spikes, which {hyperparameters.name} does not take; a "
            "VAE does, and other methods take quantile"
        )
    if asked is None:
        return rows
    for column in schema.numeric:
        if problem := column.likelihood_problem():
            raise InputError(
                f"column {column.name!r} is a {column.kind} on the scale {column.scaling.kind} "
                f"and has the likelihood {column.likelihood}; {problem}"
            )
    names = tuple(column.likelihood or _of_kind(column, asked) for column in schema.numeric)
    return rows._replace(likelihoods=names if set(names) - {"squared"} else ())


def network_constants(schema: Schema, spec: RowSpec) -> dict[str, np.ndarray]:
    """Returns the weights of a network that follow from a schema and are not trained, by name.

    These are the means and scales of numbers that a Bernoulli or Poisson likelihood compares in
    their own units. A fine-tuned network has them from its backbone's run.

    Args:
        schema: of the table.
        spec: from `row_spec`.

    Returns:
        `likelihood.mean` and `likelihood.scale`, float32; none where no number needs them.

    Example:
        >>> from jaxrep.data.schema import Count, Schema
        >>> visits = Schema((Count("visits", 3.0, 2.0, None, likelihood="poisson"),))
        >>> network_constants(visits, RowSpec(1, likelihoods=("poisson",)))["likelihood.mean"]
        array([3.], dtype=float32)
    """
    columns = [schema.numeric[i] for i in natural_numbers(spec)]
    if not columns:
        return {}
    return {
        "likelihood.mean": np.array([column.mean for column in columns], np.float32),
        "likelihood.scale": np.array([column.scale for column in columns], np.float32),
    }


def _takes_spikes(hyperparameters: TrainingHyperparameters) -> bool:
    backbone = getattr(hyperparameters, "backbone", None)
    if isinstance(backbone, Backbone):
        return hyperparameters_of(backbone.method).takes_spikes
    return hyperparameters.takes_spikes


def _likelihood(hyperparameters: TrainingHyperparameters) -> str | None:
    """Returns the hyperparameter of a method that reconstructs, or of the one below it."""
    backbone = getattr(hyperparameters, "backbone", None)
    if isinstance(backbone, Backbone):
        return backbone.hyperparameters.get("likelihood")
    return getattr(hyperparameters, "likelihood", None)


def _of_kind(column: NumericColumn, asked: str) -> str:
    if asked == "squared":
        return asked
    return "bernoulli" if isinstance(column, Boolean) else "gaussian"


def with_gaps(features: Batch, is_missing: np.ndarray) -> Batch:
    """Returns features of which some cells are missing, `[N, D + C]`, whatever was imputed."""
    count = features.numbers.shape[1]
    numbers: Any = np.where(is_missing[:, :count], np.float32(np.nan), features.numbers)
    codes: Any = features.codes
    if codes is not None:
        codes = np.where(is_missing[:, count:], np.int32(MISSING), codes)
    return features._replace(numbers=numbers, codes=codes)
