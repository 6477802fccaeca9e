"""A training's metrics as TensorBoard's event files, by tensorboardX."""

from pathlib import Path
from typing import Any

from jaxrep.errors import MissingPackageError
from jaxrep.training import Callback, EpochMetrics, Progress


class TensorBoard(Callback):
    """Writes the metrics of every epoch, and rows per second, for TensorBoard to show.

    Args:
        folder: in which to write; `tensorboard --logdir FOLDER` shows it.

    Raises:
        MissingPackageError: tensorboardX is not installed.

    Example:
        >>> import contextlib, tempfile
        >>> with contextlib.closing(TensorBoard(Path(tempfile.mkdtemp()))) as board:
        ...     board.on_epoch({"epoch": 1, "loss": 0.5})
    """

    def __init__(self, folder: Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                "TensorBoard's files are written by tensorboardX, which is not installed: "
                "pip install 'jaxrep[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()

    def on_progress(self, progress: Progress) -> None:
        """Writes the rows per second by the steps taken."""
        self._writer.add_scalar("rows_per_second", progress.rows_per_second, progress.step)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Writes the epoch's metrics by its number."""
        for name, value in metrics.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(metrics["epoch"]))
