"""One run and its files, made once and read by many tests."""

import pytest

from jaxrep.export import FORMATS
from tests.helpers.exports import make_run

SUFFIXES = {"torchscript": "pt"}


@pytest.fixture(scope="session")
def vae_run(tmp_path_factory):
    """A VAE on a number and two codes, of 4 and 3 values; tests do not change it."""
    return make_run(tmp_path_factory.mktemp("vae"), "vae", "mixed")


@pytest.fixture(scope="session")
def vae_file(vae_run):
    """What gives the run's file in a format; all stand in one folder, which tests leave alone."""

    def make(format):
        path = vae_run.path.parent / f"vae.{SUFFIXES.get(format, format)}"
        if not path.exists():
            FORMATS[format].write(vae_run, path)
        return path

    return make
