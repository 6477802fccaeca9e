"""Golden rows: what a file carries of rows and of the outputs that are expected for them."""

import io
import warnings
import zipfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_ref.description import FileFormatError


def read_golden(golden: Any) -> dict[str, Tensor]:
    """Returns golden rows and outputs as tensors of float64.

    Args:
        golden: nested lists of numbers by name, as JSON has them; null is NaN.

    Raises:
        FileFormatError: names what is not an array of numbers.
    """
    if not isinstance(golden, dict):
        raise FileFormatError("the golden rows are no object")
    tensors = {}
    for name, values in golden.items():
        try:
            tensors[name] = torch.from_numpy(np.array(values, np.float64))
        except (ValueError, TypeError, OverflowError) as error:
            raise FileFormatError(f"golden {name!r:.40} is not an array of numbers") from error
    return tensors


def read_tensors(data: bytes) -> dict[str, Any]:
    """Returns tensors by name as torch.save writes them; nothing in the data is run.

    Raises:
        FileFormatError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, warnings.catch_warnings():
            size = sum(info.file_size for info in archive.infolist())
            warnings.simplefilter("ignore")  # what they warn of, the error says
            # A file of torch.save compresses nothing: one that does could fill any memory.
            tensors = torch.load(io.BytesIO(data), weights_only=True) if size <= len(data) else None
    except Exception as error:  # pickle, zipfile and torch raise half a dozen kinds
        raise FileFormatError("not tensors as torch.save writes them, or damaged") from error
    if not isinstance(tensors, dict):
        raise FileFormatError("no dictionary of tensors")
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not _is_held(tensor):
            raise FileFormatError(f"{name!r:.40} promises more than the file holds")
    return tensors


def _is_held(tensor: Tensor) -> bool:
    """Says whether a tensor has memory of its own for all that it promises."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
