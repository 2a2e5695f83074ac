import re
import warnings

import librosa
import numpy as np
import pytest

from coala_jax.audio.frontend import FrontEnd
from coala_jax.evaluation.baselines import Mfcc, _with_deltas
from tests.unit.embedding.test_embedder import noise

RATE_HZ = 22_000


def sound(frames: int) -> np.ndarray:
    """Noise that has so many frames when it is not padded."""
    return noise(samples=(frames - 1) * 512 + 100)


def librosa_s(log_mel: np.ndarray, spread, **settings) -> np.ndarray:
    """The vector by librosa from a logarithmic spectrogram on."""
    mfcc = librosa.feature.mfcc(S=log_mel.astype(np.float64), n_mfcc=20)
    rows = [mfcc, *(librosa.feature.delta(mfcc, order=order, **settings) for order in (1, 2))]
    rows = np.concatenate(rows).astype(np.float64)
    return np.concatenate([rows.mean(axis=1), spread(rows, axis=1)])


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.dtype == np.float32
    assert got.shape == (120,)
    # Each statistic of each kind of row has its own size: 20 values share a scale.
    for start in range(0, 120, 20):
        part = slice(start, start + 20)
        scale = np.abs(wanted[part]).max()
        np.testing.assert_allclose(got[part], wanted[part], rtol=0, atol=2e-5 * scale + 1e-12)


@pytest.mark.parametrize(
    ("frames", "padded"),
    [
        pytest.param(1, 96, id="one-frame"),
        pytest.param(143, 96, id="short-remainder-dropped"),
        pytest.param(150, 192, id="remainder-padded"),
    ],
)
def test_paper_is_of_the_frames_of_the_clip_s_patches(frames, padded):
    log_mel = np.full((96, padded), FrontEnd().silence)
    heard = FrontEnd().log_mel(sound(frames), clip_seconds=0.0)[:, :padded]
    log_mel[:, : heard.shape[1]] = heard
    assert_close(Mfcc("paper").clip_vector(sound(frames), "paper"), librosa_s(log_mel, np.std))


@pytest.mark.parametrize("frames", [1, 8, 9, 150, 192])
def test_masked_knows_no_padding(frames):
    """Where a delta has not enough frames, the ends are repeated."""
    log_mel = FrontEnd().log_mel(sound(frames), clip_seconds=0.0)
    assert log_mel.shape == (96, frames)
    got = Mfcc("paper").clip_vector(sound(frames), "masked")
    if frames == 1:  # nothing moves and nothing spreads
        np.testing.assert_allclose(got[20:], np.zeros(100), atol=1e-12)
        assert np.abs(got[:20]).max() > 1
    else:
        settings = {"mode": "nearest"} if frames < 9 else {}
        assert_close(got, librosa_s(log_mel, np.std, **settings))
    paper = Mfcc("paper").clip_vector(sound(frames), "paper")
    assert (np.abs(got - paper).max() > 1) == (frames != 192)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_many_clips_are_rows_and_silence_has_one(mode):
    mfcc = Mfcc(mode)
    waveforms = [sound(30), sound(200), np.zeros(30_000, np.float32)]
    got = mfcc.embed_clips(iter(waveforms), "masked")
    wanted = [mfcc.clip_vector(waveform, "masked") for waveform in waveforms]
    np.testing.assert_array_equal(got, np.stack(wanted))
    np.testing.assert_allclose(got[2, 1:], 0, atol=1e-3)
    assert mfcc.embed_clips([], "masked").shape == (0, 120)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_at_a_peak_of_1_loudness_says_nothing(mode):
    waveform, baseline = sound(50), Mfcc(mode, level="peak")
    assert_close(baseline.clip_vector(waveform / 8), baseline.clip_vector(waveform))
    at_peak = waveform / np.abs(waveform).max()
    assert_close(baseline.clip_vector(waveform), Mfcc(mode).clip_vector(at_peak))
    assert baseline.digest != Mfcc(mode).digest
    assert not np.allclose(Mfcc("paper").clip_vector(waveform / 8), baseline.clip_vector(waveform))


def test_the_released_policy_pads_the_paper_s_baseline_too():
    log_mel = FrontEnd(clip_seconds=10.0, noise=5e-4).log_mel(sound(50))[:, : 4 * 96]
    assert_close(Mfcc("paper").clip_vector(sound(50), "released"), librosa_s(log_mel, np.std))


@pytest.mark.parametrize("seconds", [0.0002, 0.5, 12.0])
def test_released_is_librosa_0_7_2_s_default(seconds):
    waveform = noise(samples=round(seconds * RATE_HZ))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sounds shorter than a window
        mel = librosa.feature.melspectrogram(
            y=np.pad(waveform, 1024, "reflect" if len(waveform) > 1024 else "constant"),
            sr=RATE_HZ,
            n_fft=2048,
            hop_length=512,
            center=False,
        )
    wanted = librosa_s(librosa.power_to_db(mel), np.var, width=5, mode="nearest")
    for policy in ("paper", "released", "masked"):  # it pads nothing
        assert_close(Mfcc("released").clip_vector(waveform, policy), wanted)


def test_deltas_by_hand():
    """Least squares: of a line the slope and nothing else, of a parabola twice its coefficient."""
    time = np.arange(20.0)
    rows = np.stack([3 * time + 1, time**2, np.zeros(20)])
    lines, slopes, curves = np.split(_with_deltas(rows, 9, repeat_ends=False), 3)
    np.testing.assert_array_equal(lines, rows)
    np.testing.assert_allclose(slopes[0], np.full(20, 3.0))
    np.testing.assert_allclose(slopes[1, 4:-4], 2 * time[4:-4])
    np.testing.assert_allclose(curves, np.outer([0, 2, 0], np.ones(20)), atol=1e-9)
    repeated = _with_deltas(rows, 5, repeat_ends=True)
    # At the start 1, 1, 1, 4, 7 with weights -2..2 / 10: (-2 - 1 + 4 + 14) / 10.
    assert repeated[3, 0] == pytest.approx(1.5)
    assert repeated[3, 10] == pytest.approx(3)


def test_each_mode_has_its_digest(monkeypatch):
    digest = Mfcc("paper").digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert digest == Mfcc("paper").digest != Mfcc("released").digest
    assert Mfcc("paper").sample_rate_hz == RATE_HZ
    monkeypatch.setattr("coala_jax.evaluation.baselines.FrontEnd", FrontEnd.released)
    assert Mfcc("paper").digest != digest


def test_unknown_modes_and_policies_are_refused():
    with pytest.raises(ValueError, match="librosa"):
        Mfcc("librosa")
    for mode in ("paper", "released"):
        with pytest.raises(ValueError, match="mean"):
            Mfcc(mode).clip_vector(sound(30), "mean")
