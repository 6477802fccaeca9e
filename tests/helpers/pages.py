"""The pages of docs/ as tests run them: Python, and commands of jaxrep, in a folder of their own.

How-to pages draw a picture; this draws those of the named pages anew, into docs/plots:

    python -m tests.helpers.pages docs/howto/compress.md
"""

import contextlib
import io
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.helpers.commands import call

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PLOTS = DOCS / "plots"


def run(page, folder):
    """Runs a page's blocks in order, and yields of each `output` block what it says and was."""
    text = page.read_text("utf-8")
    names, printed = {}, ""
    with contextlib.chdir(folder):
        for language, block in re.findall(r"```(python|py|sh|output)\n(.*?)```", text, re.DOTALL):
            if language == "py":  # a file, whose name its first line says
                Path(block.partition("\n")[0].removeprefix("# ")).write_text(block, "utf-8")
                continue
            if language == "output":
                yield block, printed
                continue
            printed = _python(block, names) if language == "python" else _commands(block)


def pictures(page):
    """The names of the pictures that a page shows."""
    return [Path(link).name for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())]


def _python(block, names):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(block, names)
    return out.getvalue()


def _commands(block):
    """Runs the lines that begin with `jaxrep`, a backslash at the end joining them."""
    printed = ""
    for line in block.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "jaxrep":
            code, out, err = call(*arguments)
            assert code == 0, f"{line}\n{err}"
            printed += out
    return printed


def main(pages):
    """Draws the pages' pictures anew, as their code does."""
    for page in map(Path, pages):
        with tempfile.TemporaryDirectory() as folder:
            for said, printed in run(page.resolve(), folder):
                if said != printed:
                    print(f"{page} says\n{said}and it is\n{printed}")
            for name in pictures(page):
                shutil.copy(Path(folder) / name, PLOTS / name)
                print(PLOTS / name)


if __name__ == "__main__":
    main(sys.argv[1:])
