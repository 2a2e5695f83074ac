from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.training.metrics import Mean, summed


def test_summed_leaves_out_invalid_rows_whatever_they_hold():
    values = jnp.array([1.5, jnp.nan, 2.0, jnp.inf, 4.0])
    valid = jnp.array([True, False, True, False, True])
    assert [float(value) for value in summed(values, valid)] == [7.5, 3.0]


def test_summed_of_padding_alone_weighs_nothing():
    assert [float(v) for v in summed(jnp.ones(2), jnp.zeros(2, bool))] == [0.0, 0.0]


def test_mean_weighs_batches_by_their_rows():
    # A full batch of 4 with mean 1 and a last one of 1 with 6: (4 + 6) / 5, not (1 + 6) / 2.
    mean = Mean()
    mean.add({"loss": (4.0, 4.0), "norm": (3.0, 1.0)})
    mean.add({"loss": (6.0, 1.0), "norm": (5.0, 1.0)})
    assert mean.result() == {"loss": 2.0, "norm": 4.0}


@pytest.mark.parametrize("large", [1e8, 1e16], ids=["float32-would-fail", "float64-would-fail"])
def test_merging_is_exact_in_any_order(large):
    pairs = [(np.float32(large), 1.0)] + [(np.float32(0.1), 1.0)] * 1000
    wanted = float(sum(Fraction(float(total)) for total, _ in pairs)) / 1001
    for ordered in (pairs, pairs[::-1]):
        mean = Mean()
        for pair in ordered:
            mean.add({"loss": pair})
        assert mean.result() == {"loss": wanted}
