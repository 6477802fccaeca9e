"""What a stranger's machine may lack or ask: the version, `python -m jaxrep`, no `fcntl`."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import jaxrep
from jaxrep.cli import main


def test_the_version_is_that_of_the_package_and_the_command_tells_it(capsys):
    assert jaxrep.__version__ == version("jaxrep") and "__version__" in dir(jaxrep)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxrep {jaxrep.__version__}\n"


@pytest.mark.end_to_end
def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "jaxrep", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"jaxrep {jaxrep.__version__}\n"


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None  # as on Windows
import importlib, pathlib, pkgutil, tempfile, warnings
warnings.simplefilter("ignore", UserWarning)  # filelock says that it has a weaker lock then
import jaxrep
for module in pkgutil.walk_packages(jaxrep.__path__, "jaxrep."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from jaxrep.cli import main
from jaxrep.errors import InputError
from jaxrep.files import locked
folder = pathlib.Path(tempfile.mkdtemp())
for _ in range(2):
    with locked(folder, "held"):
        try:
            with locked(folder, "held by another"):
                print("taken twice")
        except InputError as error:
            print(error)
flags = ["--epochs", "1", "--hidden-dims", "4", "--latent-dim", "2"]
print(main(["train", "autoencoder", "digits", "--out", str(folder / "run"), *flags]))
"""


@pytest.mark.end_to_end
def test_no_import_and_no_training_needs_fcntl():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FCNTL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, *_, code = done.stdout.splitlines()
    assert [first, second, code] == ["held by another", "held by another", "0"]
