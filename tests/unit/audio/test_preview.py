"""The beginning of a sound, for a browser."""

import io

import numpy as np
import pytest
import soundfile

from coala_jax.audio.errors import DecodeError
from coala_jax.audio.preview import preview


@pytest.mark.parametrize(("seconds", "kept"), [(0.5, 0.5), (3.0, 1.0)])
def test_it_is_an_mp3_of_the_first_seconds(tmp_path, seconds, kept):
    time = np.arange(int(seconds * 8000)) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.flac", np.stack([tone, tone], axis=1), 8000)
    data = preview(tmp_path / "a.flac", seconds=1.0)
    samples, rate_hz = soundfile.read(io.BytesIO(data))
    assert (samples.ndim, rate_hz) == (1, 44_100)
    assert len(samples) / rate_hz == pytest.approx(kept, abs=0.05)
    spectrum = np.abs(np.fft.rfft(samples[:16384] * np.hanning(16384)))
    assert spectrum.argmax() * rate_hz / 16384 == pytest.approx(440, abs=3)


def test_what_is_no_sound_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(DecodeError, match=r"a\.wav"):
        preview(tmp_path / "a.wav")
