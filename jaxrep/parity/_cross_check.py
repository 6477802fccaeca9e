"""Compares a JAX function with its PyTorch counterpart: values, gradients, several dtypes."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxrep.errors import InputError
from jaxrep.parity._bounds import ROUNDOFF, judge
from jaxrep.parity._check import Check
from jaxrep.parity._evaluate import (
    Evaluation,
    Failure,
    Function,
    Inputs,
    as_inputs,
    by_path,
    call,
    differentiable,
    evaluate_jax,
    evaluate_torch,
    explain,
    require_torch,
    rounded,
)
from jaxrep.parity._report import Report

_ROUNDINGS = 16  # of the inputs, to see what they move


@dataclass(frozen=True)
class Reference:
    """What the float64 results must be, as an oracle of one's own knows it."""

    arrays: Mapping[str, np.ndarray]
    """By the names that checks have: `value`, `gradient of x`, …; others stay without."""

    scales: Mapping[str, float] = field(default_factory=dict)
    """For arrays that are sums which cancel: the sum of their absolute terms."""


@dataclass(frozen=True)
class Case:
    """A pair of functions and one input for both."""

    check: str
    """What is compared."""

    case: str
    """Which input this is."""

    jax_function: Function
    torch_function: Function

    inputs: Inputs
    """By name or position."""

    wanted: Collection[str | int] = ()
    """The inputs to differentiate by."""

    dtypes: Sequence[str] = ("float64", "float32")

    oracle: Callable[[Inputs], Reference] | None = None
    """Computes the reference from the rounded inputs; None takes PyTorch's float64 result."""

    scale: float | None = None
    """The size of the terms where outputs are sums that cancel, for names that have no other."""

    jit: bool = True
    """Whether to compile the JAX function."""


def cross_check(
    jax_fn: Function,
    torch_fn: Function,
    inputs: Sequence[Any] | Mapping[str, Any],
    *,
    gradients: bool | Collection[str | int] = True,
    oracle: Function | None = None,
    scale: float | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    jit: bool = True,
    name: str | None = None,
) -> Report:
    """Runs a JAX function and its PyTorch counterpart on the same numbers and compares all of it.

    In float64 the results must agree to 1e-12 of the largest element. In float32 each one's error
    against float64 may be at most 4 times the other's, or 4 · 8 units of roundoff. So a wrong
    formula, and a right one computed badly, both show. Functions of several outputs are
    differentiated through a sum of all outputs with drawn weights.

    The caller's float64 setting is not touched: float64 is on inside this call alone.

    Args:
        jax_fn: takes (trees of) arrays and returns one.
        torch_fn: the same of tensors. Runs on the CPU.
        inputs: the arguments, by position or by name; trees of numpy arrays or numbers. Floating
            ones take each dtype in turn, whole numbers and booleans stay as they are.
        gradients: whether to compare gradients; or the inputs to differentiate by.
        oracle: computes the outputs in float64 numpy from the same inputs; takes the place of
            PyTorch's float64 result as what is right.
        scale: the size of the terms where the outputs are sums that cancel; gradients have theirs.
        dtypes: of `float64`, `float32`, `bfloat16`, `float16`.
        jit: whether to compile `jax_fn`; False, with `gradients=False`, for functions that cannot
            be traced.
        name: for the report; the JAX function's own by default.

    Returns:
        A report: `print` it, ask whether it `passed`, or take `to_json()`.

    Raises:
        InputError: an input is not an array, a dtype is unknown, or `gradients` names nothing.
        MissingPackageError: PyTorch is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, torch
        >>> x = np.linspace(-3, 3, 7)
        >>> cross_check(jnp.tanh, torch.tanh, (x,)).passed
        True
        >>> report = cross_check(jax.nn.gelu, torch.nn.functional.gelu, (x,))
        >>> print(report.failures[0].message)
        jax has -0.00363739208 at [0], torch -0.00404969409
    """
    require_torch()
    named = as_inputs(inputs)
    for dtype in dtypes:
        if dtype not in ROUNDOFF:
            raise InputError(f"dtypes has {dtype!r}; it may have {', '.join(ROUNDOFF)}")
    if scale is not None and not 0 < scale < np.inf:
        raise InputError(f"scale is {scale}; it must be finite and above 0")
    case = Case(
        check=name or str(getattr(jax_fn, "__name__", type(jax_fn).__name__)),
        case="",
        jax_function=jax_fn,
        torch_function=torch_fn,
        inputs=named,
        wanted=_wanted(gradients, named),
        dtypes=dtypes,
        oracle=None if oracle is None else _users_oracle(oracle),
        scale=scale,
        jit=jit,
    )
    started = time.perf_counter()
    checks = tuple(check_cases([case]))
    return Report(checks, time.perf_counter() - started)


