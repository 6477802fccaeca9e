"""What this machine has for jaxrep, and whether it works: each check ends in a sentence.

Run as a program, `python -m jaxrep.doctor ADDRESS PROCESS SECONDS`, it is one of the two processes
that the check of collectives starts, and prints the sum that both of them made.
"""

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrep import compile_cache
from jaxrep.errors import InputError
from jaxrep.training import launcher

Status = Literal["ok", "warning", "failed"]

PACKAGES = ("jaxrep", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
LOW_DISK, FULL_DISK = 1 << 30, 16 << 20  # bytes
ACCELERATORS = {  # what a driver leaves in the file system, and the JAX for it
    "/proc/driver/nvidia/version": "an NVIDIA driver; pip install 'jax[cuda13]'",
    "/dev/kfd": "an AMD driver; pip install 'jax[rocm7-local]'",
    "/dev/accel0": "a TPU; pip install 'jax[tpu]'",
}
_BOUND = 1e-5  # relative, of a product of 64 terms in float32
_SUMMED = 8  # numbers that the two processes add up


@dataclass(frozen=True)
class Finding:
    """What a check has found."""

    check: str
    """Its name."""

    status: Status
    """Whether it works; a warning is for what works but not as well as it could."""

    message: str
    """What there is and, unless it is ok, what to do about it."""

    details: dict[str, Any] = field(default_factory=dict)
    """The same as values, for JSON."""


def examine(*, time_limit: float = 30) -> Iterator[Finding]:
    """Checks the machine, one thing after the other.

    Args:
        time_limit: seconds that the two processes may take.

    Yields:
        A finding for each check. What a check raises becomes a failed finding.

    Example:
        >>> next(examine()).check
        'versions'
    """
    checks: dict[str, Callable[[], Finding]] = {
        "versions": _versions,
        "devices": _devices,
        "computation": _computation,
        "cache": _cache,
        "disk": _disk,
        "processes": lambda: _processes(os.environ),
        "collective": lambda: _collective(time_limit),
    }
    for name, check in checks.items():
        try:
            yield check()
        except Exception as error:  # whatever a broken installation raises is the finding
            first = (str(error).splitlines() or [type(error).__name__])[0]
            yield Finding(name, "failed", f"{first}; mend that and run `jaxrep doctor` again")


def _versions() -> Finding:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = importlib.metadata.version(name)
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    try:
        versions["torch"] = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        advice = "no torch: `parity` and `export` need it, pip install 'jaxrep[torch]'"
        return Finding("versions", "ok", f"{said}; {advice}", versions)
    return Finding("versions", "ok", f"{said}, torch {versions['torch']}", versions)


def _devices() -> Finding:
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter where JAX has no such plugin
        asked = os.environ.get("JAX_PLATFORMS")
        advice = f"JAX_PLATFORMS is {asked}: unset it" if asked else "install jax anew"
        reason = f"JAX starts on no device ({str(error) or type(error).__name__}); {advice}"
        return Finding("devices", "failed", reason)
    devices = [_described(device) for device in jax.local_devices()]
    details = {"backend": backend, "devices": devices}
    said = f"{len(devices)} × {devices[0]['kind']} (backend {backend})"
    unused = [advice for path, advice in ACCELERATORS.items() if os.path.exists(path)]
    if backend == "cpu" and unused:
        return Finding(
            "devices", "warning", f"{said}, though this machine has {unused[0]}", details
        )
    return Finding("devices", "ok", said, details)


def _described(device: jax.Device) -> dict[str, Any]:
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "id": device.id,
        "platform": device.platform,
        "kind": device.device_kind,
        "memory_bytes": memory,
    }


def _computation() -> Finding:
    a, b = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    expected = a.astype(np.float64) @ b
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    differences = {}
    for device in jax.local_devices():
        computed = np.asarray(product(*jax.device_put((a, b), device)), np.float64)
        differences[str(device)] = float(np.abs(computed - expected).max() / expected.max())
    wrong = [name for name, value in differences.items() if not value <= _BOUND]
    if wrong:
        return Finding(
            "computation",
            "failed",
            f"{', '.join(wrong)}: a product of matrices is off by {differences[wrong[0]]:.2g} of "
            "its size; trust nothing from there, and update its driver and jaxlib",
            {name: value if np.isfinite(value) else None for name, value in differences.items()},
        )
    worst = max(differences.values())
    said = f"a compiled product is numpy's to {worst:.1g} on each of {len(differences)} device(s)"
    return Finding("computation", "ok", said, differences)


