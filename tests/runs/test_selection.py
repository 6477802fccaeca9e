"""Grids of a sweep that name views, and losses that no sweep may compare."""

import pytest

from jaxrep import methods
from jaxrep.runs import grid, selection


def test_a_grid_names_views_joined_by_plus():
    hyperparameters = methods.SimCLRHyperparameters()
    read = grid.parse(["views=scarf,swap+dropout,none"], hyperparameters)
    assert read == {"views": [("scarf",), ("swap", "dropout"), ()]}
    assert [grid.as_text(value) for value in read["views"]] == ["scarf", "swap+dropout", "none"]
    assert grid.complete(read, hyperparameters, 1)["views"] == read["views"]


@pytest.mark.parametrize("name", ["autoencoder", "simclr"])
@pytest.mark.parametrize("knob", ["views", "corruption_rate", "swap_rate"])
def test_losses_of_different_corruptions_do_not_compare(name, knob):
    hyperparameters = methods.hyperparameters_of(name)(validation_fraction=0.1)
    with pytest.raises(ValueError, match=f"runs that differ in {knob}"):
        selection.check_selection("loss", hyperparameters, {knob: [0.2, 0.3]})
