"""What a model learns to predict from labelled rows: classes, or a number; fitted, then stored.

A column of labels becomes class numbers or standardised numbers by `encode`, and predictions become
labels again by `decode`. What was learnt of the column is plain data, kept with the model.
"""

from typing import Any

from ._classes import Classes as Classes
from ._classes import are_classes as are_classes
from ._classes import balanced_weights as balanced_weights
from ._classes import fit_classes as fit_classes
from ._labels import check_label as check_label
from ._labels import label_texts as label_texts
from ._labels import labelled as labelled
from ._labels import labels_of as labels_of
from ._numbers import Numbers as Numbers
from ._numbers import fit_numbers as fit_numbers

Target = Classes | Numbers


def target_from_json(data: Any) -> Target:
    """Returns the classes or numbers that their `to_json` described.

    Raises:
        ModelFormatError: as `Classes.from_json` and `Numbers.from_json`.

    Example:
        >>> target_from_json(Numbers("y", mean=1.0, scale=2.0).to_json())
        Numbers(name='y', mean=1.0, scale=2.0)
    """
    is_numbers = isinstance(data, dict) and data.get("kind") == "numbers"
    return Numbers.from_json(data) if is_numbers else Classes.from_json(data)
