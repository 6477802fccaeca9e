"""Training: steps, compiled runs, and the loop that dispatches them."""

from jaxrep.errors import DivergedError as DivergedError
from jaxrep.training.callbacks import Callback as Callback
from jaxrep.training.callbacks import Progress as Progress
from jaxrep.training.checkpoint import EVERY_MINUTE as EVERY_MINUTE
from jaxrep.training.checkpoint import Checkpoints as Checkpoints
from jaxrep.training.checkpoint import Every as Every
from jaxrep.training.devices import Devices as Devices
from jaxrep.training.devices import mesh_of as mesh_of
from jaxrep.training.fit import Fit as Fit
from jaxrep.training.fit import fit as fit
from jaxrep.training.history import EpochMetrics as EpochMetrics
from jaxrep.training.row_store import RowStore as RowStore
from jaxrep.training.snapshot import Snapshot as Snapshot
from jaxrep.training.step import TrainState as TrainState
from jaxrep.training.step import draw_batch as draw_batch
from jaxrep.training.step import init_state as init_state
from jaxrep.training.step import train_step as train_step
from jaxrep.training.sweep import Sweep as Sweep
from jaxrep.training.sweep import sweep as sweep
from jaxrep.training.trained import Trained as Trained
from jaxrep.training.trained import with_prior as with_prior
