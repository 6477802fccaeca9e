"""The rows that a report shows, and what the run makes of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from flax import nnx

from jaxrep.batch import Batch, take
from jaxrep.data import transform
from jaxrep.data.targets import label_texts
from jaxrep.evaluation import in_table_order
from jaxrep.methods import abstract_network
from jaxrep.networks import MeanScore, OutputBlock
from jaxrep.runs.default_table import DRAWN, check_near, table_of
from jaxrep.runs.folder import Run
from jaxrep.runs.outputs import threshold

MAX_MAPPED = 20_000
MAX_COLOURED_LABELS = 20


@dataclass(frozen=True)
class Subject:
    """A run and rows for it."""

    run: Run
    """The run."""

    source: str
    """Where the rows come from."""

    table: pa.Table
    """The rows as they were read."""

    x: Batch
    """The rows as numbers and codes."""

    threshold: float | None
    """Score above which a row counts as an anomaly; None of a run that does not know it."""

    contamination: float
    """Share of the training rows that lie above the threshold."""

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.x.numbers)

    @property
    def is_drawn(self) -> bool:
        """Whether the rows were drawn, since the run's own data are not to be had."""
        return self.source == DRAWN

    @property
    def title(self) -> str:
        """The method's name in prose."""
        return self.run.method.hyperparameters_type.title

    @property
    def has_decoder(self) -> bool:
        """Whether the method gives rows back."""
        return {"decode", "reconstruct", "score_by_column"} <= set(self.run.outputs)

    @property
    def has_posterior(self) -> bool:
        """Whether the method maps a row to a mean and a log-variance, not to a point."""
        return "encode" in self.run.outputs

    @property
    def can_generate(self) -> bool:
        """Whether the method has a prior that new rows can be drawn from."""
        return "generate" in self.run.outputs

    @property
    def scoring(self) -> type[nnx.Module] | None:
        """The block that the score is computed by; None where it is the reconstruction's error."""
        network = abstract_network(self.run.method, self.run.rows)
        modules = [module for _, module in nnx.iter_modules(network)]
        blocks = [type(module) for module in modules if isinstance(module, OutputBlock)]
        # What takes the mean of others stands for them.
        return MeanScore if MeanScore in blocks else next(iter(blocks), None)

    @cached_property
    def scores(self) -> np.ndarray:
        """The anomaly score of each row, `[N]`."""
        made: np.ndarray = self.run.map("score", self.x)
        return made

    @cached_property
    def x_hat(self) -> Batch:
        """The reconstruction of each row."""
        made: Batch = self.run.map("reconstruct", self.x)
        return made

    @cached_property
    def terms(self) -> np.ndarray:
        """What each cell adds to a row's score, in nats, `[N, D + C]`; 0 where it is missing."""
        made: np.ndarray = self.run.map("score_by_column", self.x)
        return made

    @cached_property
    def terms_in_table_order(self) -> np.ndarray:
        """The terms in the order of the table's columns, `[N, columns]`."""
        return in_table_order(self.run.schema, self.terms)

    @cached_property
    def mapped(self) -> np.ndarray:
        """The numbers of at most 20,000 rows, evenly spread."""
        return np.unique(np.linspace(0, self.count - 1, MAX_MAPPED).astype(int))

    @cached_property
    def z(self) -> np.ndarray:
        """The representations of the rows `mapped`, `[rows, Z]`."""
        made: np.ndarray = self.run.map("embed", take(self.x, self.mapped))
        return made

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The label of each row as text; None where there is none, or too many for colours."""
        label = self.run.schema.label
        if label is None or label not in self.table.column_names:
            return None
        texts = label_texts(self.table, label, self.source, self.run.schema.marks)
        labels = np.array([str(text) for text in texts])
        return labels if len(np.unique(labels)) <= MAX_COLOURED_LABELS else None


def of_run(
    run: Run, data: str | None, contamination: float, *, note: Callable[[str], None]
) -> Subject:
    """Reads the rows that a report is to show.

    Args:
        run: the run.
        data: a table to take in the place of the run's own.
        contamination: share of the training rows that lie above the threshold.
        note: called with a remark if rows had to be drawn.

    Raises:
        InputError: the table cannot be read, does not fit the run, has no rows or some that lie
            too far; or `contamination` is out of range.
    """
    # An imported run may have no quantiles of scores.
    limit = threshold(run, contamination) if "score_quantiles" in run.config else None
    table, raw, source = table_of(run, data, note=note)
    x = transform.to_features(run.schema, raw, source=source)
    subject = Subject(run, source, table, x, limit, contamination)
    made: dict[str, Any] = {
        "features": np.where(np.isnan(x.numbers), 0, x.numbers),
        "embedding": subject.z,
        "reconstruction": subject.x_hat.numbers if subject.has_decoder else None,
        "score": subject.scores,
    }
    check_near(made, source)
    return subject


def posterior(run: Run, x: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Returns the posterior's μ and log σ² of rows, each `[N, Z]` in float64.

    Args:
        run: of a method that has a posterior.
        x: rows.
    """
    mu, log_var = (run.map("encode", x, part=part) for part in (0, 1))
    return mu.astype(np.float64), log_var.astype(np.float64)
