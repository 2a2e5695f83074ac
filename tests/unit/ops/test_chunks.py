import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.ops.chunks import fits, map_chunks


@pytest.mark.parametrize(
    ("batch", "at_once", "sizes"),
    [
        (6, 0, [1] * 6),
        (6, 1, [1] * 6),
        (6, 2, [2] * 3),
        (6, 3, [2] * 3),  # a power of two that divides the batch
        (6, 100, [2] * 3),
        (7, 4, [1] * 7),
        (8, 7, [4] * 2),
        (8, 8, [8]),
        (8, 9, [8]),
    ],
)
def test_rows_are_concatenated_in_order_and_sums_added(batch, at_once, sizes):
    x, y = (np.random.default_rng(s).standard_normal((batch, 3)).astype("f4") for s in (0, 1))
    seen = []

    def function(rows):
        x, y = rows
        seen.append(len(x))
        return {"product": x * y}, (x.sum(0), jnp.float32(len(x)))

    mapped, (total, count) = map_chunks(function, (jnp.asarray(x), jnp.asarray(y)), at_once)
    assert set(seen) == {sizes[0]}
    np.testing.assert_array_equal(mapped["product"], x * y)
    np.testing.assert_allclose(total, x.sum(0), rtol=0, atol=1e-5)
    assert count == batch


def test_a_function_may_return_only_rows_or_only_sums():
    x = jnp.arange(4.0)
    rows, nothing = map_chunks(lambda x: (x + 1, None), x, 2)
    assert (rows.tolist(), nothing) == ([1, 2, 3, 4], None)
    nothing, total = map_chunks(lambda x: (None, x.sum()), x, 2)
    assert (nothing, float(total)) == (None, 6)


@pytest.mark.parametrize("at_once", [0, 2, 5, 6, 8, 9])
def test_what_fits_is_one_call(at_once):
    seen = []
    for batch in (6, 8):
        x = jnp.zeros((batch, 2))
        map_chunks(lambda x: (seen.append(len(x)), (x, None))[1], x, at_once)
        assert fits(x, at_once) == (seen.pop() == batch)
