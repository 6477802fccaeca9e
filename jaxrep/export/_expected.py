"""What JAX gives for raw rows: the outputs that an exported file has to reproduce."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import Batch, RowSpec
from jaxrep.data import transform
from jaxrep.data.schema import NumericColumn, Robust, Schema, Standard
from jaxrep.data.targets import Numbers
from jaxrep.errors import VerificationError
from jaxrep.methods import abstract_network
from jaxrep.networks import with_weights
from jaxrep.outputs import OUTPUTS, Gives
from jaxrep.runs.folder import Run

# Two categories whose features are nearer than this are as likely: either answer is right.
_OPEN_CHOICE = 1e-4


def expected_outputs(run: Run, rows: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Returns raw rows and what JAX gives for them in float32 and in float64.

    Args:
        run: the trained run.
        rows: as of `jaxrep.data.transform.to_raw`, `[N, columns]`.
        source: where they come from, for messages.

    Returns:
        `rows` `[N, columns]`, `codes` `[N, Z]` (their embeddings, for `decode`), and for each
        output of each function `jax.NAME` and `exact.NAME`. Decoded numbers are in units of their
        columns' scales, predicted ones in the label's own; a category that is as likely as another
        is NaN in `exact.NAME`.
    """
    x = transform.to_features(run.schema, rows, source=source)
    ours = _evaluate(run, x, None, "float32")
    found = {"rows": rows, "codes": ours["embed.0"]}
    exact = _evaluate(run, x, ours["embed.0"], "float64")
    for prefix, outputs in (("jax", ours), ("exact", exact)):
        for name, output in outputs.items():
            gives = _gives(name)
            if gives == "rows":
                output = _columns(run.schema, output, mark=prefix == "exact")
            elif gives == "prediction" and isinstance(run.target, Numbers):
                output = run.target.decode(output)
            found[f"{prefix}.{name}"] = output
    return found


def golden_outputs(run: Run, count: int) -> dict[str, np.ndarray]:
    """Returns `expected_outputs` for rows drawn from a run's statistics: none is of its data.

    Args:
        run: the trained run.
        count: how many rows.
    """
    drawn = transform.draw_raw(run.schema, count)
    return expected_outputs(run, drawn, "rows drawn from its statistics")


def as_json(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns arrays as nested lists, with None for NaN: JSON has none.

    Raises:
        VerificationError: a number is infinite, which JSON has not either.
    """
    found = {}
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise VerificationError(f"{name} is infinite for rows drawn from the statistics")
        values = array.astype(object)
        values[np.isnan(array)] = None
        found[name] = values.tolist()
    return found


def _evaluate(
    run: Run, x: np.ndarray, codes: np.ndarray | None, dtype: str
) -> dict[str, np.ndarray]:
    """Computes, in one program, every output of the run's network that takes rows or codes.

    Args:
        run: the trained run.
        x: features, `[N, D]`.
        codes: what to decode, `[N, Z]`; None decodes the embedding.
        dtype: to compute in.
    """

    def outputs(weights: dict[str, jax.Array], x: jax.Array, codes: jax.Array | None) -> Any:
        network: Any = with_weights(abstract_network(run.method, RowSpec(x.shape[1])), weights)
        embedding = network.embed(Batch(x))
        inputs = {"rows": Batch(x), "codes": embedding if codes is None else codes}
        found = {
            name: getattr(network, name)(inputs[OUTPUTS[name].takes])
            for name in network.outputs
            if OUTPUTS[name].takes in inputs
        }
        return {"forward": embedding, **found}

    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        cast = {name: jnp.asarray(array, dtype) for name, array in run.weights.items()}
        given = None if codes is None else jnp.asarray(codes, dtype)
        results = jax.jit(outputs)(cast, jnp.asarray(x, dtype), given)
    return {
        f"{name}.{i}": np.asarray(output)
        for name, result in results.items()
        for i, output in enumerate(result if isinstance(result, tuple) else (result,))
    }


def _gives(name: str) -> Gives | None:
    """Returns what an output such as `reconstruct.0` is of; None of one that is not declared."""
    function, _, i = name.partition(".")
    return OUTPUTS[function].gives[int(i)] if function in OUTPUTS else None


def _within_reach(column: NumericColumn, features: np.ndarray) -> np.ndarray:
    """Returns the features of a column that its numbers have: some scales have ends."""
    if isinstance(column.scaling, Standard | Robust):
        return features
    return transform.scaled(column, transform.unscaled(column, features))


def _columns(prepared: Schema, features: np.ndarray, *, mark: bool) -> np.ndarray:
    """Features `[N, D]` as one number a column `[N, C]`: a category's code, or NaN where open."""
    columns, start = [], 0
    for column in prepared.columns:
        block = features[:, start : start + column.width].astype(np.float64)
        start += column.width
        if isinstance(column, NumericColumn):
            columns.append(_within_reach(column, block[:, 0]))
            continue
        limit = np.full(len(block), -np.inf) if column.has_gaps else np.full(len(block), 0.5)
        bucket = block[:, -1:]
        block[:, -1:] = np.where(bucket > limit[:, None], bucket, -np.inf)
        code = block.argmax(axis=1).astype(np.float64)
        code[code == column.width - 1] = -1
        if mark:
            top = np.sort(block, axis=1)
            near = (top[:, -1] - top[:, -2] < _OPEN_CHOICE) | (
                np.abs(bucket[:, 0] - limit) < _OPEN_CHOICE
            )
            code[near] = np.nan
        columns.append(code)
    return np.stack(columns, axis=1)
