"""The list of methods: which there are, and where each stands, as in `jaxrep.methods`.

What is asked for loads the module that it is in.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from torch_ref.methods._method import AnyMethod, Method

GROUP = "torch_ref.methods"

# By the name of its module, the class of each method.
BUILT_IN = {
    "autoencoder": "Autoencoder",
    "vae": "VAE",
    "simclr": "SimCLR",
    "denoiser": "Denoiser",
    "classifier": "Classifier",
    "regressor": "Regressor",
}

_registered: dict[str, type[AnyMethod]] = {}
_files: dict[str, Path] = {}


def names() -> list[str]:
    """Returns the names of all methods.

    Example:
        >>> names()[:3]
        ['autoencoder', 'vae', 'simclr']
    """
    return list(dict.fromkeys((*BUILT_IN, *_registered, *_installed())))


def get(name: str) -> type[AnyMethod]:
    """Returns the class of a method.

    Args:
        name: of the method.

    Raises:
        ValueError: there is no such method.

    Example:
        >>> get("vae").__name__
        'VAE'
    """
    if name in BUILT_IN:
        module = importlib.import_module(f"torch_ref.methods.{name}")
        found: type[AnyMethod] = getattr(module, BUILT_IN[name])
        return found
    if name not in _registered and (entry := _installed().get(name)):
        register(entry.load())
    if name not in _registered:
        raise ValueError(
            f"there is no method {name!r:.40}; there are {', '.join(names())}. A method of another "
            "package comes with that package, installed here, or with --use FILE.py"
        )
    return _registered[name]


def make(name: str, values: Mapping[str, Any]) -> AnyMethod:
    """Returns the method of a name, with given hyperparameters.

    Args:
        name: of the method.
        values: all its hyperparameters; lists, as JSON has them, stand for tuples.

    Raises:
        ValueError: there is no such method.
        TypeError: names a value that is missing or unknown.

    Example:
        >>> from dataclasses import asdict
        >>> from jaxrep.methods import VAEHyperparameters  # torch_ref has no defaults of its own
        >>> make("vae", asdict(VAEHyperparameters(beta=4.0))).hyperparameters.beta
        4.0
    """
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return get(name)(**given)


def register(method: type[AnyMethod]) -> None:
    """Makes a method known by its name, in this process.

    Args:
        method: a subclass of `Method` that has a name.

    Raises:
        ValueError: the name is empty, or another method has it.
    """
    known = _registered.get(method.name)
    if not method.name or method.name in BUILT_IN:
        raise ValueError(
            f"{method.__qualname__}: a method of the name {method.name!r} cannot be added"
        )
    if known is not None and known.__qualname__ != method.__qualname__:
        raise ValueError(f"the methods {known!r} and {method!r} have the same name {method.name!r}")
    _registered[method.name] = method


def use(path: Path) -> None:
    """Runs a Python file and registers the methods that it defines, if any.

    Args:
        path: of the file; its folder is searched for modules that the file imports.

    Raises:
        ValueError: the file cannot be read or run.
    """
    module = _load_module(path)
    defined = [
        made
        for made in vars(module).values()
        if isinstance(made, type)
        and issubclass(made, Method)
        and made.__module__ == module.__name__
        and made.name
    ]
    for method in defined:
        register(method)
        _files[method.name] = path.resolve()


def file_of(name: str) -> Path | None:
    """Returns the file that `use` had a method from, which another process has to use as well.

    Args:
        name: of the method.

    Returns:
        Its path; None for methods that come with a package.
    """
    return _files.get(name)


def _load_module(path: Path) -> Any:
    """Runs a Python file as a module of its own name, once in a process."""
    name = path.stem
    if not path.is_file():
        raise ValueError(f"--use {path}: there is no such file")
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    if loaded is not None:
        raise ValueError(f"--use {path}: a module named {name} is loaded already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"--use {path}: is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"--use {path}: cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _installed() -> dict[str, EntryPoint]:
    """Returns the entry points of other packages by the names of their methods."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}
