"""Why a target is missed, by the figure's name: the page prints it beside the figure.

A reason stays here for as long as the figure falls short; the page shows it only while it does.
"""

_BEST = (
    "PyTorch at its best is a whole step as one graph, gradient and Adam in it, on slices of rows "
    "shuffled once an epoch. The target was set on eager steps, which are far slower, as the "
    "table shows; the peer was not slowed down to meet it."
)

REASONS: dict[str, str] = {
    "autoencoder: over PyTorch at its best": _BEST,
    "vae: over PyTorch at its best": _BEST,
    "simclr: over PyTorch at its best": _BEST,
    "64 members: time a member over a run alone": (
        "Supposed, not measured: a run alone keeps both cores busy already, batched products of "
        "these sizes are no faster, and the members' states have to pass through the cache."
    ),
    "autoencoder, 1,000,000 rows: shuffling, noise and logging": (
        "Nearly all of it is reading the shuffled rows: each lies somewhere in 128 MB, outside the "
        "cache, where the program in order reads the next ones. Finding their numbers costs what "
        "it costs with 2,000 rows, which is little."
    ),
}
