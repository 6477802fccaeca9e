"""The README's commands and its Python run as they stand."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from jaxrep.cli import main
from jaxrep.demo import TITLES, train_on_blobs
from jaxrep.methods import without_labels
from tests.helpers.small import one_of_all
from torch_ref import verify

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def numbers_of(line, text):
    """The numbers of the lines that fit a pattern, without the deviations behind ±."""
    found = re.findall(line, re.sub(r"± \S+", "", text), flags=re.MULTILINE)
    return [[float(number) for number in re.findall(r"\d+\.?\d*", row)] for row in found]


@pytest.mark.parametrize("method", one_of_all("vae", without_labels()))
def test_the_demonstration_prints_the_losses_that_stand_there(method, tmp_path, capsys):
    train_on_blobs(method, tmp_path / "run")
    printed = capsys.readouterr().out
    [shown] = numbers_of(rf"^{TITLES[method][0]} Epoch .+$", README)
    assert shown in [
        pytest.approx(line, rel=1e-3) for line in numbers_of(r"^\w+ Epoch .+$", printed)
    ]


def test_the_commands_run_as_they_stand(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    lines = ["age,hours,job,city,income"]
    for i in range(40):
        job, city = rng.choice(["clerk", "smith"]), rng.choice(["Ulm", "Bonn"])
        lines.append(f"{rng.integers(20, 60)},{rng.normal(38, 5):.1f},{job},{city},{i % 2}")
    for name in ("people.csv", "new_people.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^jaxrep (.+?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) == 8
    printed = ""
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
        printed += capsys.readouterr().out
    written = {"people.csv", "new_people.csv", "runs", "z.csv", "scores.csv", "made_up.csv"}
    assert {path.name for path in tmp_path.iterdir()} == {*written, "people.pt", "people.rows"}
    assert "wrote people.pt (torchscript, " in printed
    shown = numbers_of(r"^ +[14] +0\.01?.+ 4/4$", README)
    assert len(shown) == 4
    np.testing.assert_allclose(
        numbers_of(r"^ +[14] +0\.01?.+ 4/4$", printed), shown, rtol=0.01
    )  # machines part in late digits
    assert verify.main(["people.pt"]) == 0
    assert "all digests hold and all functions give what" in capsys.readouterr().out
    names = {"rows": torch.tensor([[30.0, 38.0, 0.0, 1.0], [99.0, 20.0, 1.0, -1.0]])}
    for line in re.findall(r"^>>> (.+?)(?:\s+#.*)?$", README, flags=re.MULTILINE):
        exec(f"result = {line}" if "(" in line else line, names)
    assert names["result"].shape == (2,)


def test_the_python_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["Z"].shape == (1000, 4) and names["scores"].shape == (1000,)
    assert names["new"].shape == (16, 16)
    assert (tmp_path / "vae.pt").is_file() and (tmp_path / "runs/vae/manifest.json").is_file()


@pytest.mark.parametrize("target", re.findall(r"`?make ([a-z-]+)", README))
def test_make_has_the_targets(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_every_link_leads_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
