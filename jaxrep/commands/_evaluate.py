"""`jaxrep evaluate`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from jaxrep.commands._command import Data, Result, RunReader, note


@dataclass(kw_only=True)
class Evaluate(RunReader):
    """Measure a run on labelled rows, beside raw features, PCA and other baselines."""

    data: Data
    """A table with the columns that the run trained on, and the label."""

    label: str | None = None
    """The label column; by default the run's own. Classes are classified, more than 20 different
    numbers predicted."""

    anomaly: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="VALUE")] = ()
    """A value of the label that counts as anomalous; once for each. Then the run's anomaly score is
    measured, not its representation."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """What the label is, where auto would get it wrong."""

    labels: int | None = None
    """Rows whose label the probes may use; by default all that are not tested on."""

    rows: int = 20_000
    """The most rows of DATA to look at, drawn at random."""

    repeats: int = 5
    """Splits into rows to learn from and rows to test on; their spread is shown."""

    test_fraction: float = 0.25
    """Share of the rows to test on."""

    reference: str | None = None
    """A table to fit PCA and the other baselines on. By default the run's training rows, if they
    are still there and not DATA itself; otherwise the rows of DATA that are not tested on."""

    skip_unlabelled: bool = False
    """Leave rows without a label out; by default they are refused."""

    seed: int = 0
    """Decides the rows drawn and the splits."""

    out: Path | None = None
    """A file for the result as JSON."""

    def __call__(self) -> tuple[str, Result]:
        """Returns the tables and the result as JSON."""
        from jaxrep import files
        from jaxrep.evaluation import evaluate, render
        from jaxrep.progress import splits_bar
        from jaxrep.runs.overwriting import check_spared

        run = self.read()
        if self.out is not None:
            files.check_writable(self.out)
            check_spared(self.out, self.data, self.reference, run=run)
        with splits_bar() as watch:
            evaluation = evaluate(
                run,
                self.data,
                label=self.label,
                anomalies=self.anomaly,
                task=self.task,
                labels=self.labels,
                rows=self.rows,
                repeats=self.repeats,
                test_fraction=self.test_fraction,
                seed=self.seed,
                reference=self.reference,
                skip_unlabelled=self.skip_unlabelled,
                note=note,
                watch=watch,
            )
        result = evaluation.to_json()
        if self.out is not None:
            files.write_text(self.out, json.dumps(result, indent=2, allow_nan=False) + "\n")
        return render(evaluation), result
