"""Trains a sweep on two devices of this process; prints `passed` if its members share nothing."""

import jax
import numpy as np

from jaxrep.batch import Batch
from jaxrep.training import fit, init_state, loop, members, sweep
from tests.helpers.small import SPEC, X
from tests.helpers.sweeps import HELD_OUT, assert_equal, largest, make_all


def main():
    jax.config.update("jax_num_cpu_devices", 2)
    placed, run = [], members.run_members

    def watch(*arguments, **options):
        made = run(*arguments, **options)
        placed.extend(array.sharding for array in jax.tree.leaves(made))
        return made

    loop.run_members = watch
    methods = make_all("autoencoder")
    result = sweep(methods, X, validation=HELD_OUT)
    assert result.compiles == 1
    assert all(len(sharding.device_set) == 2 for sharding in placed), placed
    assert not any(sharding.is_fully_replicated for sharding in placed), placed
    text = run.lower(
        members.stack([*methods, methods[0]]), np.zeros(4, np.uint32),
        jax.tree.map(
            lambda a: np.zeros((4, *a.shape), a.dtype), init_state(methods[0], SPEC, 0)
        ),
        Batch(X), Batch(X), 0, 4, spec=SPEC, batch_size=16, chunk=4,
        devices=members.share_out_devices(4),
    ).as_text()  # fmt: skip
    assert "all-reduce" not in text and "all_reduce" not in text and "all_gather" not in text
    for method, member in zip(methods, result.members, strict=True):
        assert_equal(member, fit(method, X, validation=HELD_OUT), largest(method))
    assert jax.config.jax_use_shardy_partitioner
    print("passed")


if __name__ == "__main__":
    main()
