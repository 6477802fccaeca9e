"""The command line as tests call it."""

import contextlib
import io
import json

from jaxrep.cli import main


def call(*argv):
    """Runs the command line in this process; returns exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in argv])
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def done(*argv):
    """Runs a command that has to succeed, with --json; returns the object on its last line."""
    code, out, err = call(*argv, "--json")
    assert code == 0, err
    return json.loads(out.splitlines()[-1])
