"""The suite of anomaly scores: every one that a method offers, but the first, its default."""

import dataclasses
from collections.abc import Iterator

from jaxrep.hyperparameters import OneOf, declaration
from jaxrep.methods import hyperparameters_of, names
from jaxrep.parity._cross_check import Case
from jaxrep.parity._mixed import MIXED
from jaxrep.parity._models import SMALL, draw_inputs, draw_weights, output_case, twins


def score_cases(quick: bool) -> Iterator[Case]:
    """Yields the outputs of networks with other scores, of one member and of two."""
    for name in names():
        for score in _others(name):
            for members in (1,) if quick else (1, 2):
                ours, theirs = twins(name, SMALL, members=members, anomaly_score=score)
                weights = draw_weights(ours, MIXED)
                x, z = draw_inputs(MIXED, SMALL[1])
                told = f"mixed, {score}" + f", {members} members" * (members > 1)
                case = output_case(ours, theirs, MIXED, weights, x, z, told)
                yield dataclasses.replace(case, wanted=("weights", "x", "z"))


def _others(name: str) -> tuple[str, ...]:
    for field in dataclasses.fields(hyperparameters_of(name)):
        if field.name == "anomaly_score":
            offered = declaration(field).range
            assert isinstance(offered, OneOf)
            return offered.options[1:]
    return ()
