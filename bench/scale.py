"""The program of a training step on many devices, compiled and not run: what it sends.

    python -m bench.scale [--devices 8 64 512]

For every method and number of devices this compiles the chunk of steps that `fit(..., mesh=)`
dispatches, for devices that XLA pretends to have, and counts the collectives inside a step: how
many, and the bytes that each device sends with ring algorithms. It writes bench/results/scale.json
and the table of docs/scale.md. Nothing is timed.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bench import seed_methods
from bench.machine import ROOT
from bench.records import RESULTS
from bench.seed_methods import seed_method
from jaxrep.batch import Batch, RowSpec
from jaxrep.training import Devices, TrainState, mesh_of
from jaxrep.training.program import abstract_state, run_steps

PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- python -m bench.scale -->", "<!-- end -->"
WIDTH = 32
ROWS_A_DEVICE = 128
BATCHES = 1  # in the table: a large one's are gathered for several steps at once, byte for byte

# As published: peak in bfloat16, dense, and bytes per second that a device sends one way. v5e:
# Google Cloud's page on TPU v5e, 1,600 Gbit/s over all four links of a chip. H100 SXM5: NVIDIA's
# data sheet, NVLink 900 GB/s both ways; InfiniBand NDR, 400 Gbit/s to each GPU.
PUBLISHED = {
    "TPU v5e, ICI": (197e12, 200e9),
    "H100, NVLink": (989e12, 450e9),
    "H100, InfiniBand NDR": (989e12, 50e9),
}
WIDE, OF_WIDE = 128, 2 * 128 * 2048 + 2 * 2048 * 2048 + 2 * 2048 * 128  # features, weights

_COLLECTIVE = re.compile(
    r"= (?P<shape>\(.*?\)|\S+) (?P<name>all-gather|all-reduce|reduce-scatter|all-to-all"
    r"|collective-permute)(?:-start)?\("
)
_ARRAY = re.compile(r"\b(pred|[sufb]f?\d+)\[([\d,]*)\]")
_STEP, _DRAWN = "/while/body/while/body/", "jit(draw)"

Counts = dict[str, dict[str, float]]


def count(name: str, devices: Devices) -> dict[str, Any]:
    """Compiles a method's step for devices, and counts.

    Args:
        name: of the method, with the hyperparameters of the seed.
        devices: as many as batches have parts of `ROWS_A_DEVICE` rows.

    Returns:
        The collectives of a step by name: how many, and the bytes each device sends; and what the
        program has in each device's memory, in bytes.
    """
    batch = ROWS_A_DEVICE * devices.count
    method = seed_method(name, batch_size=batch)
    with devices.programs():
        compiled = run_steps.lower(
            method,
            _abstract((), jnp.uint32, devices),
            _abstract_state(abstract_state(method, RowSpec(WIDTH)), devices),
            Batch(_abstract((BATCHES * batch, WIDTH), jnp.float32, devices, "data")),
            Batch(_abstract((min(BATCHES * batch, 65_536), WIDTH), jnp.float32, devices)),
            _abstract((), jnp.int32, devices),
            _abstract((), jnp.int32, devices),
            spec=RowSpec(WIDTH),
            batch_size=batch,
            chunk=64,
            devices=devices,
        ).compile()
    parameters = abstract_state(method, RowSpec(WIDTH)).params.values()
    memory: Any = compiled.memory_analysis()
    return {
        "batch": batch,
        "parameters": sum(array.size for array in parameters),
        "in_a_step": collectives(compiled.as_text() or "", devices.count),
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
    }


def collectives(program: str, devices: int) -> Counts:
    """Counts the collectives in the steps of a compiled program, and the bytes a device sends.

    What is drawn for several steps at once has them along its first axis, and is shared out.

    Args:
        program: the text of `run_steps` as compiled.
        devices: n, that take part in each.

    Example:
        >>> line = ' %a = f32[8]{0} all-reduce(%b), metadata={op_name="jit(run_steps)'
        >>> counts = collectives(line + '/while/body/while/body/add"}', 2)
        >>> counts["all-reduce"]
        {'number': 1, 'bytes': 32.0}
    """
    found: Counts = {}
    for line in program.splitlines():
        match = _COLLECTIVE.search(line)
        if match and _STEP in line:
            of_name = found.setdefault(match["name"], {"number": 0, "bytes": 0.0})
            of_name["number"] += 1
            drawn = _ARRAY.search(match["shape"]) if _DRAWN in line else None
            steps = int(drawn[2].split(",")[0]) if drawn else 1
            of_name["bytes"] += _sent(match["name"], _size(match["shape"]), devices) / steps
    return found


def _sent(name: str, result: int, devices: int) -> float:
    """Returns the bytes that a device sends, from those of the result that it gets."""
    n = devices
    factors = {
        "all-reduce": 2 * (n - 1) / n,
        "all-gather": (n - 1) / n,
        "reduce-scatter": n - 1,
        "all-to-all": (n - 1) / n,
        "collective-permute": 1,
    }
    return factors[name] * result


def _size(shape: str) -> int:
    """Returns the bytes of an array, or of a tuple of arrays, by its shape in the program."""
    total = 0
    for dtype, dimensions in _ARRAY.findall(shape):
        bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
        total += bits // 8 * math.prod(int(size) for size in dimensions.split(",") if size)
    return total


def _abstract(shape: tuple[int, ...], dtype: Any, devices: Devices, *axes: str) -> Any:
    sharding = devices.sharding(*axes)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # type: ignore[no-untyped-call]


def _abstract_state(state: TrainState, devices: Devices) -> Any:
    return jax.tree.map(lambda leaf: _abstract(leaf.shape, leaf.dtype, devices), state)


def table(results: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the page's table."""
    yield "| method | devices | batch | parameters | collectives a step | sent by each device |"
    yield "|---|---:|---:|---:|---|---:|"
    for case, found in results.items():
        name, devices = case.split()
        parts = found["in_a_step"]
        told = ", ".join(f"{count['number']} {part}" for part, count in sorted(parts.items()))
        sent = sum(count["bytes"] for count in parts.values())
        numbers = f"{int(devices):,} | {found['batch']:,} | {found['parameters']:,}"
        yield f"| {name} | {numbers} | {told} | {sent / 1e3:,.1f} kB |"


