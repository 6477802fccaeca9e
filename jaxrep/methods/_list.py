"""The list of methods: which there are, and where each stands.

It is the only one: flags, estimators, sweeps, report, parity and export go through it. Importing it
loads neither a method nor JAX; what is asked for loads the module that it is in.
"""

import importlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrep.errors import InputError
from jaxrep.hyperparameters import Predicts, TrainingHyperparameters

if TYPE_CHECKING:
    from jaxrep.methods._method import AnyMethod

GROUP = "jaxrep.methods"

# By the name of its module, the class of each method. Its network and its hyperparameters are named
# after it, and these are in the module's neighbour, which needs no JAX.
BUILT_IN = {
    "autoencoder": "Autoencoder",
    "vae": "VAE",
    "simclr": "SimCLR",
    "denoiser": "Denoiser",
    "classifier": "Classifier",
    "regressor": "Regressor",
}

_registered: dict[str, "type[AnyMethod]"] = {}


def names() -> list[str]:
    """Returns the names of all methods.

    Example:
        >>> names()[:3]
        ['autoencoder', 'vae', 'simclr']
    """
    return list(dict.fromkeys((*BUILT_IN, *_registered, *_installed())))


def without_labels() -> list[str]:
    """Returns the names of the methods that learn from a table alone.

    Example:
        >>> without_labels()[:3]
        ['autoencoder', 'vae', 'simclr']
    """
    return [name for name in names() if hyperparameters_of(name).predicts is None]


def predicting(kind: Predicts) -> str:
    """Returns the name of the method that fine-tunes a network to predict classes or numbers.

    Example:
        >>> predicting("classes")
        'classifier'
    """
    return next(name for name in BUILT_IN if hyperparameters_of(name).predicts == kind)


def hyperparameters_of(name: str) -> type[TrainingHyperparameters]:
    """Returns the class of a method's hyperparameters; for a built-in method without loading JAX.

    Args:
        name: of the method.

    Raises:
        InputError: there is no such method.

    Example:
        >>> hyperparameters_of("vae")().beta
        0.02
    """
    if name not in BUILT_IN:
        return get(name).hyperparameters_type
    module = importlib.import_module(f"jaxrep.methods.{name}_hyperparameters")
    found: type[TrainingHyperparameters] = getattr(module, f"{BUILT_IN[name]}Hyperparameters")
    return found


def get(name: str) -> "type[AnyMethod]":
    """Returns the class of a method.

    Args:
        name: of the method.

    Raises:
        InputError: there is no such method.

    Example:
        >>> get("vae").__name__
        'VAE'
    """
    if name in BUILT_IN:
        module = importlib.import_module(f"jaxrep.methods.{name}")
        found: type[AnyMethod] = getattr(module, BUILT_IN[name])
        return found
    if name not in _registered and (entry := _installed().get(name)):
        register(entry.load())
    if name not in _registered:
        raise InputError(
            f"there is no method {name!r:.40}; there are {', '.join(names())}. A method of another "
            "package comes with that package, installed here, or with --use FILE.py"
        )
    return _registered[name]


def make(hyperparameters: TrainingHyperparameters) -> "AnyMethod":
    """Returns the method of the given hyperparameters.

    Args:
        hyperparameters: of any method.

    Raises:
        InputError: their method is not known.

    Example:
        >>> make(hyperparameters_of("vae")(beta=4.0)).name
        'vae'
    """
    return get(type(hyperparameters).name)(hyperparameters)


def register(method: "type[AnyMethod]") -> None:
    """Makes a method known by its name, in this process.

    Args:
        method: a subclass of `Method` whose hyperparameters have a name.

    Raises:
        InputError: the name is empty, or another method has it.
    """
    name = method.hyperparameters_type.name
    known = _registered.get(name)
    if not name or name in BUILT_IN:
        raise InputError(f"{method.__qualname__}: a method of the name {name!r} cannot be added")
    if known is not None and known.__qualname__ != method.__qualname__:
        raise InputError(f"the methods {known!r} and {method!r} have the same name {name!r}")
    _registered[name] = method


def use(path: Path) -> None:
    """Runs a Python file and registers the methods that it defines, and their PyTorch twins.

    Args:
        path: of the file; its folder is searched for modules that the file imports.

    Raises:
        InputError: the file cannot be read or run, or defines a method whose name is taken.
    """
    from jaxrep.methods._method import Method

    module = _load_module(path)
    defined = [
        made
        for made in vars(module).values()
        if isinstance(made, type)
        and issubclass(made, Method)
        and made.__module__ == module.__name__
        and made.hyperparameters_type.name
    ]
    for method in defined:
        register(method)
    if "torch_ref.methods" in sys.modules:  # else the file defines no twin, nor needs torch
        try:
            sys.modules["torch_ref.methods"].use(path)
        except ValueError as error:  # the name of a twin is taken
            raise InputError(f"--use {path}: {error}") from error


def _load_module(path: Path) -> Any:
    """Runs a Python file as a module of its own name, once in a process.

    Raises:
        InputError: the file cannot be read or run.
    """
    name = path.stem
    if not path.is_file():
        raise InputError(f"--use {path}: there is no such file")
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    if loaded is not None:
        raise InputError(f"--use {path}: a module named {name} is loaded already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"--use {path}: is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"--use {path}: cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _installed() -> dict[str, EntryPoint]:
    """Returns the entry points of other packages by the names of their methods."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}
