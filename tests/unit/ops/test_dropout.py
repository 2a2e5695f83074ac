import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.ops.dropout import keep_mask
from tests.statistics import RATES, assert_share


@pytest.mark.parametrize("rate", RATES)
def test_every_unit_is_dropped_at_its_rate_independently(rate):
    rows, units = 4096, 40  # 40 units: two words and a half at 25 %
    keep = np.asarray(keep_mask(jax.random.key(0), jnp.arange(rows), (units,), rate))
    assert_share(~keep, rate)
    for unit in range(units):
        assert_share(~keep[:, unit], rate)
    correlation = np.corrcoef(keep, rowvar=False) - np.eye(units)
    assert np.abs(correlation).max() < 5 / np.sqrt(rows)
    assert_share(keep[1:] == keep[:-1], rate**2 + (1 - rate) ** 2)


def test_the_mask_depends_on_the_row_s_index_alone():
    key, shape = jax.random.key(0), (3, 5, 7)
    whole = keep_mask(key, jnp.arange(16), shape, 0.25)
    some = keep_mask(key, jnp.array([9, 2]), shape, 0.25)
    np.testing.assert_array_equal(some, whole[jnp.array([9, 2])])