def break_even() -> Iterator[str]:
    """Yields the lines of the page's table of break-even points, from published figures alone."""
    yield "| device and network | peak, bf16 | sends | rows a device, b | devices, n |"
    yield "|---|---:|---:|---:|---:|"
    for name, (rate, sends) in PUBLISHED.items():
        rows = 4 * rate / (3 * sends)
        devices = 6 * OF_WIDE * sends / (4 * WIDE * rate)
        numbers = f"{rate / 1e12:,.0f} TFLOP/s | {sends / 1e9:,.0f} GB/s | {rows:,.0f}"
        yield f"| {name} | {numbers} | {devices:,.0f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts, and writes the results and the page's table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale")
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    asked = parser.parse_args(arguments)
    jax.config.update("jax_num_cpu_devices", max(asked.devices))  # type: ignore[no-untyped-call]
    results = {}
    for name in seed_methods.names():
        for size in asked.devices:
            results[f"{name} {size}"] = count(name, Devices(mesh_of(jax.devices()[:size])))
            print(f"{name} on {size} devices", file=sys.stderr)
    asked.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if asked.out == RESULTS / "scale.json":
        write_table(results)
    print("\n".join(table(results)))
    return 0


def write_table(results: dict[str, Any]) -> None:
    """Writes the table into the page, between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    told = (
        "Break-even points of the model above, from figures that the makers publish (peak rates "
        "that no training reaches; nothing of this is measured):"
    )
    counted = (
        "Counted in the compiled program of a step, 128 rows on each device and 32 features, for "
        "devices that XLA pretends to have (`python -m bench.scale`; nothing ran on such devices, "
        "and another backend may merge collectives otherwise):"
    )
    parts = [BEGIN, told, "\n".join(break_even()), counted, "\n".join(table(results)), END]
    made = "\n\n".join(parts)
    PAGE.write_text(before + made + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
