"""Training states on the disk, by orbax: written whole, rotated, read to any devices.

Orbax decides nothing about which of them are sound; that is the manifest's affair. Its rotation is
told which are sealed (`SealedOnly`).
"""

import concurrent.futures
import contextlib
import functools
import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrep.training.devices import Devices
from jaxrep.training.manifest import DamagedError, first_line
from jaxrep.training.step import TrainState

NAME_DIGITS = 8


class SealedOnly:
    """Orbax's preservation policy: keep the newest sealed checkpoints, and the one being written.

    Orbax asks it when the new checkpoint's arrays are in place, and before its manifest is. So the
    newest sealed one stays beside it, however few are to be kept: `LatestN(1)` would delete it, and
    a process killed then would leave none. What an interrupted save left unsealed goes, and so do
    those of later steps, which the run passed over when it went back to an earlier one.

    Args:
        keep: how many to keep, the one being written included; never fewer than two.
        is_sealed: says whether the checkpoint of a step was written to its end.

    Example:
        >>> from types import SimpleNamespace
        >>> policy = SealedOnly(2, lambda step: step != 30)
        >>> asked = [SimpleNamespace(step=step) for step in (10, 20, 30, 40)]
        >>> list(policy.should_preserve(asked, context=None))
        [False, True, False, True]
    """

    def __init__(self, keep: int, is_sealed: Callable[[int], bool]):
        self._older, self._is_sealed = max(keep - 1, 1), is_sealed

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Says of each checkpoint, the one being written last, whether orbax is to keep it."""
        del context
        *earlier, written = (checkpoint.step for checkpoint in checkpoints)
        sealed = sorted(step for step in earlier if step < written and self._is_sealed(step))
        kept = {*sealed[-self._older :], written}
        return [checkpoint.step in kept for checkpoint in checkpoints]


class SavedStates:
    """The states of a run's checkpoints, each in the folder of its step.

    Args:
        path: of the folder of all checkpoints.
        policy: which earlier ones are kept when another is written.
    """

    def __init__(self, path: Path, policy: SealedOnly):
        self._path, self._policy = path, policy
        self._orbax = _importing_orbax()

    def write(self, step: int, states: Mapping[str, Any]) -> None:
        """Writes the states of a step by name, and removes what the policy does not keep.

        Raises:
            OSError, ValueError, RuntimeError: as orbax does, which raises what tensorstore does.
        """
        save = self._orbax.result().args.StandardSave
        items = {name: save(dict(_named(state))) for name, state in states.items()}
        options = {"preservation_policy": self._policy, "cleanup_tmp_directories": True}
        with self._manager(**options) as manager:
            manager.save(step, args=self._orbax.result().args.Composite(**items), force=True)

    def read(self, step: int, templates: Mapping[str, Any]) -> dict[str, Any]:
        """Reads states of a step by name.

        Args:
            step: whose states are read.
            templates: the shapes of each, and the devices to read to; see `placed`.

        Raises:
            DamagedError: orbax cannot read them.
        """
        args = self._orbax.result().args
        restore = {
            name: args.StandardRestore(dict(_named(template)))
            for name, template in templates.items()
        }
        with self._manager() as manager:
            try:
                restored = manager.restore(step, args=args.Composite(**restore))
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise DamagedError(f"cannot be read ({first_line(error)})") from error
        return {name: _unflat(restored[name], template) for name, template in templates.items()}

    @contextlib.contextmanager
    def _manager(self, **options: Any) -> Iterator[Any]:
        ocp = self._orbax.result()
        chosen = ocp.CheckpointManagerOptions(
            enable_async_checkpointing=False,
            step_format_fixed_length=NAME_DIGITS,
            lightweight_initialize=True,  # no metadata of orbax's is used
            num_deletion_threads=1,  # several poll one another for a tenth of a second
            **options,
        )
        with (
            _as_text(self._path.resolve()) as path,
            ocp.CheckpointManager(path, options=chosen) as manager,
        ):
            yield manager


def placed(shapes: TrainState, members: int, devices: Devices) -> TrainState:
    """Returns the shapes of members' states with the devices that they are to be read to."""

    def place(leaf: Any) -> Any:
        of_all = jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype)  # type: ignore[no-untyped-call]
        return of_all.update(sharding=devices.of_state(of_all))  # type: ignore[no-untyped-call]

    found: TrainState = jax.tree.map(place, shapes)
    return found


@functools.cache
def _importing_orbax() -> "concurrent.futures.Future[Any]":
    """Starts to import orbax, which takes a quarter of a second that compilation leaves over."""
    executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    importing = executor.submit(importlib.import_module, "orbax.checkpoint")
    executor.shutdown(wait=False)
    return importing


@contextlib.contextmanager
def _as_text(path: Path) -> Iterator[Path]:
    """Yields a path to the same folder that is valid text, as tensorstore has it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "checkpoints"
            link.symlink_to(path)
            yield link
    else:
        yield path


def _named(state: Any) -> list[tuple[str, Any]]:
    """Returns a state's arrays with their names: plain ones, whatever classes optax has."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), a) for path, a in leaves]


def _unflat(arrays: Mapping[str, Any], template: Any) -> Any:
    leaves = [arrays[name] for name, _ in _named(template)]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
