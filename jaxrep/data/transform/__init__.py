"""Applies a fitted schema to tables, and inverts it.

Cells become raw rows, float64 `[N, columns]` with one value per column: numbers as they are,
categories as the indices of their levels (−1 for an unknown one), NaN where a cell is missing. Raw
rows become features, a `Batch`: scaled numbers, float32 `[N, D]`, and codes, int32 `[N, C]`, which
are those indices plus 1.
"""

from ._counts import Counts as Counts
from ._features import apply as apply
from ._features import apply_blocks as apply_blocks
from ._features import invert as invert
from ._features import one_hot as one_hot
from ._features import to_features as to_features
from ._features import to_values as to_values
from ._fill import fill as fill
from ._raw import aligned as aligned
from ._raw import draw_raw as draw_raw
from ._raw import from_raw as from_raw
from ._raw import to_raw as to_raw
from ._scaling import among_others as among_others
from ._scaling import drawn as drawn
from ._scaling import scaled as scaled
from ._scaling import signed_log1p as signed_log1p
from ._scaling import unscaled as unscaled
