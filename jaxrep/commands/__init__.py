"""The commands of the command line: the flags of each, and the call that does its work.

Flags, their defaults and their help come from these classes and from the hyperparameters. Imports
stay inside the calls, so that `jaxrep --help` loads neither jax nor pyarrow.
"""

from typing import Annotated, Any, Union

from tyro.conf import arg, subcommand

from jaxrep.commands._command import printable as printable
from jaxrep.commands._compare import Compare
from jaxrep.commands._doctor import Doctor
from jaxrep.commands._evaluate import Evaluate
from jaxrep.commands._export import Export, Import
from jaxrep.commands._finetune import Predict, finetune_command
from jaxrep.commands._methods import check_method as check_method
from jaxrep.commands._methods import method_command
from jaxrep.commands._methods import take_used_files as take_used_files
from jaxrep.commands._outputs import (
    Decode,
    Embed,
    Generate,
    Info,
    Interpolate,
    Reconstruct,
    Score,
)
from jaxrep.commands._parity import Parity
from jaxrep.commands._prepare import Prepare
from jaxrep.commands._report import Report
from jaxrep.commands._sweep import HELD_OUT, Sweep
from jaxrep.commands._train import Resume, Train


def all_commands() -> Any:
    """Returns the union of all commands, for `tyro.cli`; train and sweep as the methods are now."""
    made = {
        "train": method_command(Train, {}),
        "sweep": method_command(Sweep, HELD_OUT),
        "prepare": Prepare,
        "resume": Resume,
        "finetune": finetune_command(),
        "predict": Predict,
        "info": Info,
        "embed": Embed,
        "reconstruct": Reconstruct,
        "decode": Decode,
        "score": Score,
        "generate": Generate,
        "interpolate": Interpolate,
        "evaluate": Evaluate,
        "report": Report,
        "compare": Compare,
        "parity": Parity,
        "export": Export,
        "import": Import,
        "doctor": Doctor,
    }
    named = tuple(Annotated[command, subcommand(name)] for name, command in made.items())
    # An empty help, or tyro would look for one in its own source, which takes 0.05 s.
    return Annotated[Union[named], arg(help="")]  # noqa: UP007
