"""Patches to [0, 1]: one range for all, or one per time column."""

import json

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler

from coala_jax.data.scaler import MinMax, Scaler


def fit(patches: np.ndarray, scaling: str) -> Scaler:
    minmax = MinMax(scaling)
    for patch in patches:
        minmax.partial_fit(patch)
    return minmax.scaler()


def test_scaler_maps_the_training_range_to_0_and_1_and_clips_the_rest() -> None:
    values = np.array([-20.0, -15.0, -10.0, 0.0, 5.0, 9.0], np.float32)
    scaled = Scaler(-15.0, 5.0).scale(values)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.float32([0, 0, 0.25, 0.75, 1, 1]))


def test_scaler_gives_exactly_0_and_1_at_any_ends() -> None:
    ends = np.sort(np.random.default_rng(0).uniform(-16, 8, (200, 2)).astype(np.float32), axis=1)
    for low_high in ends:
        scaled = Scaler(float(low_high[0]), float(low_high[1])).scale(low_high)
        np.testing.assert_array_equal(scaled, np.float32([0, 1]))


REFUSED = {
    "constant": lambda: Scaler(-15.9, -15.9),
    "negative": lambda: Scaler(5.0, -15.0),
    "infinite": lambda: Scaler(-15.9, np.inf),
    "NaN": lambda: Scaler(np.nan, 5.0),
    "frame 1 negative": lambda: Scaler((0.0, 1.0), (2.0, 0.5), clip_above=False),
    "frame 1 NaN": lambda: Scaler((0.0, np.nan), (2.0, 2.0), clip_above=False),
    "frame 1 infinite": lambda: Scaler((0.0, 0.0), (2.0, np.inf), clip_above=False),
    "frame 0 constant": lambda: Scaler((0.0, 1.0), (0.0, 1.0), clip_above=False),
    "one maximum missing": lambda: Scaler((0.0, 1.0), (2.0,), clip_above=False),
    "one and many": lambda: Scaler(0.0, (2.0, 3.0), clip_above=False),
    "no patches": lambda: MinMax("per_frame").scaler(),
    "unknown scaling": lambda: MinMax("column"),
    "unknown key": lambda: Scaler.from_dict({"minimum": -15.0, "high": 5.0}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scaled_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:
        REFUSED[name]()
    assert not name.startswith("frame") or name[:7] in str(error.value)


def test_one_range_of_all_training_patches_in_any_order_and_after_json() -> None:
    patches = np.float32([[[0, 1], [2, 3]], [[-4, 0], [0, 0]], [[0, 0], [9, 0.1]]])
    assert fit(patches, "global") == Scaler(-4.0, 9.0, clip_above=True)
    for scaling in ("global", "per_frame"):
        scaler = fit(patches, scaling)
        assert fit(patches[::-1], scaling) == scaler
        assert Scaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


def test_a_range_per_frame_over_sounds_and_bands() -> None:
    patches = np.float32([[[0, 1, 5], [2, 3, 5]], [[-4, 2, 5], [0, 2, 5]]])
    scaler = fit(patches, "per_frame")
    assert scaler == Scaler((-4.0, 1.0, 5.0), (2.0, 3.0, 5.0), clip_above=False)
    # Below the range is 0, above it passes 1, and a frame of one value is only shifted.
    scaled = scaler.scale(np.float32([[-10, 2, 5], [5, 5, 5.5]]))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.float32([[0, 0.5, 0], [1.5, 2, 0.5]]))


def test_a_range_per_frame_equals_scikit_learn() -> None:
    patches = np.random.default_rng(0).uniform(-16, 6, (9, 96, 96)).astype(np.float32)
    patches[..., 7] = -15.5  # constant
    patches[..., 8] = -15.5
    patches[3, 5, 8] = np.nextafter(np.float32(-15.5), np.float32(0))  # as good as constant
    train, other = patches[:4], patches[4:] * np.float32(1.1)
    reference = MinMaxScaler().fit(train.reshape(-1, 96))
    scaler = fit(train, "per_frame")
    for part in (train, other):
        expected = reference.transform(part.reshape(-1, 96)).reshape(part.shape)
        assert (part is train) == (expected.max() < 1 + 1e-6)
        np.testing.assert_allclose(
            scaler.scale(part), np.maximum(expected, 0), atol=2e-6, rtol=0, strict=True
        )


def test_patches_that_come_scaled_stay_as_they_are() -> None:
    patches = np.random.default_rng(0).uniform(0, 1.5, (3, 96, 96)).astype(np.float32)
    np.testing.assert_array_equal(fit(patches, "none").scale(patches), patches)
