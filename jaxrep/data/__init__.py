"""Tables in and out, and what turns them into features."""

from ._arrow import to_arrow as to_arrow
from .datasets import LABELS as LABELS
from .datasets import NAMES as NAMES
from .datasets import load as load
from .preprocessing import CategoricalColumn as CategoricalColumn
from .preprocessing import NumericColumn as NumericColumn
from .preprocessing import Preprocessing as Preprocessing
from .preprocessing import apply as apply
from .preprocessing import fit as fit
from .preprocessing import invert as invert
from .tables import check_output as check_output
from .tables import read_blocks as read_blocks
from .tables import read_table as read_table
from .tables import write_blocks as write_blocks
from .tables import write_table as write_table
