"""What counts as one recording."""

import numpy as np
import pytest

from coala_jax.audio.correlation import RATE_HZ, correlation


def noise(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=round(seconds * RATE_HZ)).astype(np.float32) / 8


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
        assert correlation(*pair) > 0.95


def test_two_recordings_do_not_correlate_and_silence_with_none():
    assert correlation(noise(2, 0), noise(1, 1)) < 0.1
    assert correlation(noise(0.1, 0), np.zeros(5_000, np.float32)) == 0
    assert correlation(noise(1, 0), noise(1, 0)[:1]) == 0
    assert correlation(noise(2, 0) + 0.5, noise(1, 1) + 0.5) < 0.1
