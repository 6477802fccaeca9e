"""Tables in and out, and the schema that turns their cells into features."""

from ._arrow import to_arrow as to_arrow
from .columns import Columns as Columns
from .datasets import LABELS as LABELS
from .datasets import NAMES as NAMES
from .datasets import load as load
from .fit import Fitted as Fitted
from .fit import fit as fit
from .read import read_blocks as read_blocks
from .read import read_table as read_table
from .schema import Schema as Schema
from .transform import apply as apply
from .transform import invert as invert
from .transform import one_hot as one_hot
from .write import check_output as check_output
from .write import write_blocks as write_blocks
from .write import write_table as write_table
