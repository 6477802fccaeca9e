"""Runs a copy of a model in float64 and records every call of its leaf layers.

A leaf layer is a module without child modules. Its inputs are copied before it runs and its outputs
at once after it, because a later layer may overwrite either in place.
"""

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrep.errors import InputError

if TYPE_CHECKING:
    import torch

# The attribute that marks a copy's leaf layers. It is static, so that it also reaches the modules
# which nnx.jit and its like rebuild from a model's graph.
_MARK = "_jaxrep_located_at"
_DTYPES = ("dtype", "param_dtype", "preferred_element_type")
_one_at_a_time = threading.Lock()  # classes are shared by all threads


@dataclass(frozen=True)
class Call:
    """One call of a leaf layer.

    Attributes:
        layer: its dotted path and type, such as `layers.1 (Linear)`.
        module: the layer of the copy that ran, in float64.
        parameters: its parameters and state by attribute name.
        inputs: the arrays among its arguments.
        outputs: the arrays it returned.
    """

    layer: str
    module: Any
    parameters: dict[str, np.ndarray]
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


@dataclass
class Recording:
    """The calls of a model's leaf layers in their order, and what the model returned.

    Attributes:
        side: `JAX` or `torch`.
        calls: the finished calls.
        outputs: the arrays that the model returned, by their place in what it returned.
        running: layers called and not yet returned from, with their inputs.
    """

    side: str
    calls: list[Call] = field(default_factory=list)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    running: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def enter(self, path: str, arguments: Any) -> None:
        """Notes what a layer is called with."""
        self.running[path] = _arrays(arguments)

    def leave(
        self, path: str, module: Any, parameters: dict[str, np.ndarray], returned: Any
    ) -> None:
        """Notes what a layer returned; a second call of one layer is named as such."""
        self._counts[path] = self._counts.get(path, 0) + 1
        again = f", call {self._counts[path]}" if self._counts[path] > 1 else ""
        layer = describe(path, module) + again
        inputs = self.running.pop(path)
        self.calls.append(Call(layer, module, parameters, inputs, _arrays(returned)))

    def finish(self, returned: Any) -> None:
        """Notes what the model returned."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(returned):
            if (array := _as_array(leaf)) is not None:
                self.outputs[jax.tree_util.keystr(path)] = array
        if not self.outputs:
            kind = type(returned).__name__
            raise InputError(f"the {self.side} model returned a {kind} that holds no array")
        if not any(call.parameters for call in self.calls):
            raise InputError(f"the {self.side} model called no layer that has parameters")


def describe(path: str, module: object) -> str:
    """A layer's dotted path and type; the path of the model itself is `model`."""
    return f"{path or 'model'} ({type(module).__name__})"


def record_jax(model: nnx.Module, inputs: tuple[Any, ...]) -> Recording:
    """Runs a copy of an NNX module on numpy arrays, in eval mode and float64, without compiling.

    Raises:
        InputError: the model raised, called no layer with parameters, or returned no array.

    Example:
        >>> recording = record_jax(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), (np.ones((4, 3)),))
        >>> [(call.layer, call.outputs[0].dtype) for call in recording.calls]
        [('model (Linear)', dtype('float64'))]
    """
    recording = Recording("JAX")
    with _one_at_a_time, jax.enable_x64(True), jax.disable_jit(), _naming_errors(recording):
        copied = _float64_copy(model)
        with _patched(_marked_leaves(copied), recording):
            recording.finish(copied(*jax.tree.map(_to_jax, inputs)))
    return recording


def record_torch(model: "torch.nn.Module", inputs: tuple[Any, ...]) -> Recording:
    """Runs a copy of a torch module on numpy arrays, in eval mode and float64, on the CPU.

    Raises:
        InputError: the model raised, called no layer with parameters, or returned no array.

    Example:
        >>> import torch
        >>> recording = record_torch(torch.nn.Linear(3, 2), (np.ones((4, 3)),))
        >>> [(call.layer, call.outputs[0].dtype) for call in recording.calls]
        [('model (Linear)', dtype('float64'))]
    """
    import torch

    recording = Recording("torch")
    default = torch.get_default_dtype()
    try:
        with _naming_errors(recording), torch.no_grad():
            # Before the default dtype changes: a deep copy of some modules builds new ones.
            model = getattr(model, "_orig_mod", model)  # what torch.compile was given
            copied = copy.deepcopy(model).cpu().double().eval()
            # Tensors that a model makes as it runs are float64 too, as JAX's are under enable_x64.
            torch.set_default_dtype(torch.float64)
            _hook_leaves(copied, recording)
            recording.finish(copied(*jax.tree.map(_to_torch, inputs)))
    finally:
        torch.set_default_dtype(default)
    return recording


def to_numpy(value: Any) -> Any:
    """Copies an array of numpy, JAX or torch to a numpy array, a floating one to float64.

    What is not an array, such as a Python number, is returned as it is.
    """
    array = _as_array(value)
    if array is None:
        return value
    return array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array


