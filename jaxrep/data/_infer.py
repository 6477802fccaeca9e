"""What the cells of a CSV's column are, which are all text: integers, numbers, or text indeed."""

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ._arrow import texts_to_arrow
from ._conform import without_numbers
from ._request import MISSING

# Leading zeros and a plus belong to codes: zip codes, telephone numbers.
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_ANY_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def infer_type(column: Any, na_values: Collection[str] = ()) -> Any:
    """Returns a column of text as int64 or float64 if all its cells are numbers, else as it is.

    Cells such as NA, which mean "missing" in a column of numbers, do so if all others are numbers.
    Numbers with leading zeros or a plus sign stay text: they are codes more often than quantities.

    Args:
        column: a pyarrow ChunkedArray of strings; one of another type is returned as it is.
        na_values: further numbers that mean "missing", compared by value.

    Example:
        >>> infer_type(pa.chunked_array([["3", "NA", "-1"]])).to_pylist()
        [3, None, -1]
        >>> infer_type(pa.chunked_array([["01067", "10115"]])).to_pylist()
        ['01067', '10115']
    """
    if column.type != pa.string():
        return column
    cells = _present(column)
    if _all_match(cells, _INTEGER):
        kind = pa.int64()
    elif _all_match(cells, _NUMBER):
        kind = pa.float64()
    else:
        return column
    try:
        return without_numbers(cells.cast(kind), na_values)
    except pa.ArrowInvalid:  # more digits than an int64 has
        return column


def first_text(column: Any) -> int | None:
    """Returns the index of the first cell that is neither a number nor missing, if there is one.

    Args:
        column: a pyarrow ChunkedArray of strings.

    Example:
        >>> first_text(pa.chunked_array([["+1", "NA", "high"]]))
        2
    """
    is_number = pc.match_substring_regex(_present(column), _ANY_NUMBER)
    found: int = pc.index(is_number, False).as_py()
    return None if found < 0 else found


def parse_numbers(column: Any) -> Any:
    """Returns a column of text in which `first_text` finds none as float64.

    Example:
        >>> parse_numbers(pa.chunked_array([["+1", "NA", "007"]])).to_pylist()
        [1.0, None, 7.0]
    """
    unsigned = pc.replace_substring_regex(_present(column), r"^\+", "")
    return unsigned.cast(pa.float64())


def _present(column: Any) -> Any:
    """Returns the cells without blanks around them, null where they mean a missing number."""
    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, value_set=texts_to_arrow(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def _all_match(cells: Any, pattern: str) -> bool:
    """Says whether all cells that are not null match, also where all are null."""
    return bool(pc.all(pc.match_substring_regex(cells, pattern), min_count=0).as_py())
