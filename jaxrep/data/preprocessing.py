"""From tables to standardised features and back: fitted once, stored with the model."""

from ._fitted import CategoricalColumn as CategoricalColumn
from ._fitted import NumericColumn as NumericColumn
from ._fitted import Preprocessing as Preprocessing
from ._fitting import fit as fit
from ._fitting_blocks import fit_blocks as fit_blocks
from ._raw import draw_raw as draw_raw
from ._raw import from_raw as from_raw
from ._raw import to_raw as to_raw
from ._transform import apply as apply
from ._transform import apply_blocks as apply_blocks
from ._transform import invert as invert
