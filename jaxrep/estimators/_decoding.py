"""What estimators can do whose networks declare `decode` or `generate`."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted

from jaxrep.batch import Batch
from jaxrep.data.frames import Kind
from jaxrep.estimators._conversion import FLOATS, is_frame, to_rows
from jaxrep.methods import get
from jaxrep.runs.density import log_likelihood
from jaxrep.runs.folder import Run
from jaxrep.runs.generating import draw_features
from jaxrep.runs.outputs import MAX_ROWS

Function = TypeVar("Function", bound=Callable[..., Any])


def _if_declared(output: str) -> Callable[[Function], Function]:
    """Returns a decorator: a method is there only if the estimator's network has the output."""

    def check(estimator: Any) -> bool:
        if output in get(estimator.name).network_type.outputs:
            return True
        raise AttributeError(f"{type(estimator).__name__}: {estimator.name} has no {output}")

    made: Callable[[Function], Function] = available_if(check)
    return made


class Decoding:
    """The way from representations back to rows; a method is there if the network declares it."""

    name: ClassVar[str]
    run_: Run
    _kind: Kind
    _columns: list[str]
    _features: Callable[[Any], tuple[Batch, np.dtype[Any]]]

    @_if_declared("decode")
    def inverse_transform(self, Z: Any) -> Any:
        """Returns the rows that representations stand for, in the table's own units.

        Args:
            Z: representations, `[rows, latent_dim]`.

        Returns:
            What `fit` was given: a DataFrame of pandas or polars or a table of Arrow, whose columns
            have their types of then; or an array `[rows, columns]` in the dtype of Z.

        Raises:
            ValueError: Z has other columns, or values that are missing, infinite or too large for
                float32.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=FLOATS, input_name="Z")
        size = self.run_.method.hyperparameters.latent_dim
        if Z.shape[1] != size:
            raise ValueError(f"Z has {Z.shape[1]} features; the representation has {size}")
        with np.errstate(over="ignore"):
            z = Z.astype(np.float32)
        if not np.isfinite(z).all():
            raise ValueError("Z has values that are too large for float32")
        return self._decode(z, Z.dtype)

    @_if_declared("decode")
    def interpolate(self, a: Any, b: Any, steps: int) -> Any:
        """Returns the rows on the straight line between the representations of two rows.

        Args:
            a: the first row, `[columns]`, in the table's own units; or a DataFrame of one row.
            b: the other.
            steps: number of rows to return, both ends included; at least 2.

        Returns:
            `steps` rows as of `inverse_transform`; the ends are the reconstructions of a and b.
        """
        if not isinstance(steps, int | np.integer) or not 2 <= steps <= MAX_ROWS:
            raise ValueError(f"steps is {steps!r}; it must be a whole number from 2 to {MAX_ROWS}")
        (first, dtype), (last, _) = (self._features(_one_row(row)) for row in (a, b))
        ends = [self.run_.map("embed", features) for features in (first, last)]
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        return self._decode((1 - share) * ends[0] + share * ends[1], dtype)

    def _decode(self, z: np.ndarray, dtype: Any) -> Any:
        return self._rows(self.run_.map("decode", z), dtype)

    def _rows(self, features: Batch, dtype: Any, *, is_drawn: bool = False) -> Any:
        names = self._columns
        return to_rows(self.run_.schema, features, self._kind, names, dtype, is_drawn=is_drawn)

    @_if_declared("generate")
    def log_likelihood(self, X: Any, *, samples: int = 500, seed: int = 0) -> np.ndarray:
        """Returns estimates of log p(x) of rows, by importance sampling.

        Args:
            X: rows with the columns of the training, `[rows, columns]`, as of `fit`.
            samples: of each row's posterior; more make the estimate higher, and closer.
            seed: decides the draws, which are the same for all rows.

        Returns:
            In nats, float64 `[rows]`: the log-density of the row's features, of numbers as they are
            scaled (`schema_` says how), and of levels.

        Raises:
            InputError: the prior has no density at hand, as `diffusion` has none.

        Example:
            >>> from jaxrep import VAEEmbedding
            >>> X = np.random.default_rng(0).normal(size=(200, 3))
            >>> vae = VAEEmbedding(recipe="seed", likelihood="by_kind", epochs=30).fit(X)
            >>> near, far = vae.log_likelihood([[0.0, 0.0, 0.0], [5.0, 5.0, -5.0]], samples=50)
            >>> bool(near > far)
            True
        """
        check_is_fitted(self)
        features, _ = self._features(X)
        return log_likelihood(self.run_, features, samples=samples, seed=seed)

    @_if_declared("generate")
    def sample(self, n: int = 1, *, seed: int = 0, mean: bool = False) -> Any:
        """Returns new rows, in the table's own units.

        Latents are drawn from the prior, and cells from the likelihoods that they decode to.

        Args:
            n: number of rows.
            seed: decides the draws: the same seed, the same rows, as with `jaxrep generate`.
            mean: whether cells are not drawn: numbers are expectations then, and levels the
                likeliest.

        Returns:
            n rows as of `inverse_transform`, an array in float64.
        """
        check_is_fitted(self)
        for name, value, low, high in (("n", n, 1, MAX_ROWS), ("seed", seed, 0, 2**32 - 1)):
            is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not is_whole or not low <= value <= high:
                raise ValueError(
                    f"{name} is {value!r}; it must be a whole number from {low} to {high}"
                )
        features = draw_features(self.run_, int(n), seed=int(seed), mean=mean)
        return self._rows(features, np.float64, is_drawn=not mean)


def _one_row(row: Any) -> Any:
    """Returns a row as the table of one row that it stands for."""
    if hasattr(row, "to_frame"):  # a Series of pandas, as `iloc` gives a row
        row = row.to_frame().T
    rows = row if is_frame(row) or issparse(row) else np.atleast_2d(row)
    if rows.shape[0] != 1:
        raise ValueError(f"interpolate takes one row at each end, not {rows.shape[0]}")
    return rows
