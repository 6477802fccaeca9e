"""How hyperparameters are declared, and those that methods share.

A method declares its hyperparameters as a class of fields (`jaxrep.methods`), each with its
default, its range, its kind, and its help. Flags, estimators, sweeps, run folders and the report
read them from there. Only the standard library is imported, so that help on a flag needs no JAX.
"""

from jaxrep.hyperparameters._declare import Hyperparameters as Hyperparameters
from jaxrep.hyperparameters._declare import Predicts as Predicts
from jaxrep.hyperparameters._declare import Recipe as Recipe
from jaxrep.hyperparameters._declare import check as check
from jaxrep.hyperparameters._declare import check_ranges as check_ranges
from jaxrep.hyperparameters._declare import declaration as declaration
from jaxrep.hyperparameters._declare import hyperparameter as hyperparameter
from jaxrep.hyperparameters._declare import hyperparameters as hyperparameters
from jaxrep.hyperparameters._declare import without_unused as without_unused
from jaxrep.hyperparameters._ranges import MAX_LAYERS as MAX_LAYERS
from jaxrep.hyperparameters._ranges import MAX_MEMBERS as MAX_MEMBERS
from jaxrep.hyperparameters._ranges import MAX_WIDTH as MAX_WIDTH
from jaxrep.hyperparameters._ranges import Flag as Flag
from jaxrep.hyperparameters._ranges import Names as Names
from jaxrep.hyperparameters._ranges import Number as Number
from jaxrep.hyperparameters._ranges import OneOf as OneOf
from jaxrep.hyperparameters._ranges import Range as Range
from jaxrep.hyperparameters._ranges import Whole as Whole
from jaxrep.hyperparameters._ranges import Widths as Widths
from jaxrep.hyperparameters._shared import CALIBRATION as CALIBRATION
from jaxrep.hyperparameters._shared import STEPS_BY_RULE as STEPS_BY_RULE
from jaxrep.hyperparameters._shared import VIEWS as VIEWS
from jaxrep.hyperparameters._shared import TrainingHyperparameters as TrainingHyperparameters
from jaxrep.hyperparameters._shared import ViewHyperparameters as ViewHyperparameters
from jaxrep.hyperparameters._shared import anomaly_score as anomaly_score
from jaxrep.hyperparameters._shared import likelihood as likelihood

# Share of the training rows whose anomaly score lies above the threshold, unless asked otherwise.
CONTAMINATION = 0.05
