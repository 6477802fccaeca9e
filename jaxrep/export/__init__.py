"""Trained models for use without JAX: files that hold their schema and their proof.

PyTorch is imported when something is exported, not before.
"""

from jaxrep.export._export import FORMATS as FORMATS
from jaxrep.export._export import export_run as export_run
from jaxrep.export._import import import_run as import_run