def check_cases(cases: Iterable[Case], *, light: bool = False) -> Iterator[Check]:
    """Compares every array of every case. JAX's programs compile side by side.

    Args:
        cases: to compare.
        light: whether XLA is to compile fast in the place of well.
    """
    cases = list(cases)
    compiled: dict[tuple[int, bool], Function] = {}
    with _cancelling(ThreadPoolExecutor(min(os.cpu_count() or 1, 8))) as pool:
        pending = []
        for case in cases:
            key = id(case.jax_function), case.jit
            if key not in compiled:
                compiled[key] = differentiable(case.jax_function, jit=case.jit, light=light)
            pending.append(
                {
                    dtype: pool.submit(
                        evaluate_jax, compiled[key], rounded(case.inputs, dtype), dtype, case.wanted
                    )
                    for dtype in case.dtypes
                }
            )
        for case, futures in zip(cases, pending, strict=True):
            for dtype in case.dtypes:
                yield from _check_in(case, dtype, futures[dtype].result())


@contextlib.contextmanager
def _cancelling(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Leaves a pool without waiting for what has not begun, as when someone interrupts."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_in(case: Case, dtype: str, ours: Evaluation | Failure) -> Iterator[Check]:
    """Compares what JAX gave for a case in a dtype with what PyTorch gives."""
    inputs = rounded(case.inputs, dtype)
    theirs = evaluate_torch(case.torch_function, inputs, dtype, case.wanted)
    reference = _reference(case, inputs, dtype, theirs)
    failed = [found.message for found in (ours, theirs, reference) if isinstance(found, Failure)]
    if failed:
        yield Check(case.check, case.case, dtype, False, message="; ".join(failed))
        return
    assert isinstance(ours, Evaluation)
    assert isinstance(theirs, Evaluation)
    assert isinstance(reference, Reference)
    if not any(array.size for name, array in ours.arrays.items() if name.startswith("value")):
        yield Check(case.check, case.case, dtype, False, message="jax gives no number at all")
        return
    largest = _largest_gradients(theirs.arrays | dict(reference.arrays))
    moved = functools.cache(lambda: _moved_by_rounding(case, inputs, dtype))
    for name in ours.arrays | theirs.arrays:
        kind, bracket, path = name.partition("[")
        check, array = f"{case.check}: {kind}", bracket + path
        problem = _cannot_compare(name, ours, theirs, reference)
        if problem:
            yield Check(check, case.case, dtype, False, array, message=problem)
        else:
            judged = functools.partial(
                judge,
                ours.arrays[name],
                theirs.arrays[name],
                reference.arrays.get(name),
                dtype=_judged_dtype(dtype, ours.dtypes[name]),
                largest=largest.get(kind, 0.0),
            )
            scale = reference.scales.get(name, case.scale if kind == "value" else None)
            verdict = judged(scale=scale)
            if not verdict.passed and dtype != "float64" and name in reference.arrays:
                verdict = judged(scale=max(scale or 0.0, moved().get(name, 0.0)))
            yield Check(check, case.case, dtype, array=array, **vars(verdict))


def _moved_by_rounding(case: Case, inputs: Inputs, dtype: str) -> dict[str, float]:
    """Returns how far rounding the inputs moves each result, in units of roundoff.

    Where parts of a result cancel, no algorithm gives it to a roundoff of its size: inputs that are
    another rounding of the same numbers have another result. What all of them, moved by a
    roundoff up or down, change of it in float64 stands for the sum of its absolute terms.
    """
    unit = ROUNDOFF[dtype]
    found: dict[str, float] = {}
    exact = evaluate_torch(case.torch_function, inputs, "float64", case.wanted)
    for seed in range(_ROUNDINGS):
        draws = np.random.default_rng(seed)
        near = jax.tree.map(
            lambda leaf: (
                leaf * (1 + unit * draws.choice([-1, 1], leaf.shape))  # noqa: B023
                if np.issubdtype(np.asarray(leaf).dtype, np.floating)
                else leaf
            ),
            inputs,
        )
        other = evaluate_torch(case.torch_function, near, "float64", case.wanted)
        if isinstance(exact, Failure) or isinstance(other, Failure):
            return {}
        for name, array in exact.arrays.items():
            if array.dtype.kind == "f" and name in other.arrays:
                gap = np.abs(other.arrays[name] - array).max(initial=0.0) / unit
                found[name] = max(found.get(name, 0.0), float(gap))
    return found


def _largest_gradients(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the largest element of each gradient, over all the arrays of its tree."""
    largest: dict[str, float] = {}
    for name, array in arrays.items():
        kind = name.partition("[")[0]
        if not kind.startswith("value"):
            size = float(np.abs(np.asarray(array, np.float64)).max(initial=0.0))
            largest[kind] = max(largest.get(kind, 0.0), size if np.isfinite(size) else 0.0)
    return largest


def _reference(
    case: Case, inputs: Inputs, dtype: str, theirs: Evaluation | Failure
) -> Reference | Failure:
    """The oracle's results, completed by PyTorch's in float64 where it has none."""
    try:
        known = case.oracle(inputs) if case.oracle else Reference({})
    except Exception as error:
        return Failure(explain("the oracle", error))
    if not isinstance(theirs, Failure) and (odd := _other_outputs(known, theirs)):
        return Failure(odd)
    if (
        dtype == "float64"
        or isinstance(theirs, Failure)
        or theirs.arrays.keys() <= known.arrays.keys()
    ):
        return known
    wide = evaluate_torch(case.torch_function, inputs, "float64", case.wanted)
    if isinstance(wide, Failure):
        return Failure(f"the reference, torch in float64: {wide.message}")
    return Reference(wide.arrays | dict(known.arrays), known.scales)


def _other_outputs(known: Reference, theirs: Evaluation) -> str:
    """Says how an oracle's outputs differ from the functions', if it has any."""
    ours, outputs = (
        sorted(name for name in found.arrays if name.startswith("value"))
        for found in (known, theirs)
    )
    return f"the oracle gives {ours}, torch {outputs}" if ours and ours != outputs else ""


def _cannot_compare(
    name: str, ours: Evaluation, theirs: Evaluation, reference: Reference
) -> str | None:
    for framework, found in (("jax", theirs), ("torch", ours)):
        if name not in found.arrays:
            return f"only {framework} gives this"
    a, b = ours.arrays[name], theirs.arrays[name]
    if a.shape != b.shape:
        return f"jax has shape {a.shape}, torch {b.shape}"
    if a.dtype.kind == "c":
        return "complex numbers are not compared; return their real and imaginary parts"
    if a.dtype.kind != "f":
        return _unequal(a, b)
    expected = reference.arrays.get(name, a)
    if a.shape != np.shape(expected):
        return f"both have shape {a.shape}, the reference {np.shape(expected)}"
    kinds = ours.dtypes[name], theirs.dtypes[name]
    if kinds[0] != kinds[1] and a.dtype.kind + b.dtype.kind not in ("ii", "iu", "ui", "uu"):
        return f"jax gives {kinds[0]}, torch {kinds[1]}"
    return None


def _unequal(a: np.ndarray, b: np.ndarray) -> str | None:
    """Says where whole numbers or booleans differ; they have no rounding."""
    if a.dtype.kind != b.dtype.kind and "b" in a.dtype.kind + b.dtype.kind:
        return f"jax gives {a.dtype}, torch {b.dtype}"
    if np.array_equal(a, b):
        return None
    index = tuple(int(i) for i in np.argwhere(a != b)[0])
    return f"jax has {a[index]} at {list(index)}, torch {b[index]}"


def _judged_dtype(dtype: str, own: str) -> str:
    """An array's own precision: losses of half-precision inputs are float32; integers are exact."""
    return own if own in ROUNDOFF and dtype != "float64" else dtype


def _users_oracle(function: Function) -> Callable[[Inputs], Reference]:
    def oracle(inputs: Inputs) -> Reference:
        arrays = by_path("value", call(function, inputs))
        return Reference({name: np.asarray(array, np.float64) for name, array in arrays.items()})

    return oracle


def _wanted(gradients: bool | Collection[str | int], inputs: Inputs) -> Collection[str | int]:
    if isinstance(gradients, bool):
        return tuple(inputs) if gradients else ()
    if isinstance(gradients, str):
        gradients = (gradients,)
    unknown = [name for name in gradients if name not in inputs]
    if unknown:
        raise InputError(f"gradients names {unknown}; the inputs are {list(inputs)}")
    for name in gradients:
        if not any(leaf.dtype.kind == "f" for leaf in jax.tree.leaves(inputs[name])):
            raise InputError(f"gradients names {name!r}, which holds no floating numbers")
    return tuple(gradients)
