"""TorchScript files: the only place that calls `torch.jit`.

A file is an archive of `torch_ref.archives`, with golden rows in `extra/golden.pt`.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_ref import archives
from torch_ref.description import Contents, FileFormatError, check_outputs
from torch_ref.golden import read_tensors
from torch_ref.serving import Served

_GOLDEN = "extra/golden.pt"


def pack(served: Served, meta: Mapping[str, Any], golden: Mapping[str, Tensor]) -> bytes:
    """Compiles a served network and returns the bytes of its file.

    Args:
        served: from `torch_ref.serving`.
        meta: what to carry besides the digests; plain JSON, with `method` and `outputs`.
        golden: rows and expected outputs.

    Returns:
        The archive; the same for the same arguments, wherever it is made.
    """
    frozen = served.eval().requires_grad_(False)
    for name in frozen.outputs:
        torch.jit.export(getattr(type(frozen), name))
    buffer, carried = io.BytesIO(), io.BytesIO()
    with _without_deprecation():
        torch.jit.save(torch.jit.script(frozen), buffer)
    torch.save(dict(golden), carried)
    added = {_GOLDEN: carried.getvalue()}
    return archives.seal(buffer.getvalue(), meta, frozen.state_dict(), added)


def unpack(data: bytes) -> Contents:
    """Reads a file and checks every digest in it. Reading one can run code that it holds.

    Args:
        data: the file's bytes.

    Returns:
        What the file carries.

    Raises:
        FileFormatError: it is not a file of ours, parts are missing, or a digest does not hold.
    """
    members = archives.read_members(data)
    meta = archives.unseal(members, _GOLDEN)
    try:
        with _without_deprecation():
            module: Any = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a reader meets in a file that someone made up
        raise FileFormatError(f"cannot be loaded: {error}") from error
    names = ("forward", *check_outputs(meta.get("outputs")))
    if absent := [name for name in names if not hasattr(module, name)]:
        raise FileFormatError(f"the module has no function {absent[0]}")
    archives.check_state(meta, module.state_dict())
    try:
        golden = read_tensors(members[_GOLDEN])
    except FileFormatError as error:
        raise FileFormatError(f"{_GOLDEN}: {error}") from error
    if "rows" not in golden:
        raise FileFormatError(f"{_GOLDEN} holds no rows")
    return Contents(module, meta, golden)


def load(path: Path) -> Any:
    """Loads the module of a file whose digests hold; `torch.jit.load` does without the check.

    Args:
        path: of a file that `jaxrep export` wrote, by someone you trust: TorchScript runs code.

    Returns:
        A module with the functions of `torch_ref.serving`, such as `score(rows)`.

    Raises:
        FileFormatError: it is not a file of ours, or damaged.
    """
    return unpack(Path(path).read_bytes()).module


@contextmanager
def _without_deprecation() -> Iterator[None]:
    """torch.jit says that it is deprecated at each call: once, in our documents, is enough."""
    with warnings.catch_warnings():
        for category in (
            DeprecationWarning,
            FutureWarning,
        ):  # the one to torch 2.13, then the other
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=category)
        yield
