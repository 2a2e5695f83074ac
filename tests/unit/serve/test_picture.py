"""The waveform of a sound as columns, against values worked out by hand."""

import numpy as np
import soundfile

from coala_jax.serve import picture as pictures
from coala_jax.serve.picture import COLUMNS, brightness, peaks, picture, played, state_of

RATE_HZ = 22_050


def test_peaks_are_the_largest_value_of_each_column():
    waveform = np.zeros(COLUMNS * 10, np.float32)
    waveform[5], waveform[-3] = -0.5, 0.25
    wanted = np.zeros(COLUMNS)
    wanted[0], wanted[-1] = 255, 128  # 127.5, rounded to even
    np.testing.assert_array_equal(peaks(waveform), wanted)
    assert not peaks(np.zeros(1000, np.float32)).any()
    assert (peaks(np.ones(3, np.float32)) == 255).all()  # fewer samples than columns


def test_brightness_is_the_centroid_on_a_logarithmic_scale():
    at = np.arange(RATE_HZ) / RATE_HZ
    for hertz, wanted in ((894.4, 127.5), (200.0, 40.3), (8000.0, 255.0)):
        sine = np.sin(2 * np.pi * hertz * at).astype(np.float32)
        # The spectrum's bins are 21.5 Hz wide.
        np.testing.assert_allclose(brightness(sine)[5:-5], wanted, atol=3)
    assert not brightness(np.zeros(5, np.float32)).any()


def test_a_picture_and_what_is_played_are_of_the_first_seconds(tmp_path):
    file = tmp_path / "long.wav"
    noise = np.random.default_rng(0).uniform(-1, 1, 20 * RATE_HZ).astype(np.float32)
    noise[15 * RATE_HZ :] = 0
    soundfile.write(file, noise, RATE_HZ)
    found = picture(file, state_of(file))
    assert found["seconds"] == 15 and len(found["peaks"]) == len(found["brightness"]) == COLUMNS
    assert min(found["peaks"]) > 200
    with (tmp_path / "played.mp3").open("wb") as out:
        out.write(played(file, state_of(file)))
    assert abs(soundfile.info(tmp_path / "played.mp3").duration - 15) < 0.1


def test_a_file_that_has_changed_has_another_picture(tmp_path):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.ones(500, np.float32), RATE_HZ)
    before = picture(file, state_of(file))
    assert picture(file, state_of(file)) is before
    soundfile.write(file, np.ones(1000, np.float32), RATE_HZ)
    assert picture(file, state_of(file))["seconds"] > before["seconds"]
    assert pictures.picture.cache_info().maxsize and pictures.played.cache_info().maxsize == 64
