"""Data that the suite does not bring along: where it is, or what to do where it is not."""

import importlib.util
import os
from pathlib import Path


def data_folder(*needed: str) -> Path:
    """Returns the folder that `JAXREP_DATA` names.

    Args:
        *needed: names of files, or patterns of them, that must be in it.

    Raises:
        ValueError: it names no folder, or something needed is not there.
    """
    named = os.environ.get("JAXREP_DATA")
    folder = Path(named or "")
    if not named or not folder.is_dir():
        raise ValueError(
            f"JAXREP_DATA names no folder; set it to one that holds {', '.join(needed)}"
        )
    missing = [pattern for pattern in needed if not any(folder.glob(pattern))]
    if missing:
        raise ValueError(f"JAXREP_DATA={named}: {', '.join(missing)} missing there")
    return folder


def packaged(package: str, file: str) -> Path:
    """Returns a file that an installed package ships; the package is not imported.

    Args:
        package: as it is imported.
        file: its path within the package.

    Raises:
        ValueError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package} is not installed: pip install 'jaxrep[tables]'")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise ValueError(f"{package} has no file {file}; constraints.txt has the version that does")
    return path


def peers_python() -> Path | None:
    """Returns the Python of the environment that holds the peers; None where there is none.

    It is the one in the folder that `JAXREP_PEERS` names, or in `.venv-peers`, which
    `make bench-peers` makes.
    """
    named = os.environ.get("JAXREP_PEERS", Path(__file__).parents[1] / ".venv-peers")
    python = Path(named) / "bin" / "python"
    return python if python.is_file() else None
