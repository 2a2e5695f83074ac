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


@pytest.mark.parametrize(
    ("minimum", "maximum"), [(-15.9, -15.9), (5.0, -15.0), (-15.9, np.inf), (np.nan, 5.0)]
)
def test_scaler_refuses_what_cannot_be_scaled(minimum: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="training patches"):
        Scaler(minimum, maximum)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        pytest.param(((0.0, 1.0), (2.0, 0.5)), "span 1.0 to 0.5 in frame 1", id="smaller-last"),
        pytest.param(((0.0, np.nan), (2.0, 2.0)), "span nan to 2.0 in frame 1", id="nan"),
        pytest.param(((0.0, 0.0), (2.0, np.inf)), "span 0.0 to inf in frame 1", id="infinite"),
        pytest.param(((0.0, 1.0), (0.0, 1.0)), "span 0.0 to 0.0 in frame 0", id="silence"),
        pytest.param(((0.0, 1.0), (2.0,)), "2 minima and 1 maxima", id="one-missing"),
        pytest.param((0.0, (2.0, 3.0)), "1 minima and 2 maxima", id="one-and-many"),
    ],
)
def test_scaler_refuses_frames_that_cannot_be_scaled(ends: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaler(*ends, clip_above=False)


def test_one_range_of_all_training_patches() -> None:
    patches = np.float32([[[0, 1], [2, 3]], [[-4, 0], [0, 0]], [[0, 0], [9, 0]]])
    assert fit(patches, "global") == Scaler(-4.0, 9.0, clip_above=True)


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


@pytest.mark.parametrize("scaling", ["global", "per_frame"])
def test_scaler_is_the_same_after_json(scaling: str) -> None:
    scaler = fit(np.float32([[[0.1, 0.2], [0.3, 0.7]]]), scaling)
    for settings in (scaler.to_dict(), vars(scaler)):
        assert Scaler.from_dict(json.loads(json.dumps(settings))) == scaler
        assert Scaler.from_dict(settings) == scaler


def test_missing_and_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="high, maximum"):
        Scaler.from_dict({"minimum": -15.0, "high": 5.0})


def test_scaler_needs_patches_and_a_known_scaling() -> None:
    with pytest.raises(ValueError, match="no training patch"):
        MinMax("per_frame").scaler()
    with pytest.raises(ValueError, match="column"):
        MinMax("column")


def test_patches_that_come_scaled_stay_as_they_are() -> None:
    patches = np.random.default_rng(0).uniform(0, 1.5, (3, 96, 96)).astype(np.float32)
    np.testing.assert_array_equal(fit(patches, "none").scale(patches), patches)


def test_the_range_does_not_depend_on_the_order_of_the_patches() -> None:
    patches = np.random.default_rng(0).normal(size=(7, 96, 96)).astype(np.float32)
    for scaling in ("global", "per_frame"):
        assert fit(patches, scaling) == fit(patches[::-1], scaling)
