"""The command line: parse, dispatch, print, and turn errors into exit codes.

Progress and remarks go to stderr, results to stdout; with `--json` the last line of stdout is one
JSON object. A table that is written to stdout has it for itself, and the result goes to stderr.
Exit codes: 0 done; 1 the training, a cross-check or the machine failed; 2 something given was
wrong; 75 a training was told to stop and has saved its state: run it again; 141 whoever read the
output has left.
"""

import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes

import jaxrep
from jaxrep import commands
from jaxrep.errors import (
    DivergedError,
    ForkedProcessError,
    InputError,
    InterruptedRunError,
    VerificationError,
)

_INTERRUPTED = 75
_READER_LEFT = 141  # as a shell reports a process that ended by SIGPIPE

_LONGEST_MESSAGE = 4000  # characters


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code.

    Example:
        >>> main(["info", "no-such-folder"])  # prints the reason to stderr
        2
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever a path or a terminal's encoding is
        sys.stdout.reconfigure(errors="backslashreplace")
    code = _code(arguments)
    if code not in (0, _INTERRUPTED) and "jaxrep.training.distributed" in sys.modules:
        sys.modules["jaxrep.training.distributed"].abort(code)
    return code


def _code(arguments: Sequence[str] | None) -> int:
    """Runs the command line and turns its errors into exit codes."""
    try:
        return _run(arguments)
    except InputError as error:
        return _fail(error, 2)
    except (DivergedError, ForkedProcessError, VerificationError) as error:
        return _fail(error, 1)
    except InterruptedRunError as error:
        return _fail(error, _INTERRUPTED)  # EX_TEMPFAIL: the same command again continues
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_LEFT
    except OSError as error:  # a full disk, for one
        return _fail(error, 1)
    except MemoryError as error:
        return _fail(f"out of memory ({error})", 1)
    except (RuntimeError, AssertionError) as error:  # the latter where JAX has no such plugin
        if reason := _missing_platform():
            return _fail(reason, 2)
        if type(error).__name__ != "JaxRuntimeError":  # not imported here, nor perhaps at all
            raise
        reason = f"the device gave up: {str(error).splitlines()[0]}"
        if sys.modules["jax"].process_count() > 1:
            reason += (
                "; another process of the job may have ended. The same command, started again in "
                "all of them, continues after the newest checkpoint"
            )
        return _fail(reason, 1)
    except SystemExit as stop:  # tyro, after its help or its message about a wrong flag
        return stop.code if isinstance(stop.code, int) else 1


def _run(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"jaxrep {jaxrep.__version__}")
        return 0
    given = commands.take_used_files(given)
    commands.check_method(given)
    parsed: Any = tyro.cli(
        commands.all_commands(),
        prog="jaxrep",
        description="Learn representations of tables, each training one program compiled by XLA. "
        "--version alone tells the version.",
        args=given,
        config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
    )
    command: Any = parsed.command if hasattr(parsed, "command") else parsed
    prints = command.initialize()
    _select_device(command.device)
    _decide_on_cache(command.compile_cache)
    text, result = command()
    if command.compile_cache:
        _report_cache()
    if prints:
        file = command.result_file()
        print(text, file=file)
        if command.json:
            print(json.dumps(result, allow_nan=False), file=file)
        file.flush()
    return 0 if result.get("passed", True) else 1


def _decide_on_cache(is_wanted: bool) -> None:
    from jaxrep import compile_cache

    compile_cache.leave_off(not is_wanted)
    compile_cache.decide(lambda said: print(f"warning: {said}", file=sys.stderr))


def _report_cache() -> None:
    from jaxrep import compile_cache

    if rejected := compile_cache.use().rejected:
        print(
            f"warning: {rejected} programs could be neither read from nor written to the "
            f"compilation cache {compile_cache.folder()}; delete it, or use --no-compile-cache",
            file=sys.stderr,
        )


def _fail(reason: object, code: int) -> int:
    # A name in it may come from an untrusted file: of any length, and with a terminal's controls.
    text = commands.printable(str(reason))
    more = "…" if len(text) > _LONGEST_MESSAGE else ""
    print(f"jaxrep: {text[:_LONGEST_MESSAGE]}{more}", file=sys.stderr)
    return code


def _missing_platform() -> str | None:
    """Returns what to say where JAX, which a command has asked for its devices, has none."""
    if "jax" not in sys.modules:
        return None
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms  # type: ignore[attr-defined]
        if not asked:
            return None
        why = f" ({str(error).splitlines()[0].split(' (set JAX')[0]})" if str(error) else ""
        return (
            f"JAX_PLATFORMS is {asked}, and JAX starts on no such device{why}; unset it, or "
            "install JAX for that device"
        )
    return None


def _select_device(device: str) -> None:
    """Makes JAX compute on the device asked for, or refuses if it does not see one."""
    if device == "auto":
        return
    import jax

    before = jax.config.jax_platforms  # type: ignore[attr-defined]
    platforms = {"gpu": "cuda,rocm"}.get(device, device)
    jax.config.update("jax_platforms", platforms)  # type: ignore[no-untyped-call]
    try:
        first = jax.devices(device)[0]
        if jax.devices()[0] != first:  # JAX had started on another before
            jax.config.update("jax_default_device", first)  # type: ignore[no-untyped-call]
    except RuntimeError:
        jax.config.update("jax_platforms", before)  # type: ignore[no-untyped-call]
        raise InputError(
            f"--device {device}: JAX sees no {device} on this machine; install JAX for it, or "
            "leave --device out"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
