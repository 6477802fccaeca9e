"""`jaxrep finetune` and `jaxrep predict`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import UseAppendAction, arg

from jaxrep.commands._command import Data, Result, RunReader, note
from jaxrep.commands._methods import flags, given_by, recipe_flag
from jaxrep.commands._outputs import Output
from jaxrep.commands._scale import Scaling
from jaxrep.commands._sweep import HELD_OUT
from jaxrep.commands._train import Saving, summary
from jaxrep.hyperparameters import Predicts
from jaxrep.methods import hyperparameters_of, predicting

if TYPE_CHECKING:
    from jaxrep.runs.sweep import SweepResult
    from jaxrep.runs.train import TrainResult

KINDS: tuple[Predicts, ...] = ("classes", "numbers")


@dataclass(kw_only=True)
class FineTune(Saving, Scaling, RunReader):
    """Train a head on a run's network to predict a column; the same command again continues."""

    data: Data
    """A table with the columns that the run trained on, and the one to predict; rows without a
    value there are left out."""

    out: Path
    """Folder of the fine-tuned run. A finished run of the same configuration and data is left as it
    is."""

    label: str = ""
    """The column to predict; a bundled set knows its own."""

    task: Literal["auto", "classes", "numbers"] = "auto"
    """What the column holds; auto takes text, booleans and whole numbers of at most 20 different
    values for classes."""

    overwrite: bool = False
    """Replace another run that is in the folder."""

    stream: Literal["auto", "always", "never"] = "auto"
    """Whether to read the rows block by block while training; auto does if their features exceed
    512 MiB."""

    grid: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE,VALUE")] = ()
    """A hyperparameter and its values, such as l2=0.01,0.1; once for each that varies. All
    combinations are trained at once, and the best is saved, with sweep.parquet, a table of all."""

    seeds: int = 1
    """Seeds to train every combination with, counted from --seed."""

    select: str | None = None
    """Metric that is lowest for the best of them. By default validation_error: of the rows held out
    (0.1 of all, if --validation-fraction says nothing else) the share that is wrong, or the mean
    squared error."""

    save_all: bool = False
    """Save every one of them, in RUN2/members."""

    def __call__(self) -> tuple[str, Result]:
        """Trains, with a progress bar, and returns the run's figures."""
        from jaxrep.runs.finetune import asked_for
        from jaxrep.training.distributed import is_main

        varies = bool(self.grid) or self.seeds != 1 or self.save_all or self.select is not None
        task = asked_for(
            self.read(),
            self.data,
            self.out,
            label=self.label or None,
            task=self.task,
            settings=given_by(self.settings),  # type: ignore[attr-defined]
            recipe=self.recipe,  # type: ignore[attr-defined]
            defaults=HELD_OUT if varies else {},
            stream="never" if varies else self.stream,
            note=note if is_main() else lambda message: None,
        )
        if varies:
            return self._sweep(task)
        result = self._train(task)
        return summary(result, self.data), dataclasses.asdict(result)

    def _train(self, task: Any) -> "TrainResult":
        from jaxrep.runs.train import carry_out
        from jaxrep.training import Every

        with self.callbacks() as callbacks:
            return carry_out(
                task,
                overwrite=self.overwrite,
                every=Every.parse(self.checkpoint_every),
                keep=self.keep,
                **self.mesh_settings(),
                note=note,
                callbacks=callbacks,
            )

    def _sweep(self, task: Any) -> tuple[str, Result]:
        from jaxrep.progress import Reporter
        from jaxrep.report.members import render
        from jaxrep.runs.grid import parse
        from jaxrep.runs.sweep import carry_out, read_members

        with Reporter() as reporter:
            result: SweepResult = carry_out(
                task,
                varied=parse(self.grid, task.hyperparameters),
                seeds=self.seeds,
                select=self.select,
                save_all=self.save_all,
                overwrite=self.overwrite,
                note=note,
                on_progress=reporter.on_progress,
            )
        return render(result, read_members(self.out)), dataclasses.asdict(result)


def finetune_command() -> type:
    """Returns `FineTune` with the hyperparameters of both methods that predict as its flags."""
    both = [hyperparameters_of(predicting(kind)) for kind in KINDS]
    return dataclasses.make_dataclass(
        "FineTuneFlags",
        [
            ("recipe", recipe_flag(*both), None),
            ("settings", Annotated[flags(*both), arg(name="")]),
        ],
        bases=(FineTune,),
        kw_only=True,
        namespace={"__doc__": FineTune.__doc__},
    )


@dataclass(kw_only=True)
class Predict(Output):
    """Write what a fine-tuned run predicts of a table's rows."""

    data: Data
    """A table with the columns that the run trained on; it needs no label."""

    def __call__(self) -> tuple[str, Result]:
        """Writes the column prediction, and for classes their probabilities."""
        from jaxrep.data.transform import Counts
        from jaxrep.runs.predictions import predict_blocks

        counts = Counts()
        return self.write(lambda run: predict_blocks(run, self.data, counts), self.data, counts)
