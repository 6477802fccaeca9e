"""Rows as one matrix, for what must be beaten: PCA, neighbours and probes on raw columns."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jaxrep.batch import Batch
from jaxrep.data.schema import Schema
from jaxrep.data.transform import one_hot
from jaxrep.networks import WIDE


@dataclass(frozen=True)
class RawColumns:
    """The way from rows to a matrix of scaled numbers and one-hot categories, and back.

    Of a category with more than 1,000 values only the 999 levels that most of the rows looked at
    have are columns; all others count as "other", code 0. A matrix stays small whatever a table's
    levels are.

    Example:
        >>> from jaxrep.data.schema import CategoricalColumn
        >>> job = CategoricalColumn("job", ("clerk", "smith"), has_gaps=False)
        >>> raw = RawColumns.of(Schema((job,)), Batch(np.empty((1, 0)), np.array([[2]])))
        >>> raw.matrix(Batch(np.empty((2, 0)), np.array([[1], [0]])))
        array([[0., 1., 0.],
               [1., 0., 0.]], dtype=float32)
    """

    schema: Schema
    """Of the rows, with the levels that are columns."""

    kept: tuple[npt.NDArray[np.int32] | None, ...]
    """For each code that has more levels, the codes of those that are columns, ascending."""

    @classmethod
    def of(cls, schema: Schema, rows: Batch) -> "RawColumns":
        """Returns the columns of a schema's rows.

        Args:
            schema: what `fit` returned.
            rows: those that are looked at.
        """
        kept: list[Any] = []
        columns = list(schema.columns)
        codes = schema.column_order[len(schema.numeric) :]
        for c, i in enumerate(codes):
            levels = schema.categorical[c].levels
            kept.append(None)
            if len(levels) < WIDE:
                continue
            assert rows.codes is not None
            counts = np.bincount(np.maximum(rows.codes[:, c], 0), minlength=len(levels) + 1)[1:]
            most = np.argsort(-counts, kind="stable")[: WIDE - 1]
            kept[c] = np.sort(most).astype(np.int32) + 1
            chosen = tuple(levels[code - 1] for code in kept[c])
            column = schema.categorical[c]
            columns[i] = msgspec.structs.replace(
                column, levels=chosen, fill=None, has_gaps=column.keeps_gaps
            )
        return cls(msgspec.structs.replace(schema, columns=tuple(columns)), tuple(kept))

    def matrix(self, rows: Batch) -> npt.NDArray[np.float32]:
        """Returns rows as a matrix `[N, W]`, as of `jaxrep.data.transform.one_hot`."""
        if all(kept is None for kept in self.kept):
            return one_hot(self.schema, rows)
        codes = np.array(rows.codes)
        for c, kept in enumerate(self.kept):
            if kept is not None:
                places = np.searchsorted(kept, codes[:, c]).clip(max=len(kept) - 1)
                is_kept = kept[places] == codes[:, c]
                codes[:, c] = np.where(is_kept, places + 1, np.minimum(codes[:, c], 0))
        return one_hot(self.schema, Batch(rows.numbers, codes))  # type: ignore[arg-type]

    def rows(self, matrix: npt.NDArray[Any]) -> Batch:
        """Returns the rows nearest to those of a matrix: its numbers, and the largest levels.

        Args:
            matrix: `[N, W]`, as a PCA gives it back.

        Returns:
            Rows without missing cells and "other".
        """
        spec = self.schema.row_spec()
        numbers: Any = matrix[:, : spec.numbers]
        start = spec.numbers + sum(spec.number_gaps)
        codes: Any = np.empty((len(matrix), spec.codes), np.int32) if spec.codes else None
        for c, (values, has_gaps) in enumerate(zip(spec.levels, spec.code_gaps, strict=True)):
            places = matrix[:, start + 1 : start + values].argmax(axis=1)
            kept = self.kept[c]
            codes[:, c] = places + 1 if kept is None else kept[places]
            start += values + has_gaps
        return Batch(numbers, codes)
