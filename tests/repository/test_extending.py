"""docs/extending.md: a method, a view and a block from outside the package, through everything."""

import re
import signal
import time

import pytest
import safetensors.numpy

from tests.helpers.pages import DOCS
from tests.helpers.processes import finished, start

pytestmark = pytest.mark.end_to_end

PAGE = DOCS / "extending.md"
FILES = {
    block.partition("\n")[0].removeprefix("# "): block
    for block in re.findall(r"```py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
}
TRAIN = ("train", "vicreg", "breast_cancer", "--use", "vicreg.py", "--epochs", "300", "--json")
RUN_PAGE = f"""
from pathlib import Path
from tests.helpers.pages import run
for said, printed in run(Path({str(PAGE)!r}), Path.cwd()):
    assert said == printed, printed
"""


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_a_method_from_outside_the_package_works_everywhere(folder):
    finished(start(folder, "-c", RUN_PAGE))
    # The file proves itself where neither JAX nor the method's code is.
    told = finished(start(folder, "-m", "torch_ref.verify", "vicreg.pt"))
    assert "vicreg, all digests hold and all functions give what JAX gave" in told
    assert "vicreg.py" not in (folder / "run" / "config.json").read_text()  # the name alone


def test_a_run_of_a_method_from_outside_ends_in_the_same_bits_after_a_kill(folder):
    jaxrep = ("-m", "jaxrep.cli", *TRAIN)
    finished(start(folder, *jaxrep, "--out", "whole"))
    killed = start(folder, *jaxrep, "--out", "killed", "--checkpoint-every", "5")
    while not list(folder.glob("killed/checkpoints/*/manifest.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (folder / "killed" / "manifest.json").exists()
    resumed = ("-m", "jaxrep.cli", "resume", "killed", "--use", "vicreg.py")
    assert "continuing after step" in start(folder, *resumed).communicate()[1]
    whole, after = (
        safetensors.numpy.load_file(folder / run / "model.safetensors")
        for run in ("whole", "killed")
    )
    assert whole.keys() == after.keys()
    assert all(whole[name].tobytes() == after[name].tobytes() for name in whole)


def test_a_run_whose_method_is_not_there_says_what_brings_it(folder):
    use = ("-m", "jaxrep.cli", *TRAIN[:5], "--epochs", "1", "--out", "run")
    finished(start(folder, *use))
    for command in (("info", "run"), TRAIN[:3], ("sweep", *TRAIN[1:3])):
        process = start(folder, "-m", "jaxrep.cli", *command)
        _, err = process.communicate()
        assert process.returncode == 2
        assert "vicreg" in err and "--use FILE.py" in err


def test_a_method_of_80_lines_and_a_twin_of_70_are_all_it_takes():
    lines = {
        name: sum(bool(line.strip()) for line in text.splitlines()) for name, text in FILES.items()
    }
    assert lines["vicreg.py"] <= 80
    assert lines["vicreg_torch.py"] <= 70
