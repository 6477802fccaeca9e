"""A label column of classes."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

from jaxrep.errors import InputError, ModelFormatError

from .._arrow import as_array, texts_to_arrow, to_arrow, to_float64, to_numpy
from .._messages import joined
from ..schema import Finite, Text
from ._labels import (
    Label,
    as_column,
    as_numbers,
    count_labelled,
    finite_numbers,
    infer_type,
    place,
    present_labels,
    quoted,
)
from ._plain_data import from_json, to_json

MOST_CLASSES = 1000
"""The most classes that a column may have."""

ROWS_PER_CLASS = 2
"""The fewest rows that a class may have on average."""

FEW_CLASSES, ROWS_PER_NUMBER = 20, 5
"""Of more numbers than this many, each must have that many rows on average to be a class."""

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

_RULE = (
    f"classes are text, booleans or whole numbers, at most {MOST_CLASSES} of them with "
    f"{ROWS_PER_CLASS} rows or more on average, or {ROWS_PER_NUMBER} where they are more than "
    f"{FEW_CLASSES} numbers"
)


class Classes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="classes"
):
    """The classes of a label column, which are numbered in their order.

    Attributes:
        name: the column's name.
        labels: the different labels, all of one type, sorted.

    Example:
        >>> colours = Classes("colour", ("blue", "red"))
        >>> colours.encode(np.array(["red", "red", "blue"])), colours.decode(np.array([0, 1]))
        (array([1, 1, 0], dtype=int32), array(['blue', 'red'], dtype=object))
        >>> Classes.from_json(colours.to_json()) == colours
        True
    """

    name: Text
    labels: Annotated[
        tuple[Text | bool | _Int64 | Finite, ...], Meta(min_length=2, max_length=MOST_CLASSES)
    ]

    def encode(self, values: Any, *, source: str = "values") -> npt.NDArray[np.int32]:
        """Returns the class number of each row, `[N]`.

        Labels are compared by what they say: the text "1" and the number 1.0 are the label 1.

        Args:
            values: an Arrow column or an array, `[N]`, none missing.
            source: where they come from, for messages.

        Raises:
            InputError: a value is missing, or none of the classes.
        """
        column = present_labels(values, self.name, source)
        labels, cells = _comparable(_labels_to_arrow(self.labels), column)
        found = pc.index_in(cells, value_set=labels)
        if found.null_count:
            row = pc.index(pc.is_null(found), True).as_py()
            known = joined([repr(label) for label in self.labels])
            raise InputError(
                f"{place(source, self.name)}: {quoted(column[row].as_py())} (row {row}, from 0) "
                f"is none of the classes, {known}; correct the cell or leave the row out"
            )
        return to_numpy(found).astype(np.int32)

    def decode(self, prediction: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Returns the label of each class number, `[N]`.

        Args:
            prediction: class numbers, `[N]`.

        Returns:
            Python strings as dtype object; otherwise bool, int64 or float64.
        """
        is_text = isinstance(self.labels[0], str)
        labels = np.array(self.labels, object if is_text else None)
        decoded: npt.NDArray[Any] = labels[prediction]
        return decoded

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that JSON can hold, from which `from_json` rebuilds it."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> "Classes":
        """Returns the classes that `to_json` described, trusting nothing in it.

        Raises:
            ModelFormatError: a key is missing, unknown, or has a value that cannot be.

        Example:
            >>> Classes.from_json({"kind": "classes", "name": "y", "labels": ["b", "a"]})
            Traceback (most recent call last):
            ...
            jaxrep.errors.ModelFormatError: target: not in ascending order - at `$.labels`
        """
        made = from_json(data, cls)
        if len({type(label) for label in made.labels}) > 1:
            raise ModelFormatError("target: of more than one type - at `$.labels`")
        if any(not a < b for a, b in zip(made.labels, made.labels[1:], strict=False)):  # type: ignore[operator]
            raise ModelFormatError("target: not in ascending order - at `$.labels`")
        return made


def are_classes(values: Any) -> bool:
    """Says whether labels look like classes: text, booleans, or at most 20 different whole numbers.

    Args:
        values: an Arrow column or an array, `[N]`.

    Example:
        >>> are_classes(np.array(["a", "b"])), are_classes(np.array([0.5, 1.0]))
        (True, False)
    """
    column = as_column(values, "label", "values")
    if column.type in (pa.string(), pa.bool_()):
        return True
    numbers = as_array(as_numbers(column, "label", "values"))
    different = np.unique(numbers[np.isfinite(numbers)])
    return len(different) <= FEW_CLASSES and bool((different == np.floor(different)).all())