@contextlib.contextmanager
def _naming_errors(recording: Recording) -> Iterator[None]:
    """Says of an error which model raised it, and where in the model."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        places = [f"in layer {path or 'model'}" for path in recording.running]
        places.append(
            f"after layer {recording.calls[-1].layer}"
            if recording.calls
            else "before any layer had returned"
        )
        raise InputError(
            f"the {recording.side} model raised {type(error).__name__} {', '.join(places)}: {error}"
        ) from error


def _float64_copy(model: nnx.Module) -> nnx.Module:
    copied = nnx.clone(model)
    copied.eval()  # type: ignore[no-untyped-call]
    nnx.update(copied, jax.tree.map(_cast, nnx.state(copied)))
    for _, module in nnx.iter_modules(copied):
        for name in _DTYPES:
            dtype = vars(module).get(name)
            if dtype is not None and jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
                setattr(module, name, jnp.dtype("float64"))  # else the layer would cast back
    return copied


def _cast(array: Any) -> Any:
    is_floating = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(array, jnp.float64) if is_floating else array


def _to_jax(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _to_torch(value: Any) -> Any:
    import torch

    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _marked_leaves(model: nnx.Module) -> dict[str, nnx.Module]:
    """The leaf layers that can be called, by dotted path, each carrying its path."""
    modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
    leaves = {
        path: module
        for path, module in modules.items()
        if _defines_call(type(module)) and sum(1 for _ in nnx.iter_modules(module)) == 1
    }
    for path, module in leaves.items():
        setattr(module, _MARK, path)
    return leaves


def _defines_call(kind: type) -> bool:
    # hasattr would find the metaclass's own __call__, which makes instances.
    return any("__call__" in base.__dict__ for base in kind.__mro__)


@contextlib.contextmanager
def _patched(leaves: dict[str, nnx.Module], recording: Recording) -> Iterator[None]:
    """Has the classes of leaf layers record the calls of marked instances, for a time.

    Python looks `__call__` up on the class, so it cannot be replaced on an instance.
    """
    replaced: list[tuple[type, Any]] = []
    try:
        for kind in {type(module): None for module in leaves.values()}:
            original = kind.__dict__.get("__call__")  # None where it is inherited
            recorder = _recording_call(getattr(kind, "__call__"), leaves, recording)  # noqa: B004, B009
            setattr(kind, "__call__", recorder)  # noqa: B010
            replaced.append((kind, original))
        yield
    finally:
        for kind, original in reversed(replaced):
            if original is None:
                delattr(kind, "__call__")
            else:
                setattr(kind, "__call__", original)  # noqa: B010


def _recording_call(
    original: Callable[..., Any], leaves: dict[str, nnx.Module], recording: Recording
) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
        path = vars(self).get(_MARK)
        # A running layer that comes by again is calling its superclass.
        if path not in leaves or path in recording.running:
            return original(self, *args, **kwargs)
        recording.enter(path, (args, kwargs))
        returned = original(self, *args, **kwargs)
        recording.leave(path, leaves[path], _nnx_parameters(leaves[path]), returned)
        return returned

    return call


def _nnx_parameters(layer: nnx.Module) -> dict[str, np.ndarray]:
    state = nnx.to_flat_state(nnx.state(layer, nnx.Not(nnx.RngState)))
    found = ((str(path[-1]), _as_array(leaf)) for path, leaf in state)
    return {name: array for name, array in found if array is not None}


def _hook_leaves(model: "torch.nn.Module", recording: Recording) -> None:
    """Has the leaf layers of a copy record their calls; the hooks vanish with the copy."""
    from torch.nn.utils import parametrize

    for module in list(model.modules()):
        if parametrize.is_parametrized(module):  # weight norm and its like: children of the layer
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    leaves = {path: m for path, m in model.named_modules() if not any(True for _ in m.children())}

    def enter(path: str, module: Any, args: Any, kwargs: Any) -> None:
        recording.enter(path, (args, kwargs))

    def leave(path: str, module: Any, args: Any, kwargs: Any, returned: Any) -> None:
        parameters = [*module.named_parameters(), *module.named_buffers()]
        arrays = {name: np.asarray(_as_array(tensor)) for name, tensor in parameters}
        recording.leave(path, module, arrays, returned)

    for path, module in leaves.items():
        module.register_forward_pre_hook(functools.partial(enter, path), with_kwargs=True)
        module.register_forward_hook(functools.partial(leave, path), with_kwargs=True)


def _arrays(tree: Any) -> list[np.ndarray]:
    # Random keys are arguments of some layers; they have no counterpart in torch.
    leaves = jax.tree.leaves(tree, is_leaf=lambda v: isinstance(v, nnx.Rngs | nnx.RngStream))
    return [array for leaf in leaves if (array := _as_array(leaf)) is not None]


def _as_array(value: Any) -> np.ndarray | None:
    """A copy as a numpy array of what is an array; None of what is not."""
    import torch

    if isinstance(value, nnx.Variable):
        value = value.get_value()
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return np.array((value.double() if value.dtype == torch.bfloat16 else value).numpy())
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return None
    return np.array(value) if isinstance(value, np.ndarray | np.generic | jax.Array) else None
