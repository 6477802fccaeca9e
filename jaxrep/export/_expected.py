"""What JAX gives for raw rows: the outputs that an exported file has to reproduce."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import Batch
from jaxrep.data import transform
from jaxrep.data.schema import CategoricalColumn, Robust, Schema, Standard
from jaxrep.data.targets import Numbers
from jaxrep.errors import VerificationError
from jaxrep.methods import abstract_network
from jaxrep.networks import with_weights
from jaxrep.outputs import OUTPUTS, Gives
from jaxrep.parity import decided_cells
from jaxrep.runs.folder import Run


def expected_outputs(run: Run, rows: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Returns raw rows and what JAX gives for them in float32 and in float64.

    What is said of columns is in the columns' order. A reconstructed cell is a number in units of
    its column's scale, or the position of a level.

    Args:
        run: the trained run.
        rows: as of `jaxrep.data.transform.to_raw`, `[N, columns]`.
        source: where they come from, for messages.

    Returns:
        `rows` `[N, columns]`, `codes` `[N, Z]` (their embeddings, for `decode`), and for each
        output of each function `jax.NAME` and `exact.NAME`. Predicted numbers are in the label's
        own units; a level that is as likely as another is NaN in `exact.NAME`.
    """
    x = transform.to_features(run.schema, rows, source=source)
    ours = _evaluate(run, x, None, "float32")
    found = {"rows": rows, "codes": ours["embed.0"]}
    exact = _evaluate(run, x, ours["embed.0"], "float64")
    for prefix, outputs in (("jax", ours), ("exact", exact)):
        for name, output in outputs.items():
            gives = _gives(name)
            if gives == "rows":
                output = _in_order(run.schema, _cells(run.schema, output))
            elif gives == "terms":
                output = _in_order(run.schema, output)
            elif gives == "prediction" and isinstance(run.target, Numbers):
                output = run.target.decode(output)
            found[f"{prefix}.{name}"] = output
    for name in (name for name in exact if _gives(name) == "rows"):
        takes = OUTPUTS[name.partition(".")[0]].takes
        given = x if takes == "rows" else found["codes"]
        decided = decided_cells(run.method, run.rows, run.weights, given)
        is_decided = _in_order(run.schema, decided)
        found[f"exact.{name}"] = np.where(is_decided, found[f"exact.{name}"], np.nan)
    return found


def golden_outputs(run: Run, count: int) -> dict[str, np.ndarray]:
    """Returns `expected_outputs` for rows drawn from a run's statistics: none is of its data.

    Each column has a missing cell if it takes them, and each category an unknown one.

    Args:
        run: the trained run.
        count: how many rows.
    """
    drawn = transform.draw_raw(run.schema, count)
    for i, column in enumerate(run.schema.columns):
        if isinstance(column, CategoricalColumn):
            drawn[(2 * i) % count, i] = -1
        if not column.refuses:
            drawn[(2 * i + 1) % count, i] = np.nan
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


def _evaluate(run: Run, x: Batch, codes: np.ndarray | None, dtype: str) -> dict[str, Any]:
    """Computes, in one program, every output of the run's network that takes rows or codes.

    Args:
        run: the trained run.
        x: features.
        codes: what to decode, `[N, Z]`; None decodes the embedding.
        dtype: to compute in.
    """

    def outputs(weights: dict[str, jax.Array], x: Batch, codes: jax.Array | None) -> Any:
        network: Any = with_weights(abstract_network(run.method, run.rows), weights)
        embedding = network.embed(x)
        inputs = {"rows": x, "codes": embedding if codes is None else codes}
        found = {
            name: getattr(network, name)(inputs[OUTPUTS[name].takes])
            for name in network.outputs
            if OUTPUTS[name].takes in inputs
        }
        return {"forward": embedding, **found}

    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        cast = {name: jnp.asarray(array, dtype) for name, array in run.weights.items()}
        given = None if codes is None else jnp.asarray(codes, dtype)
        rows = x._replace(numbers=jnp.asarray(x.numbers, dtype))
        results = jax.tree.map(np.asarray, jax.jit(outputs)(cast, rows, given))
    found: dict[str, Any] = {}
    for name, result in results.items():
        gives = OUTPUTS[name].gives if name in OUTPUTS else ("embedding",)
        parts = result if len(gives) > 1 else (result,)
        found |= {f"{name}.{i}": part for i, part in enumerate(parts)}
    return found


def _gives(name: str) -> Gives | None:
    """Returns what an output such as `reconstruct.0` is of; None of one that is not declared."""
    function, _, i = name.partition(".")
    return OUTPUTS[function].gives[int(i)] if function in OUTPUTS else None


def _cells(schema: Schema, rows: Batch) -> np.ndarray:
    """Returns rows as a number for each cell, `[N, D + C]`: of codes the position of the level."""
    cells = np.array(rows.numbers, np.float64)
    for values, column in zip(cells.T, schema.numeric, strict=True):
        if not isinstance(column.scaling, Standard | Robust):  # whose numbers have ends
            values[:] = transform.scaled(column, transform.unscaled(column, values))
    if rows.codes is None:
        return cells
    return np.concatenate([cells, np.asarray(rows.codes) - 1.0], axis=1)


def _in_order(schema: Schema, cells: np.ndarray) -> np.ndarray:
    """Returns what is said of each number and code, `[N, D + C]`, in the columns' order."""
    return cells[:, np.argsort(schema.column_order)]
