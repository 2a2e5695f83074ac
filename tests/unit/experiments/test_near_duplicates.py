"""Near-duplicates: what counts as one recording, and what is compared at all."""

import numpy as np
import pytest

from experiments import near_duplicates


def noise(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=round(seconds * near_duplicates.RATE_HZ)).astype(np.float32) / 8


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda wave: wave[5_000:20_000], id="cut"),
        pytest.param(lambda wave: -0.1 * wave, id="turned down"),
        pytest.param(lambda wave: np.concatenate([noise(0.1, 9), wave]), id="later"),
        pytest.param(lambda wave: np.rint(wave * 127).astype(np.float32) / 127, id="8 bit"),
    ],
)
def test_one_recording_is_found_however_it_was_treated(change):
    wave = noise(2, 0)
    for pair in ((wave, change(wave)), (change(wave), wave)):
        assert near_duplicates.correlation(*pair) > 0.95


def test_two_recordings_do_not_correlate_and_silence_with_none():
    assert near_duplicates.correlation(noise(2, 0), noise(1, 1)) < 0.1
    assert near_duplicates.correlation(noise(0.1, 0), np.zeros(5_000, np.float32)) == 0
    assert near_duplicates.correlation(noise(1, 0), noise(1, 0)[:1]) == 0
    assert near_duplicates.correlation(noise(2, 0) + 0.5, noise(1, 1) + 0.5) < 0.1


def test_the_nearest_are_by_cosine_of_values_scaled_by_their_spread():
    # The second value has a spread a thousand times that of the first.
    sounds = np.array([[1, 0], [-1, 0], [0, 1000], [0, -1000]], np.float32)
    tests = np.array([[0.5, 100], [0.1, -900]], np.float32)
    assert near_duplicates.nearest(tests, sounds, 2).tolist() == [[0, 2], [3, 0]]
