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
_VIEWS = (
    "The view and the temperature decide, not the method: with `swap`, or with `scarf` at a lower "
    "temperature, SimCLR is above the columns. `swap` borrows less, and all of it from one row; "
    "which of the two it is that helps has not been measured apart."
)

REASONS: dict[str, str] = {
    "autoencoder: over PyTorch at its best": _BEST,
    "vae: over PyTorch at its best": _BEST,
    "simclr: over PyTorch at its best": _BEST,
    "autoencoder, 1,000,000 rows: shuffling, noise and logging": _ROWS,
    "Fashion-MNIST, linear probe: simclr, noise and dropout less raw columns": _VIEWS,
    "Fashion-MNIST, linear probe: simclr, scarf less raw columns": _VIEWS,
    "simclr: kernels' sum off the step": (
        "Its steps without the profiler vary by more than that from round to round; the fastest "
        "are within the target. Large kernels run on both cores and wait for the slower one, and "
        "no kernel's time holds the wait."
    ),
}