def _cache() -> Finding:
    chosen: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    folder = Path(chosen) if chosen else compile_cache.folder()
    details: dict[str, Any] = {"folder": str(folder), "entries": 0, "bytes": 0, "writable": False}
    if compile_cache.is_off():
        said = "left off by JAXREP_CACHE_DIR=off: every process compiles anew"
        return Finding("cache", "ok", said, details)
    try:
        compile_cache.switch_on(folder)  # makes it, and refuses one that others may write in
    except ValueError as error:
        said = f"{error}; until then every command compiles anew"
        return Finding("cache", "warning", said, details)
    entries = [entry.stat().st_size for entry in folder.glob("*-cache")]
    details |= {"entries": len(entries), "bytes": sum(entries), "writable": _writable(folder)}
    said = f"{folder}: {len(entries)} programs, {_size(sum(entries))}"
    if not details["writable"]:
        advice = "; it cannot be written, so all is compiled anew: name another in JAXREP_CACHE_DIR"
        return Finding("cache", "warning", said + advice, details)
    if not _is_read_again():
        advice = "; what is kept there is rejected, so all is compiled anew: delete the folder"
        return Finding("cache", "warning", said + advice, details)
    use = compile_cache.use()
    details |= {"hits": use.hits, "misses": use.misses}
    said += f"; here {use.hits} came from it and {use.misses} were compiled"
    return Finding("cache", "ok", said, details)


def _is_read_again() -> bool:
    """Returns whether a program that is compiled a second time comes from the cache.

    Where JAX is told to leave out what compiles fast, nothing can be said, and it is taken to.
    """
    least: float = jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined]
    if least > 0:
        return True
    before = compile_cache.use().hits
    for _ in range(2):  # each a program of its own to JAX, and the same one to the cache
        jax.jit(lambda x: x * 3 + 1).lower(jnp.ones(3)).compile()
    return compile_cache.use().hits > before


def _disk() -> Finding:
    folders = [Path.cwd(), _existing(compile_cache.folder())]
    free = {str(folder): shutil.disk_usage(folder).free for folder in folders}
    said = "; ".join(f"{_size(bytes)} free in {folder}" for folder, bytes in free.items())
    if min(free.values()) < FULL_DISK:
        return Finding("disk", "failed", f"{said}: delete something, no run fits", free)
    if min(free.values()) < LOW_DISK:
        return Finding("disk", "warning", f"{said}: delete something before a long run", free)
    if not _writable(Path.cwd()):
        advice = "cannot be written; give --out in another folder"
        return Finding("disk", "warning", f"{said}; {Path.cwd()} {advice}", free)
    return Finding("disk", "ok", said, free)


def _processes(environ: Mapping[str, str]) -> Finding:
    try:
        topology = launcher.detect(environ)
    except InputError as error:
        return Finding("processes", "warning", str(error))
    details = dataclasses.asdict(topology)
    return Finding("processes", "ok", topology.remark, details)


def _collective(time_limit: float) -> Finding:
    started = time.perf_counter()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / str(process) for process in range(2)]
        codes = _run_both(address, outputs, time_limit)
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in outputs]
    seconds = time.perf_counter() - started
    details = {"address": address, "seconds": seconds, "exit_codes": codes}
    if None in codes:
        return Finding(
            "collective",
            "failed",
            f"two processes on {address} did not meet within {time_limit:g} s; look for a firewall "
            "or a proxy on loopback (no_proxy=127.0.0.1), or a machine that is busy",
            details,
        )
    sums = [text.split()[-1] if text.split() else "" for text in texts]
    if codes != [0, 0] or sums != [str(float(sum(range(_SUMMED))))] * 2:
        said = " / ".join((text.strip().splitlines() or ["nothing"])[-1] for text in texts)
        advice = "jax.distributed does not work here; update jax and jaxlib together"
        return Finding("collective", "failed", f"two processes said: {said}; {advice}", details)
    said = f"two processes on {address} added their numbers up in {seconds:.1f} s (CPU)"
    return Finding("collective", "ok", said, details)


def _run_both(address: str, outputs: list[Path], time_limit: float) -> list[int | None]:
    """Runs the two processes and returns their exit codes, None where one had to be killed."""
    deadline = time.monotonic() + time_limit
    # One CPU device each, whatever this process has: one GPU cannot be two processes' own.
    environ = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    codes: list[int | None] = []
    with contextlib.ExitStack() as stack:
        processes = []
        for number, path in enumerate(outputs):
            argv = [sys.executable, "-m", "jaxrep.doctor", address, str(number), str(time_limit)]
            file = stack.enter_context(path.open("wb"))
            process = subprocess.Popen(argv, env=environ, stdout=file, stderr=subprocess.STDOUT)
            stack.callback(_end, process)
            processes.append(process)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0))
            codes.append(process.poll())
    return codes


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _add_up(address: str, process: int, time_limit: float) -> float:
    """Adds up numbers of which each of two processes holds a half."""
    jax.distributed.initialize(
        address,
        num_processes=2,
        process_id=process,
        cluster_detection_method="deactivate",
        initialization_timeout=max(int(time_limit), 1),
    )
    mesh = Mesh(np.array(jax.devices()), ("data",))
    halves = NamedSharding(mesh, PartitionSpec("data"))  # type: ignore[no-untyped-call]
    whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
    numbers = np.arange(_SUMMED, dtype=np.float32)
    x = jax.make_array_from_callback((_SUMMED,), halves, lambda index: numbers[index])
    total = jax.jit(jnp.sum, out_shardings=whole)(x)
    result = float(total.addressable_data(0))
    jax.distributed.shutdown()  # type: ignore[no-untyped-call]
    return result


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _writable(folder: Path) -> bool:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


if __name__ == "__main__":
    print(_add_up(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
