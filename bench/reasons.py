"""Why a target is missed, by the figure's name: the page prints it beside the figure.

A reason stays here for as long as the figure falls short; the page shows it only while it does.
"""

_BEST = (
    "PyTorch at its best is a whole step as one graph, gradient and Adam in it, on slices of rows "
    "shuffled once an epoch. The target was set on eager steps, which are far slower, as the "
    "table shows; the peer was not slowed down to meet it."
)
_ROWS = (
    "Nearly all of it is reading the shuffled rows: each lies somewhere in 128 MB, outside the "
    "cache, where the program in order reads the next ones. Drawing the rows of several steps "
    "together took away half of it (compare the program that takes them step by step); an order "
    "that keeps neighbours together would take more, and would no longer be any order."
)

REASONS: dict[str, str] = {
    "autoencoder: over PyTorch at its best": _BEST,
    "vae: over PyTorch at its best": _BEST,
    "simclr: over PyTorch at its best": _BEST,
    "autoencoder, 2,000 rows: shuffling, noise and logging": (
        "A step of this size is a few dozen small kernels; finding its rows and keeping its "
        "metrics are some of them. Finding the rows of several steps ahead, as the noise is "
        "drawn, made the whole step no shorter."
    ),
    "autoencoder, 1,000,000 rows: shuffling, noise and logging": _ROWS,
    "jaxrep, warm cache: wall time over PyTorch's": (
        "Two costs are new: the checkpoint at the end of a run, with the import of orbax, and, in "
        "this environment, pandas, which pyarrow imports wherever it is installed. Neither has "
        "been measured apart or worked on yet."
    ),
    "jaxrep, cold cache: wall time over PyTorch's": (
        "Half of a cold process is XLA compiling one program; drawing the initial weights is a "
        "good part of that. Lower optimisation levels, fewer parts to compile in parallel and "
        "another generator for the weights made it no shorter; with a warm cache it is gone."
    ),
}
