"""The distance to the fifth nearest row of a bank, against its definition in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import torch_ref.networks
import torch_ref.weights
from jaxrep.networks import BANK_ROWS, Neighbours, shapes_like, with_weights

RNG = np.random.default_rng(0)
Z = 6


def in_jax(bank, z):
    filled = with_weights(Neighbours(bank.shape[1]), {"bank": jnp.asarray(bank)})
    return np.asarray(filled(jnp.asarray(z)))


def in_torch(bank, z):
    block = torch_ref.networks.Neighbours(bank.shape[1])
    return torch_ref.weights.with_weights(block, {"bank": bank})(torch.from_numpy(z)).numpy()


def defined(bank, z, which=4):
    """The distance of the fifth nearest, counted from 0, over √Z."""
    apart = z[:, None, :].astype(np.float64) - bank[None, :, :].astype(np.float64)
    return np.sort(np.sqrt((apart**2).mean(axis=-1)), axis=1)[:, which]


twins = pytest.mark.parametrize("score", [in_jax, in_torch])


@twins
@pytest.mark.parametrize("offset", [0, 1000])  # far from 0, where ‖a‖² + ‖b‖² − 2ab cancels
def test_a_score_is_the_distance_to_the_fifth_nearest(score, offset):
    bank = (RNG.normal(size=(200, Z)) + offset).astype(np.float32)
    z = (1.5 * RNG.normal(size=(50, Z)) + offset).astype(np.float32)
    np.testing.assert_allclose(score(bank, z), defined(bank, z), rtol=2e-6)


@twins
def test_a_row_of_the_bank_is_not_its_own_neighbour_but_an_equal_one_is(score):
    bank = RNG.normal(size=(60, Z)).astype(np.float32)
    np.testing.assert_allclose(score(bank, bank), defined(bank, bank, 5), rtol=2e-6)
    nearly = bank * np.float32(1 + 2e-7)  # as another program rounds it
    np.testing.assert_allclose(score(bank, nearly), defined(bank, bank, 5), rtol=1e-5)
    twice = np.concatenate([bank, bank])
    np.testing.assert_allclose(score(twice, bank), defined(twice, bank, 5), rtol=2e-6)
    assert (score(np.repeat(bank, 6, axis=0), bank) == 0).all()


@twins
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_of_few_rows_the_farthest_counts(score, count):
    bank = RNG.normal(size=(count, Z)).astype(np.float32)
    z = RNG.normal(size=(9, Z)).astype(np.float32)
    np.testing.assert_allclose(score(bank, z), defined(bank, z, min(count, 5) - 1), rtol=2e-6)
    own = defined(bank, bank, min(count, 6) - 1)
    np.testing.assert_allclose(score(bank, bank), own, rtol=2e-6)


@pytest.mark.parametrize("kind", [Neighbours, torch_ref.networks.Neighbours])
def test_a_bank_holds_every_row_or_evenly_spaced_ones(kind):
    few = RNG.normal(size=(70, 2)).astype(np.float32)
    np.testing.assert_array_equal(kind.fit(few)["bank"], few)
    many = np.arange(3 * BANK_ROWS, dtype=np.float32)[:, None]
    bank = kind.fit(many)["bank"][:, 0]
    assert len(bank) == BANK_ROWS and bank[0] == 0 and bank[-1] == len(many) - 1
    assert set(np.diff(bank)) <= {2, 3, 4}


def test_any_number_of_rows_fits_and_nothing_else_does():
    ours, theirs = Neighbours(2), torch_ref.networks.Neighbours(2)
    for found in ((7, 2), (1, 2)):
        assert shapes_like(ours, {"bank": found}) == {"bank": found}
        assert torch_ref.weights.shapes(theirs, {"bank": found}) == {"bank": found}
    for bank in (np.ones((7, 3), np.float32), np.ones(2, np.float32), np.ones((0, 2), np.float32)):
        with pytest.raises(ValueError, match="bank has shape"):
            with_weights(ours, {"bank": jnp.asarray(bank)})
        with pytest.raises(ValueError, match="bank has shape"):
            torch_ref.weights.with_weights(theirs, {"bank": bank})
