import numpy as np
import pytest
import soundfile

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.embedding.sounds import Reader, windows

FRONT_END = FrontEnd()
FRAMES_PER_SECOND = 22_000 / 512


@pytest.mark.parametrize("hop_seconds", [0.0233, 0.1, 0.5, 2.234, 7.0])
@pytest.mark.parametrize("frames", [1, 47, 48, 49, 96, 97, 144, 1000])
def test_windows_do_not_depend_on_the_parts_in_which_frames_come(frames, hop_seconds):
    """Against all middles one by one, on a spectrogram that is padded as a whole."""
    rng = np.random.default_rng(0)
    log_mel = rng.normal(size=(96, frames)).astype(np.float32)
    middles, place = [], 0
    while (middle := round(place * hop_seconds * FRAMES_PER_SECOND)) < frames:
        middles.append(middle)
        place += 1
    padded = np.pad(log_mel, ((0, 0), (48, 48)), constant_values=FRONT_END.silence)
    wanted = np.stack([padded[:, middle : middle + 96] for middle in middles])
    for step in (5, 96, 2000):
        parts = [log_mel[:, start : start + step] for start in range(0, frames, step)]
        found = list(windows(FRONT_END, iter(parts), hop_seconds))
        np.testing.assert_array_equal(np.concatenate([part.patches for part in found]), wanted)
        seconds = np.concatenate([part.seconds for part in found])
        np.testing.assert_allclose(seconds, np.array(middles) / FRAMES_PER_SECOND)


@pytest.mark.parametrize("level", ["recorded", "peak"])
def test_a_sound_far_beyond_full_scale_is_refused_where_loudness_is_heard(tmp_path, level):
    reader = Reader(FRONT_END, level, Scaler(-15.0, 5.0))
    loud = np.float32(1e9) * np.sin(np.arange(9_000, dtype=np.float32))
    soundfile.write(tmp_path / "a.wav", loud, 22_000, "FLOAT")
    for sound, rate_hz in ((tmp_path / "a.wav", None), (loud, 22_000)):
        if level == "peak":
            assert np.abs(np.concatenate(list(reader.blocks(sound, rate_hz)))).max() == 1
            continue
        with pytest.raises(ValueError, match=r"reach.*beyond 8"):
            list(reader.blocks(sound, rate_hz))
