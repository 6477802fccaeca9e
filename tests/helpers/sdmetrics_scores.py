"""Writes sdmetrics' scores of drawn tables, which the tests compare ours with.

It runs where sdmetrics is, which asks for an older pandas than the tests do:
`python -P tests/helpers/sdmetrics_scores.py` in an environment of its own, with 0.32.0.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

SCORES = Path(__file__).parents[1] / "comparison" / "sdmetrics.json"
COLUMNS = ("normal", "skewed", "whole", "level", "gaps", "rare")
NUMBERS = ("normal", "skewed", "whole", "gaps")


def table(seed: int, rows: int, shift: float) -> dict[str, np.ndarray]:
    """Returns columns of numbers and of codes, some cells missing, which depend on each other."""
    draws = np.random.Generator(np.random.Philox(seed))
    normal = draws.normal(shift, 1, rows)
    skewed = np.exp(normal + draws.normal(size=rows))
    whole = np.floor(10 * draws.random(rows) ** (1 + shift))
    level = np.floor(4 * draws.random(rows) * (0.5 + 0.5 * (normal > 0)))
    gaps = np.where(
        draws.random(rows) < 0.1 + shift / 10, np.nan, normal * 2 + draws.normal(size=rows)
    )
    rare = np.where(
        draws.random(rows) < 0.01, 9.0, np.where(draws.random(rows) < 0.05, np.nan, 1.0)
    )
    return dict(zip(COLUMNS, (normal, skewed, whole, level, gaps, rare), strict=True))


CASES = {f"{seed}": (table(seed, 400, 0.0), table(seed + 100, 300, seed / 5)) for seed in range(4)}


def main() -> None:
    """Computes them, and writes the file beside this one."""
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    found: dict[str, dict[str, float]] = {}
    for name, tables in CASES.items():
        real, made = (pd.DataFrame(columns) for columns in tables)
        scores = found[name] = {}
        for i, one in enumerate(COLUMNS):
            scores[f"KSComplement {one}"] = KSComplement.compute(real[one], made[one])
            scores[f"TVComplement {one}"] = TVComplement.compute(real[one], made[one])
            for other in COLUMNS[i + 1 :]:
                pair = [one, other]
                if {one, other} <= set(NUMBERS):
                    score = CorrelationSimilarity.compute(real[pair], made[pair])
                    scores[f"CorrelationSimilarity {one} {other}"] = score
                score = ContingencySimilarity.compute(real[pair], made[pair])
                scores[f"ContingencySimilarity {one} {other}"] = score
    SCORES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
