"""Cuts a table that arrives in pieces of any length into blocks of one length."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

_CELLS = 1 << 22
_MOST_ROWS = 1 << 17


def block_rows(columns: int) -> int:
    """Returns the rows of a block of which a few fit into memory, whatever the width.

    Example:
        >>> block_rows(32), block_rows(1_000_000)
        (131072, 4)
    """
    return min(max(_CELLS // max(columns, 1), 1), _MOST_ROWS)


def in_blocks(pieces: Iterable[pa.Table], rows: int | None) -> Iterator[pa.Table]:
    """Yields the rows of all pieces in tables of `rows` rows, the last of them perhaps shorter.

    Example:
        >>> pieces = [pa.table({"a": [1, 2, 3]}), pa.table({"a": [4, 5]})]
        >>> [block["a"].to_pylist() for block in in_blocks(pieces, 2)]
        [[1, 2], [3, 4], [5]]
    """
    waiting: list[pa.Table] = []
    count = 0
    for piece in pieces:
        rows = rows or block_rows(piece.num_columns)
        waiting.append(piece)
        count += piece.num_rows
        if count < rows:
            continue
        table = pa.concat_tables(waiting)
        rest = count % rows
        for start in range(0, count - rest, rows):
            yield table.slice(start, rows)
        waiting, count = [table.slice(count - rest)], rest
    if count:
        yield pa.concat_tables(waiting)
