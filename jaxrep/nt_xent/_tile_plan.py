"""Which tiles of the similarities are computed, in what order, and what that costs."""

from typing import NamedTuple

# Tiles of this many rows run at nine tenths of the rate of a large matrix product on the CPU;
# an array of the square or of rows × width stays in its caches.
_MAX_TILE = 1024
_MAX_ELEMENTS = 1 << 20
_LANES = 16  # rows of a tile come in multiples


class TilePlan(NamedTuple):
    """The tiles of a symmetric matrix: each pair of blocks of rows once.

    With b blocks, pair number t is block i = t mod b beside block (i + t div b) mod b, for
    0 ≤ t < b(b + 1)/2: first the diagonal, then one wrapped diagonal after the other. Every block
    is in as many of them as every other, and a pair is found from its number without a table.

    Example:
        >>> plan = tile_plan(4096, 128)
        >>> plan.tile, plan.blocks, plan.pairs
        (1024, 4, 10)
        >>> round(plan.products / (4 * 4096**2 * 128), 2), plan.exponentials / 4096**2
        (1.25, 1.25)
    """

    rows: int
    """M, embeddings of both views."""

    width: int
    """P, size of an embedding."""

    tile: int
    """T, rows of a block, the last of which may be padded."""

    blocks: int
    """b = ⌈M / T⌉ or more."""

    @property
    def pairs(self) -> int:
        """Tiles in a pass: half of the square plus half of the diagonal, b(b + 1)/2."""
        return self.blocks * (self.blocks + 1) // 2

    @property
    def products(self) -> int:
        """Floating-point operations in matrix products for loss and gradient, 8·T²·P a tile.

        The similarities, once in each of the two passes, and the products of both blocks' gradient.
        """
        return 8 * self.tile**2 * self.width * self.pairs

    @property
    def exponentials(self) -> int:
        """Exponentials for loss and gradient, T² a tile in each of the two passes."""
        return 2 * self.tile**2 * self.pairs


def tile_plan(rows: int, width: int, *, tile: int | None = None, devices: int = 1) -> TilePlan:
    """Plans the tiles from shapes alone.

    Args:
        rows: M, embeddings of both views.
        width: P.
        tile: T, at least 1; None chooses it from M and P.
        devices: that share the tiles. The number of blocks is a multiple of twice theirs, which
            gives every device equally many tiles.

    Raises:
        ValueError: the tile is below 1.

    Example:
        >>> tile_plan(258, 32, devices=2)
        TilePlan(rows=258, width=32, tile=80, blocks=4)
        >>> tile_plan(258, 32, tile=100).blocks
        3
    """
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}; a tile has at least 1 row, or None chooses")
    unit = 1 if devices == 1 else 2 * devices
    most = tile or max(min(_MAX_TILE, _MAX_ELEMENTS // max(width, 1)), _LANES)
    blocks = unit * _divided_up(rows, unit * most)
    fitted = tile or _LANES * _divided_up(rows, blocks * _LANES)
    return TilePlan(rows, width, fitted, blocks)


def _divided_up(a: int, b: int) -> int:
    return max(-(-a // b), 1)
