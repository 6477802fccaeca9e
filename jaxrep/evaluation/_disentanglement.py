"""Whether single units of a representation stand for single factors."""

import numpy as np
from sklearn.metrics import mutual_info_score

BINS, MOST_ROWS = 20, 10_000


def mutual_information_gap(z: np.ndarray, factors: np.ndarray, *, seed: int = 0) -> float:
    """Returns the mutual information gap (MIG) of a representation of known factors.

    1/K Σₖ (I(z₍₁₎; vₖ) − I(z₍₂₎; vₖ)) / H(vₖ), where z₍₁₎ and z₍₂₎ are the units that tell most and
    second most of the factor vₖ. It is 1 where each factor is told by one unit alone, and 0 where
    two tell it as well as each other, or none does. Units are cut into 20 bins of equal width, and
    10,000 rows at most are taken.

    Args:
        z: representations, `[N, Z]`; two units at least.
        factors: whole numbers or categories, `[N, K]`; each takes two values at least.
        seed: decides which rows are taken of more.

    Raises:
        ValueError: there is one unit alone, the rows are not as many, or a factor is constant.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        equation 6; with bins as Locatello et al., Challenging Common Assumptions in the
        Unsupervised Learning of Disentangled Representations, 2019, have them.

    Example:
        >>> factors = np.random.default_rng(0).integers(0, 4, (1000, 2))
        >>> apart, mixed = factors, factors @ [[1, 1], [1, -1]]
        >>> mutual_information_gap(apart, factors) > 0.99
        True
        >>> mutual_information_gap(mixed, factors) < 0.1
        True
    """
    z, factors = np.asarray(z), np.asarray(factors)
    if z.ndim != 2 or z.shape[1] < 2 or factors.ndim != 2 or len(z) != len(factors):
        raise ValueError(
            f"z is {z.shape} and factors {factors.shape}; they must be [N, Z], Z at least 2, and "
            "[N, K]"
        )
    if len(z) > MOST_ROWS:
        rows = np.random.default_rng(seed).permutation(len(z))[:MOST_ROWS]
        z, factors = z[rows], factors[rows]
    binned = [np.digitize(unit, np.histogram_bin_edges(unit, BINS)[:-1]) for unit in z.T]
    gaps = []
    for k, factor in enumerate(factors.T):
        entropy = mutual_info_score(factor, factor)
        if entropy <= 0:
            raise ValueError(f"factor {k} is constant, and nothing can tell of it")
        told = sorted((mutual_info_score(unit, factor) for unit in binned), reverse=True)
        gaps.append((told[0] - told[1]) / entropy)
    return float(np.mean(gaps))
