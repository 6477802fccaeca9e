"""What makes a run the run that it is, and whether a folder holds that very run already."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxrep.errors import InputError, ModelFormatError
from jaxrep.runs import folder
from jaxrep.runs.configuration import read_config


@dataclass(frozen=True)
class Earlier:
    """What a folder holds of a run that is asked for."""

    state: Literal["none", "unfinished", "finished"]
    """How far that very run has come there."""

    config: dict[str, Any]
    """Its `config.json`; empty where there is none."""


def find_earlier(
    out: Path, config: Mapping[str, Any], *, overwrite: bool, note: Callable[[str], None]
) -> Earlier:
    """Says what `out` holds of the run that is asked for.

    Args:
        out: the run's folder.
        config: of the run that is asked for, without its results.
        overwrite: whether a run that is there may go; the same one, unfinished, stays for all that,
            so that a job that is started again and again comes to its end.
        note: called with a remark where there is nothing to do.

    Raises:
        InputError: `out` holds something else; a run that differs or is damaged counts only
            where it is to stay.
    """
    state = folder.state(out)
    if state == "unrecognised":
        raise InputError(f"--out {out}: exists and is not a run folder; choose another path")
    if state == "absent":
        return Earlier("none", {})
    try:
        earlier = folder.load(out).config if state == "finished" else read_config(out)
    except ModelFormatError as error:
        if overwrite:
            return Earlier("none", {})
        advice = "choose another path, or replace that run with --overwrite"
        raise ModelFormatError(f"--out {error}; {advice}") from error
    difference = _difference(_identity(earlier), _identity(config))
    if overwrite and (difference or state == "finished"):
        return Earlier("none", {})
    if difference:
        raise InputError(
            f"--out {out}: holds a run that is {state} and differs in {difference}; choose another "
            "path, or replace that run with --overwrite"
        )
    if state == "finished":
        note(f"{out} already holds this run, finished: nothing to do")
        return Earlier("finished", earlier)
    return Earlier("unfinished", earlier)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what makes two runs the same run, in JSON's types."""
    data = config["data"]
    where = data["source"] if data.get("sha256") is None else data["sha256"]
    identity = {"method": config["method"], "the data": where}
    sweep = config.get("sweep", {})
    # A sweep's folder holds its best run: what was asked for stands apart from what that run has.
    identity |= {key: sweep.get(key) for key in ("grid", "select", "save_all")}
    identity["streamed"] = data.get("streamed", False)
    identity["label"] = config.get("target", {}).get("name", data["columns"].get("label"))
    identity["pre-trained weights"] = config.get("finetuned", {}).get("model")
    settings = config["hyperparameters"] | sweep.get("hyperparameters", {}) | data["columns"]
    decoded: dict[str, Any] = json.loads(json.dumps({**identity, **settings, **identity}))
    return decoded


def _difference(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    for key in {**asked, **earlier}:
        if earlier.get(key) != asked.get(key):
            if key == "the data":
                return "the data, whose content is another"
            return f"{key}: {earlier.get(key)!r} there, {asked.get(key)!r} asked for"
    return None


def warn_of_other_versions(
    earlier: Mapping[str, Any], config: Mapping[str, Any], note: Callable[[str], None]
) -> None:
    """Remarks on what a run that continues was begun with and does not have any more."""
    for key, what in (("versions", "versions"), ("device", "devices")):
        before, now = (found.get(key) or {} for found in (earlier, config))
        others = [
            f"{name} {before.get(name, 'unknown')}, now {now.get(name, 'unknown')}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        if others:
            note(
                f"warning: the run was begun with other {what} ({'; '.join(others)}); it "
                "continues, but may end with other last bits than if it had not been interrupted"
            )
