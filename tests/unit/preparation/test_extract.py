"""One sound to its patches."""

import dataclasses
import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio import decode, level
from coala_jax.audio.decode import load
from coala_jax.audio.frontend import FrontEnd
from coala_jax.preparation import extract as module
from coala_jax.preparation.extract import ExtractionResult, extract
from coala_jax.preparation.settings import Settings

FRONT_END = FrontEnd(clip_seconds=3.0)  # 130 frames: candidates start at 0, 12 and 24
SETTINGS = Settings("any", front_end=FRONT_END)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples)


def extracted(path: Path, waveform: np.ndarray, **changes: object) -> ExtractionResult:
    soundfile.write(path, waveform, 22_000, "FLOAT")
    return extract(path, dataclasses.replace(SETTINGS, **changes))


def test_the_digest_is_of_the_samples_and_not_of_the_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 500).astype(np.int16)
    digests = {}
    for name, waveform in (("a.wav", samples), ("b.flac", samples), ("c.wav", samples[::-1])):
        soundfile.write(tmp_path / name, waveform, 22_000)
        digests[name] = extract(tmp_path / name, SETTINGS).digest
    assert digests["a.wav"] == digests["b.flac"] != digests["c.wav"]


def test_patches_are_the_log_mel_of_the_sound_and_as_many_as_asked_for(tmp_path: Path) -> None:
    """Of 4 s, noise from frame 66 on: the later of the 7 candidates hold more and more of it."""
    waveform = np.zeros(4 * 22_000)
    waveform[66 * 512 :] = noise(88_000 - 66 * 512)
    for count, frames in {1: (72,), 2: (60, 72), 0: tuple(range(0, 84, 12))}.items():
        result = extracted(tmp_path / "a.wav", waveform, patches_per_sound=count)
        assert (result.frames, result.seconds, result.error) == (frames, 4.0, "")
        log_mel = FRONT_END.log_mel(load(tmp_path / "a.wav", 22_000))  # not scaled
        for patch, frame in zip(result.patches, frames, strict=True):
            np.testing.assert_array_equal(patch, log_mel[:, frame : frame + 96], strict=True)


def test_no_patch_is_padding_alone(tmp_path: Path) -> None:
    """Frame f hears samples 512 f - 512 to 512 f + 511: frame 12 the sample 5632 first."""
    counts = {1: 1, 5631: 1, 5632: 1, 5633: 2, 6145: 2, 12_000: 3}
    for samples, count in counts.items():
        result = extracted(tmp_path / "a.wav", np.full(samples, 0.5), patches_per_sound=0)
        assert result.frames == (0, 12, 24)[:count]
        assert all(patch.max() > FRONT_END.silence for patch in result.patches)


def test_at_peak_level_loudness_makes_no_difference(tmp_path: Path) -> None:
    sound = noise(9000)
    quiet, loud = (
        extracted(tmp_path / "a.wav", gain * sound, level="peak").patches[0]
        for gain in (0.01, 0.37 / np.abs(sound).max())
    )
    np.testing.assert_allclose(quiet, loud, atol=1e-4)
    at_one = FRONT_END.log_mel((sound / np.abs(sound).max()).astype(np.float32))[:, :96]
    np.testing.assert_allclose(loud, at_one, atol=1e-4)
    recorded = extracted(tmp_path / "a.wav", 0.01 * sound).patches[0]
    assert np.abs(recorded - quiet).max() > 1


def test_what_cannot_be_decoded_is_a_result_too_but_no_error_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    results = {"MissingFile": extract(path, SETTINGS)}
    for content, error in ((b"", "EmptyFile"), (b"no sound", "WrongName")):
        path.write_bytes(content)
        results[error] = extract(path, SETTINGS)
    results["TooLong"] = extracted(path, np.full(24_200, 0.5), max_seconds=1.0)
    assert extracted(path, np.full(22_000, 0.5), max_seconds=1.0).error == ""
    for error, result in results.items():
        assert result.error == error
        assert result.cause and str(tmp_path) not in result.cause
        assert (result.frames, result.patches, result.digest) == ((), (), "")

    def broken(*args: object, **kwargs: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "stream", broken)
    with pytest.raises(ZeroDivisionError):
        extract(path, SETTINGS)


