"""The commands of the command line: the flags of each, and the call that does its work.

Flags, their defaults and their help come from these classes and from the hyperparameters. Imports
stay inside the calls, so that `jaxrep --help` loads neither jax nor pyarrow.
"""

from jaxrep.commands._command import printable as printable
from jaxrep.commands._doctor import Doctor as Doctor
from jaxrep.commands._evaluate import Evaluate as Evaluate
from jaxrep.commands._export import Export as Export
from jaxrep.commands._export import Import as Import
from jaxrep.commands._outputs import Decode as Decode
from jaxrep.commands._outputs import Embed as Embed
from jaxrep.commands._outputs import Generate as Generate
from jaxrep.commands._outputs import Info as Info
from jaxrep.commands._outputs import Interpolate as Interpolate
from jaxrep.commands._outputs import Reconstruct as Reconstruct
from jaxrep.commands._outputs import Score as Score
from jaxrep.commands._parity import Parity as Parity
from jaxrep.commands._prepare import Prepare as Prepare
from jaxrep.commands._report import Report as Report
from jaxrep.commands._sweep import SweepMethod as SweepMethod
from jaxrep.commands._train import Resume as Resume
from jaxrep.commands._train import TrainMethod as TrainMethod
