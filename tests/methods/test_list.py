"""The list of methods: those that are built in, and how others come to it."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import jaxrep.methods
import torch_ref.methods
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters
from tests.helpers.twins import TWINS

pytestmark = pytest.mark.quick

BUILT_IN = ["autoencoder", "vae", "simclr", "denoiser", "classifier", "regressor"]
FILE = '''
from helper_of_{stem} import NAME

from jaxrep.hyperparameters import hyperparameters
from jaxrep.methods import Autoencoder, AutoencoderHyperparameters


@hyperparameters(name=NAME, title="Mine")
class {cls}Hyperparameters(AutoencoderHyperparameters):
    """Mine."""


class {cls}(Autoencoder):
    """Mine."""

    hyperparameters_type = {cls}Hyperparameters
'''
TORCH_FILE = '''
from helper_of_{stem} import NAME

from torch_ref.methods import Autoencoder


class {cls}(Autoencoder):
    """Mine."""

    name = NAME
'''


@pytest.fixture(params=TWINS)
def methods(request, monkeypatch):
    """The list of a twin; what a test adds to it is taken away again."""
    listed = {"jax": jaxrep.methods, "torch": torch_ref.methods}[request.param]
    monkeypatch.setattr(listed._list, "_registered", {})
    before = set(sys.modules)
    yield listed
    for name in set(sys.modules) - before:
        if name.removeprefix("helper_of_") in ("mine", "other", "broken", "empty", "again"):
            del sys.modules[name]


def refused(methods, match):
    return pytest.raises(InputError if methods is jaxrep.methods else ValueError, match=match)


def write(folder, methods, stem, *, name="mine", cls="Mine"):
    """A file that defines a method, beside a file that it imports."""
    text = FILE if methods is jaxrep.methods else TORCH_FILE
    (folder / f"{stem}.py").write_text(text.format(stem=stem, cls=cls))
    (folder / f"helper_of_{stem}.py").write_text(f"NAME = {name!r}\n")
    return folder / f"{stem}.py"


def test_the_built_in_methods_are_listed_and_found_by_their_names(methods):
    assert methods.names() == BUILT_IN
    classes = ("Autoencoder", "VAE", "SimCLR", "Denoiser", "Classifier", "Regressor")
    for name, cls in zip(methods.names(), classes, strict=True):
        assert methods.get(name).__name__ == cls
        assert methods.get(name) is getattr(methods, cls)


def test_the_hyperparameters_of_built_in_methods_are_had_without_jax():
    code = """
import sys
from jaxrep import methods
assert [methods.hyperparameters_of(name).name for name in methods.names()] == methods.names()
assert "jax" not in sys.modules
methods.get("vae")
assert "jax" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_method_is_made_of_its_hyperparameters():
    for name in jaxrep.methods.names():
        kind = jaxrep.methods.hyperparameters_of(name)
        method = jaxrep.methods.make(kind(learning_rate=0.25))
        assert type(method) is jaxrep.methods.get(name) and method.name == name
        assert method.hyperparameters == kind(learning_rate=0.25)


def test_an_unknown_name_is_refused_with_the_names_there_are_and_how_to_bring_it(methods):
    message = (
        rf"there is no method 'mine'; there are {', '.join(BUILT_IN)}\. A "
        r"method of another package comes with that package, installed here, or with --use FILE\.py"
    )
    with refused(methods, message):
        methods.get("mine")
    with pytest.raises(InputError, match=message):
        jaxrep.methods.hyperparameters_of("mine")


def test_hyperparameters_of_an_unknown_method_make_none():
    with pytest.raises(InputError, match="there is no method ''"):
        jaxrep.methods.make(TrainingHyperparameters())


def test_a_file_brings_its_methods_and_may_import_its_neighbours(methods, tmp_path):
    path, search = write(tmp_path, methods, "mine"), list(sys.path)
    methods.use(path)
    assert methods.names() == [*BUILT_IN, "mine"]
    assert methods.get("mine").__name__ == "Mine"
    assert issubclass(methods.get("mine"), methods.Autoencoder)
    assert sys.path == search
    methods.use(path)  # again, which runs nothing and takes no name twice
    assert methods.names().count("mine") == 1
    if methods is jaxrep.methods:
        made = methods.make(methods.hyperparameters_of("mine")(latent_dim=3))
        assert (made.name, made.hyperparameters_type.title) == ("mine", "Mine")


def test_a_file_without_a_method_adds_none(methods, tmp_path):
    path = tmp_path / "empty.py"
    package = methods.__name__
    path.write_text(f"from {package} import VAE\n")  # imported, not defined here
    methods.use(path)
    assert methods.names() == BUILT_IN


def test_a_file_that_cannot_be_used_is_refused_by_its_path(methods, tmp_path):
    with refused(methods, r"--use .*mine\.py: there is no such file"):
        methods.use(tmp_path / "mine.py")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    for _ in range(2):  # nothing of it stays loaded
        with refused(methods, r"--use .*broken\.py: cannot be run: ZeroDivisionError: division"):
            methods.use(broken)
    broken.write_text("def\n")
    with refused(methods, r"--use .*broken\.py: cannot be run: SyntaxError"):
        methods.use(broken)
    text = tmp_path / "other.txt"
    text.write_text("x = 1\n")
    with refused(methods, r"--use .*other\.txt: is not a Python file; its name must end in \.py"):
        methods.use(text)


def test_a_file_of_the_name_of_a_loaded_module_is_refused(methods, tmp_path):
    path = tmp_path / "pytest.py"
    path.write_text("x = 1\n")
    with refused(methods, r"--use .*: a module named pytest is loaded already; rename the file"):
        methods.use(path)
    assert sys.modules["pytest"] is pytest


def test_a_name_that_is_taken_is_refused(methods, tmp_path):
    with refused(methods, "Again: a method of the name 'vae' cannot be added"):
        methods.use(write(tmp_path, methods, "again", name="vae", cls="Again"))
    methods.use(write(tmp_path, methods, "mine"))
    with refused(methods, r"the methods .*Mine.* and .*Other.* have the same name 'mine'"):
        methods.use(write(tmp_path, methods, "other", cls="Other"))
    assert methods.get("mine").__name__ == "Mine"


def test_an_installed_package_brings_its_methods_when_one_is_asked_for(
    methods, tmp_path, monkeypatch
):
    write(tmp_path, methods, "mine")
    monkeypatch.syspath_prepend(tmp_path)
    package = methods.__name__
    entry = EntryPoint("mine", "mine:Mine", package)
    monkeypatch.setattr(methods._list, "entry_points", lambda group: {package: [entry]}[group])
    assert methods.names() == [*BUILT_IN, "mine"]
    assert "mine" not in sys.modules
    assert methods.get("mine").__name__ == "Mine"
    assert methods.names().count("mine") == 1
