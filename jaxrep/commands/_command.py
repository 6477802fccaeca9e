"""What all commands have in common."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from tyro.conf import Positional, UseAppendAction, arg

if TYPE_CHECKING:
    from jaxrep.runs.folder import Run

Result = dict[str, Any]

Data = Annotated[str, Positional, arg(metavar="DATA")]
RunFolder = Annotated[Path, Positional, arg(metavar="RUN")]


@dataclass(kw_only=True)
class Command:
    """The flags of every command. Calling one does its work and returns what to print.

    Not an abstract class: tyro meets its metaclass with checks that take 0.1 s.
    """

    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute; auto takes what JAX finds fastest."""

    json: bool = False
    """Print the result as one JSON object on the last line."""

    use: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FILE.py")] = ()
    """A Python file that defines methods, or their PyTorch twins; may be given several times. The
    file is run: use files of people you trust."""

    compile_cache: bool = True
    """Keep compiled programs for later commands, in a folder of yours (or $JAXREP_CACHE_DIR);
    with --no-compile-cache all are compiled anew."""

    def initialize(self) -> bool:
        """Connects to the other processes of a job, before JAX starts; most commands know none.

        Returns:
            Whether this process prints the result: of a job's processes the first alone does.
        """
        return True

    def result_file(self) -> TextIO:
        """Returns where the result is printed: stdout, if that is not what the command writes."""
        return sys.stdout


@dataclass(kw_only=True)
class RunReader(Command):
    """A command that reads a run."""

    folder: RunFolder
    """A run. Of one that is still training, or was interrupted, the newest checkpoint is taken."""

    last: bool = False
    """Take the weights after the last step, where the run serves those of an earlier, better
    epoch."""

    def read(self) -> "Run":
        """Returns the run, as it was asked for."""
        from jaxrep.runs.reading import read_run

        return read_run(self.folder, last=self.last, note=note)


def note(message: str) -> None:
    """Prints a remark for the user, beside the result."""
    print(printable(message), file=sys.stderr)


def printable(text: str) -> str:
    r"""Returns a text on one line, what a terminal would obey written as escapes.

    Example:
        >>> print(printable("a\x1b[2Jb and π"))
        a\x1b[2Jb and π
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
