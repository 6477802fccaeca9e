"""Runs the command line in a process that kills itself inside the saving of a checkpoint.

    python tests/helpers/dying.py POINT N train autoencoder table.csv --out run …

POINT names the moment, N which saving; `never` lets the process live. Blocks of streamed rows are
small here, so that small tables have many.
"""

import os
import shutil
import signal
import sys

import jaxrep.training.row_store
from jaxrep import files
from jaxrep.cli import main
from jaxrep.training import checkpoint, manifest, saved_states

BLOCK_BYTES = 700  # 32 rows of 5 features

POINTS = {
    "start": (checkpoint.Checkpoints, "_write"),
    "rename": (os, "rename"),  # orbax moves what is whole to its place
    "remove": (saved_states.SealedOnly, "should_preserve"),  # orbax asks what to remove
    "removing": (shutil, "rmtree"),
    "half removed": (os, "rmdir"),  # the files of a folder are gone, the folder is not
    "arrays": (checkpoint, "write_progress"),  # orbax is through, nothing of ours is written
    "files": (checkpoint, "seal"),
    "flushed": (files, "sha256"),
    "manifest": (manifest, "_text"),
}


def die_at(point, count):
    """Replaces the function at a point by one that kills the process at its `count`-th call."""
    place, name = POINTS[point]
    original, calls, saving = getattr(place, name), 0, False
    write = checkpoint.Checkpoints.save

    def save(*args):
        nonlocal saving
        saving = True
        write(*args)
        saving = False

    def dying(*args, **flags):
        nonlocal calls
        calls += saving
        if saving and calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **flags)

    checkpoint.Checkpoints.save = save
    setattr(place, name, dying)


if __name__ == "__main__":  # and nowhere else: pytest imports this file to look for doctests
    jaxrep.training.row_store.BLOCK_BYTES = BLOCK_BYTES
    if sys.argv[1] != "never":
        die_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
