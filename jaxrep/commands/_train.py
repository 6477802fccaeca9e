"""`jaxrep train`."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jaxrep.commands._columns import TableColumns
from jaxrep.commands._command import Data, Result, RunFolder, note
from jaxrep.commands._methods import WithHyperparameters
from jaxrep.commands._scale import Scaling

if TYPE_CHECKING:
    from jaxrep.runs.train import TrainResult
    from jaxrep.training import Callback


@dataclass(kw_only=True)
class Training(TableColumns):
    """What `train` and `sweep` are told of a table and a folder."""

    data: Data
    """A .csv, .parquet, .npy or .npz file, a folder of .parquet files, for train also one that
    prepare made, or a bundled set: blobs, digits, breast_cancer, iris, wine, diabetes."""

    out: Path
    """The run's folder. A finished run of the same configuration and data is left as it is."""

    overwrite: bool = False
    """Replace another run that is in the folder."""

    plots: bool = False
    """Draw the loss curves and a map of the embedding into RUN/plots."""

    def draw(self) -> None:
        """Draws the run's pictures where they are asked for."""
        if not self.plots:
            return
        from jaxrep.report.plots import write_plots
        from jaxrep.runs.folder import load

        for path in write_plots(load(self.out), self.data):
            note(f"drew {path}")


@dataclass(kw_only=True)
class Saving:
    """What `train` and `resume` are told of checkpoints."""

    checkpoint_every: str = "60s"
    """How often to save the training's state: epochs, such as 100, or a time, such as 60s."""

    keep: int = 2
    """How many checkpoints to keep, the newest ones; two at least."""

    tensorboard: Path | None = None
    """A folder to write the metrics to as TensorBoard's event files; needs tensorboardX."""

    @contextlib.contextmanager
    def callbacks(self) -> "Iterator[list[Callback]]":
        """Yields what hears of the training: the progress bar, and TensorBoard where asked for."""
        from jaxrep.progress import Reporter
        from jaxrep.training.distributed import is_main

        with contextlib.ExitStack() as stack:
            found: list[Callback] = [stack.enter_context(Reporter())]
            if self.tensorboard is not None and is_main():
                from jaxrep.tensorboard import TensorBoard

                board = contextlib.closing(TensorBoard(self.tensorboard))
                found.append(stack.enter_context(board))
            yield found


@dataclass(kw_only=True)
class Train(Saving, Scaling, Training, WithHyperparameters):
    """Train on a table and save the run; the same command again continues after an interruption."""

    stream: Literal["auto", "always", "never"] = "auto"
    """Whether to read the rows block by block while training, for tables larger than memory; auto
    does if their features exceed 512 MiB."""

    def __call__(self) -> tuple[str, Result]:
        """Trains, with a progress bar, and returns the run's figures."""
        from jaxrep.runs.train import asked_for, carry_out
        from jaxrep.training import Every
        from jaxrep.training.distributed import is_main

        task = asked_for(
            self.data,
            self.out,
            self.asked(),
            self.columns(),
            self.stream,
            recipe=self.asked_recipe(),
        )
        with self.callbacks() as callbacks:
            result = carry_out(
                task,
                overwrite=self.overwrite,
                every=Every.parse(self.checkpoint_every),
                keep=self.keep,
                **self.mesh_settings(),
                note=note,
                callbacks=callbacks,
            )
        if is_main():
            self.draw()
        return summary(result, self.data), dataclasses.asdict(result)


@dataclass(kw_only=True)
class Resume(Saving, Scaling):
    """Go on with a run that was interrupted, or train a finished one for more epochs."""

    run: RunFolder
    """The run's folder."""

    epochs: int | None = None
    """Epochs to train in all, those that are done included."""

    steps: int | None = None
    """Steps to take in all, of a run that was asked for by --steps."""

    finish_now: bool = False
    """Make a finished run of the newest checkpoint, without another step."""

    data: str | None = None
    """The run's table, where it is no longer at the path that the run recorded."""

    def __call__(self) -> tuple[str, Result]:
        """Trains on and returns the run's figures."""
        from jaxrep.runs.resume import resume
        from jaxrep.training import Every

        with self.callbacks() as callbacks:
            result = resume(
                self.run,
                epochs=self.epochs,
                steps=self.steps,
                finish_now=self.finish_now,
                data=self.data,
                every=Every.parse(self.checkpoint_every),
                keep=self.keep,
                **self.mesh_settings(),
                note=note,
                callbacks=callbacks,
            )
        return summary(result, str(self.run)), dataclasses.asdict(result)


def summary(result: "TrainResult", source: str) -> str:
    """Returns the lines that tell of a run that has been trained."""
    from jaxrep import compile_cache

    cache = compile_cache.use()
    compiling = "compiling" if cache.misses or not cache.hits else "loading compiled programs"
    resumed = f", continuing after step {result.resumed_from_step}" * bool(result.resumed_from_step)
    figures = (result.held_out or {}).items()
    held_out = "".join(f"held out: {name} {value:.4g}\n" for name, value in figures)
    return (
        f"{result.method} on {source}: loss {result.loss:.6g} after {result.epochs} epochs "
        f"of {result.rows} rows{resumed}\nserves {result.served}\n{held_out}"
        f"{result.compile_seconds:.2f} s {compiling}, "
        f"{result.seconds:.2f} s training ({result.rows_per_second:,.0f} rows/s)\n"
        f"saved in {result.run}"
    )
