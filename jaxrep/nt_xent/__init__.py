"""NT-Xent with a gradient of its own, for any batch size, on any number of devices.

`_loss` is the entry and its derivatives, from the denominators and the pull of the softmax alone.
Three forms compute these two: `_dense` keeps all exponentials, `_tiled` a tile of them at a time,
`_sharded` gives each device of a mesh its share of the tiles. `_schedule` says which tiles there
are. A kernel for one kind of accelerator would be a further form, behind the same function.
"""

from jaxrep.nt_xent._loss import nt_xent as nt_xent
from jaxrep.nt_xent._sharded import devices as devices
from jaxrep.nt_xent._tile_plan import TilePlan as TilePlan
from jaxrep.nt_xent._tile_plan import tile_plan as tile_plan