def test_a_long_sound_is_analysed_as_it_comes_and_gives_the_bits_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_BLOCK_SAMPLES", 10_001)
    monkeypatch.setattr(level, "_HELD_SAMPLES", 50_000)  # at its peak it is decoded twice
    path, samples = tmp_path / "a.wav", noise(22_000 * 7)
    for changes in ({}, {"level": "peak"}, {"front_end": FrontEnd(clip_seconds=3.0, noise=1e-3)}):
        settings = dataclasses.replace(SETTINGS, patches_per_sound=3, **changes)
        result = extracted(path, samples, patches_per_sound=3, **changes)
        waveform = load(path, 22_000)
        assert result.peak == np.abs(waveform).max()
        digest = hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest()
        assert (result.digest, result.seconds) == (digest, 7.0)
        if settings.level == "peak":
            waveform = decode.peak_normalize(waveform)
        log_mel = settings.front_end.log_mel(waveform)
        assert result.frames == tuple(settings.front_end.patch_starts(log_mel, 3).tolist())
        for patch, frame in zip(result.patches, result.frames, strict=True):
            np.testing.assert_array_equal(patch, log_mel[:, frame : frame + 96])


def test_memory_of_a_long_sound_is_that_of_its_spectrogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes: 11 MB of samples, 2 MB of log-mel."""
    monkeypatch.setattr(decode, "_BLOCK_SAMPLES", 2**15)
    tone = (3000 * np.sin(np.arange(8_000 * 120) / 5)).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", tone, 8_000)
    tracemalloc.start()
    try:
        result = extract(tmp_path / "a.flac", SETTINGS)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.seconds == 120
    assert most < 9e6
    assert kept < 1e6


def test_a_sound_longer_than_the_bound_is_not_decoded_to_its_end(tmp_path: Path) -> None:
    """Silence as FLAC takes a few bytes a second; its header may leave the length open."""
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(1_000 * 61, np.int16), 1_000, format="FLAC")
    flac = silence.getvalue()
    assert len(flac) < 20_000
    one_minute = dataclasses.replace(SETTINGS, max_decode_minutes=1.0)
    length = int.from_bytes(flac[21:26], "big") >> 36 << 36  # 0: unknown
    unknown = flac[:21] + length.to_bytes(5, "big") + flac[26:]
    for content in (flac, unknown):
        (tmp_path / "a.flac").write_bytes(content)
        result = extract(tmp_path / "a.flac", one_minute)
        assert (result.error, result.frames) == ("TooLong", ())
        assert "60 s" in result.cause
    assert extract(tmp_path / "a.flac", SETTINGS).error == "Silent"


def test_an_hour_is_the_bound_where_none_is_given(tmp_path: Path) -> None:
    """The header is enough."""
    (tmp_path / "a.wav").write_bytes(b"")
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 1_000, 1, "PCM_U8") as file:
        file.write(np.zeros(1))
    with (tmp_path / "a.wav").open("r+b") as file:
        file.truncate(44 + 1_000 * 3_601)  # holes on the disk
        file.seek(40)
        file.write((1_000 * 3_601).to_bytes(4, "little"))
    assert extract(tmp_path / "a.wav", SETTINGS).error == "TooLong"
    with pytest.raises(decode.TooLongError, match="3600 s"):
        load(tmp_path / "a.wav", 22_000)


def test_a_sound_far_beyond_full_scale_is_left_out_unless_it_does_no_harm(tmp_path: Path) -> None:
    path, loud = tmp_path / "a.wav", 2e9 * noise(9_000)
    refused = extracted(path, loud)
    assert refused.error == "TooLoud"
    assert "where full scale is 1" in refused.cause
    assert extracted(path, loud, max_peak=0.0).peak > 9e8
    assert extracted(path, loud, level="peak").peak > 9e8
    assert extracted(path, np.full(9_000, 8.0)).error == ""
    assert extracted(path, np.full(9_000, 8.01)).error == "TooLoud"
