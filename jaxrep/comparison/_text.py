"""A comparison as text."""

from collections.abc import Iterator

import numpy as np

from jaxrep.text_table import laid_out

from ._columns import ColumnScore
from ._compare import Comparison

MOST = 20


def render(comparison: Comparison) -> str:
    """Returns what was found, the columns and pairs that differ most first."""
    c = comparison
    rows = ", ".join(f"{count:,} {name}" for name, count in c.rows.items())
    lines = [f"{rows} rows", "", laid_out(["", ""], measures(c), left=1), ""]
    worst = sorted(c.columns, key=lambda column: _order(column.score))
    lines.append("columns, the most different first: error in %, and what stands out")
    lines.append(
        laid_out(
            ["column", "kind", "error", ""],
            [[x.name, x.kind, percent(1 - x.score), "; ".join(faults(x))] for x in worst[:MOST]],
            left=2,
        )
    )
    if len(worst) > MOST:
        lines.append(f"… and {len(worst) - MOST} more")
    pairs = sorted(c.pairs, key=lambda pair: _order(pair.score))[:MOST]
    if pairs:
        lines += ["", "pairs, the most different first: error in %"]
        cells = [[*pair.names, pair.measure, percent(1 - pair.score)] for pair in pairs]
        lines.append(laid_out(["column", "column", "measure", "error"], cells, left=3))
    if c.left_out:
        lines.append(f"\nleft out, with nothing to compare: {', '.join(c.left_out)}")
    return "\n".join(lines)


def measures(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yields what was measured of the tables as a whole, and its value."""
    c = comparison
    floors = [f" (of the holdout {_with_unit(error)})" for error in c.floor or ()] or ["", ""]
    yield "column error, mean", f"{_with_unit(c.column_error)}{floors[0]}"
    yield "pair error, mean", f"{_with_unit(c.pair_error)}{floors[1]}"
    yield "told apart, AUC (0.5: not at all)", f"{c.apart.auc:.3f}"
    if c.usefulness is not None:
        use = c.usefulness
        yield f"{use.measure} of {use.target}, trained on real", f"{use.real:.4f}"
        yield f"{use.measure} of {use.target}, trained on made", f"{use.made:.4f}"
    near = c.closeness
    usual = "" if near.usual is None else f" (of the holdout {percent(near.usual)} %)"
    yield "copies of real rows", f"{percent(near.copies)} %{usual}"
    if near.nearer is not None and near.error is not None:
        share = f"{percent(near.nearer)} ± {percent(near.error)} %"
        yield "nearer to real than to holdout (50: no copies)", share


def faults(column: ColumnScore) -> list[str]:
    """Says what of a column stands out, in words."""
    found = []
    if column.lost:
        found.append(f"lost: {', '.join(column.lost)}")
    if column.outside:
        where = "of no real level" if column.measure == "TVComplement" else "out of range"
        found.append(f"{column.outside:,} {where}")
    if column.broken:
        found.append(f"{column.broken:,} not whole")
    real, made = column.missing
    if abs(real - made) >= 0.005:
        found.append(f"missing {percent(made)} % in place of {percent(real)} %")
    return found


def percent(share: float) -> str:
    """Returns a share in percent, with two digits after the point."""
    return "undefined" if np.isnan(share) else f"{100 * share:.2f}"


def _with_unit(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{percent(share)} %"


def _order(score: float) -> float:
    return 2.0 if np.isnan(score) else score
