"""Kernels of a compiled program: what each of them computes, read off the program's text.

XLA writes beside every instruction the path of names under which JAX traced it: the scopes of
`jaxrep.training.step`, of the methods and of the views, and whether it belongs to a value (`jvp`)
or to its gradient (`transpose(jvp)`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NOISE, ROWS = "noise and views", "shuffle and rows"
FORWARD, FORWARD_REST = "forward matmuls", "forward, rest"
BACKWARD, BACKWARD_REST = "backward matmuls", "backward, rest"
LOSS, OPTIMISER, REST = "loss and its gradient", "optimiser", "metrics and loop"
GROUPS = (NOISE, ROWS, FORWARD, FORWARD_REST, LOSS, BACKWARD, BACKWARD_REST, OPTIMISER, REST)

_SCOPES = {"optimiser": OPTIMISER, "noise": NOISE, "rows": ROWS, "loss": LOSS}
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.-]+) = (.*?) ([\w-]+)\((.*)$")
_PATH = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"calls=%([\w.-]+)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%([\w.-]+) \(")
_CONTAINERS = {"while", "conditional", "call"}


@dataclass(frozen=True)
class Kernel:
    """An instruction that runs as a kernel of its own."""

    name: str
    """In the program, and in a trace of it."""

    result: str
    """Type and shape, such as `f32[128,64]`."""

    group: str
    """One of `GROUPS`."""


@dataclass
class _Instruction:
    name: str
    computation: str
    result: str
    opcode: str
    rest: str

    @property
    def path(self) -> str:
        found = _PATH.search(self.rest)
        return found[1] if found else ""

    @property
    def called(self) -> str:
        found = _CALLED.search(self.rest)
        return found[1] if found else ""


def read(program: str) -> dict[str, Kernel]:
    """Returns the kernels of a program by name, without those that only contain others.

    Args:
        program: its text, as `jax.stages.Compiled.as_text` gives it.

    Example:
        >>> line = '%dot.1 = f32[8,4]{1,0} dot(%a, %b), metadata={op_name="jit(f)/jvp()/dot"}'
        >>> read(line)["dot.1"]
        Kernel(name='dot.1', result='f32[8,4]', group='forward matmuls')
    """
    instructions = list(_instructions(program))
    inside: dict[str, list[_Instruction]] = {}
    readers: dict[str, list[_Instruction]] = {}
    for instruction in instructions:
        inside.setdefault(instruction.computation, []).append(instruction)
        for name in re.findall(r"%([\w.-]+)", instruction.rest):
            readers.setdefault(name, []).append(instruction)
    made = {}
    for one in instructions:
        if one.opcode not in _CONTAINERS:
            parts = [one, *inside.get(one.called, [])]
            # What XLA has added itself, a copy say, has no path: it serves what reads it.
            paths = (part.path for part in [*parts, *readers.get(one.name, [])])
            path = next(filter(None, paths), "")
            is_product = any(part.opcode == "dot" for part in parts)
            made[one.name] = Kernel(one.name, one.result.split("{")[0], _group(path, is_product))
    return made


def _instructions(program: str) -> Iterator[_Instruction]:
    computation = ""
    for line in program.splitlines():
        if head := _COMPUTATION.match(line):
            computation = head[1]
        elif found := _INSTRUCTION.match(line):
            name, result, opcode, rest = found.groups()
            yield _Instruction(name, computation, result, opcode, rest)


def _group(path: str, is_product: bool) -> str:
    for scope, group in _SCOPES.items():
        if re.search(rf"\b{scope}\b", path):
            return group
    if "transpose(jvp" in path:
        return BACKWARD if is_product else BACKWARD_REST
    if "jvp(" in path:
        return FORWARD if is_product else FORWARD_REST
    return REST