def fit_classes(values: Any, name: str, source: str, *, skip_missing: bool = False) -> Classes:
    """Learns the classes of a label column.

    Text, booleans, integers and whole numbers are classes, if they are at most 1000 and have 2 rows
    or more on average, and 5 if they are more than 20 numbers; all else is a quantity, or an id.

    Args:
        values: an Arrow column or an array, `[N]`.
        name: the column's name.
        source: where it comes from, for messages.
        skip_missing: leave rows without a label out; otherwise they are refused.

    Raises:
        InputError: values are missing, infinite, not whole, all the same or too many different
            ones, or there are fewer than 2.

    Example:
        >>> fit_classes(np.array([1, 0, 1, 1]), "bought", "example").labels
        (0, 1)
        >>> fit_classes(np.array([0.5, 0.25]), "price", "shop")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        jaxrep.errors.InputError: shop: label 'price': 0.5 (row 0, from 0) is not a whole ...
    """
    column = as_column(values, name, source)
    rows = count_labelled(column, name, source, skip_missing=skip_missing)
    where = place(source, name)
    if column.type == pa.float64():
        numbers = finite_numbers(column, name, source)
        if (bad := ~np.isnan(numbers) & (numbers != np.floor(numbers))).any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{where}: {numbers[row]:g} (row {row}, from 0) is not a whole number; "
                f"{_RULE}: fine-tune a regressor on this column, or choose another"
            )
        column = pa.chunked_array([to_arrow(numbers[~np.isnan(numbers)] + 0.0)])  # no −0
    labels = sorted(pc.unique(column.drop_null()).to_pylist())
    if len(labels) == 1:
        raise InputError(
            f"{where}: all {rows} rows are of one class, {quoted(labels[0])}; there is nothing to "
            "tell apart: choose another label, or a table with other rows too"
        )
    is_number = column.type not in (pa.string(), pa.bool_())
    are_many = is_number and len(labels) > FEW_CLASSES
    least = ROWS_PER_NUMBER if are_many else ROWS_PER_CLASS
    if len(labels) > MOST_CLASSES or rows < least * len(labels):
        advice = "choose another column: this one looks like an id"
        if is_number:
            advice = "fine-tune a regressor on this column, or choose another"
        raise InputError(
            f"{where}: {len(labels)} different values in {rows} rows; {_RULE}: {advice}"
        )
    return Classes(name, tuple(labels))


def balanced_weights(classes: npt.NDArray[np.integer[Any]], count: int) -> npt.NDArray[np.float32]:
    """Returns row weights by which all classes weigh the same: N/(K·nₖ), of mean 1.

    nₖ is the number of rows of a row's class, K that of the classes which have rows. They are the
    weights of scikit-learn's `class_weight="balanced"`.

    Args:
        classes: class numbers, `[N]`.
        count: number of classes, with those that have no rows.

    Example:
        >>> balanced_weights(np.array([0, 0, 0, 1]), 2)
        array([0.6666667, 0.6666667, 0.6666667, 2.       ], dtype=float32)
    """
    rows = np.bincount(classes, minlength=count)
    if len(rows) > count:
        raise ValueError(f"a class number is {len(rows) - 1}; there are {count} classes")
    present = np.count_nonzero(rows)
    by_class = len(classes) / (present * np.maximum(rows, 1))
    weights: npt.NDArray[np.float32] = by_class[classes].astype(np.float32)
    return weights


def _comparable(labels: Any, column: Any) -> tuple[Any, Any]:
    """Returns labels and cells in one type, in which equal ones are the same."""
    column = column if labels.type == pa.string() else infer_type(column)
    if labels.type == column.type != pa.float64():
        return labels, column
    if pa.string() in (labels.type, column.type):
        texts = column.cast(pa.string())
        is_bool = labels.type == pa.bool_()  # pandas writes True where Arrow writes true
        return labels.cast(pa.string()), pc.utf8_lower(texts) if is_bool else texts
    numbers = to_float64(column)
    return to_float64(labels), pc.add(numbers, 0.0)  # no −0


def _labels_to_arrow(labels: Sequence[Label]) -> Any:
    texts = [label for label in labels if isinstance(label, str)]
    return texts_to_arrow(texts) if texts else to_arrow(np.array(labels))
