"""PyOD's scores of rows, in an environment of its own: `python -P pyod_scores.py GIVEN OUT SEED`.

GIVEN is an `.npz` of `train` and `test`, standardised; OUT becomes one of every detector's scores
of the test rows by its name, and of the seconds that each took as NAME.seconds. All have the
settings that they come with. It imports neither jaxrep nor the rest of the suite.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def detectors(columns: int, seed: int) -> dict[str, Any]:
    """Returns PyOD's detectors by name.

    Args:
        columns: of the rows.
        seed: of those that draw.
    """
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.deep_svdd import DeepSVDD
    from pyod.models.ecod import ECOD
    from pyod.models.vae import VAE

    return {
        "PyOD AutoEncoder": AutoEncoder(random_state=seed, verbose=0),
        "PyOD VAE": VAE(random_state=seed, verbose=0),
        "PyOD ECOD": ECOD(),
        "PyOD DeepSVDD": DeepSVDD(n_features=columns, random_state=seed, verbose=0),
    }


def main() -> None:
    """Fits every detector, and writes the scores and the seconds."""
    given, out, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with np.load(given) as arrays:
        train, test = arrays["train"], arrays["test"]
    found: dict[str, Any] = {}
    for name, detector in detectors(train.shape[1], seed).items():
        started = time.process_time()
        detector.fit(train)
        found[name] = np.asarray(detector.decision_function(test), np.float64)
        found[f"{name}.seconds"] = time.process_time() - started
    np.savez(out, **found)


if __name__ == "__main__":
    main()
