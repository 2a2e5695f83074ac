import numpy as np
import pytest

from coala_jax.audio.frontend import FrontEnd
from coala_jax.embedding.pooling import POLICIES, at_level, check_policy, cut, pool
from tests.unit.embedding.test_embedder import noise

FRONT_END = FrontEnd()


def sound(frames: int) -> np.ndarray:
    """Noise that has so many frames when it is not padded."""
    return noise(samples=(frames - 1) * 512 + 100)


@pytest.mark.parametrize(
    ("frames", "patches", "sounding"),
    [
        pytest.param(1, 1, 1, id="one-frame"),
        pytest.param(95, 1, 95, id="short-of-a-patch"),
        pytest.param(96, 1, 96, id="one-patch"),
        pytest.param(143, 1, 96, id="short-remainder-dropped"),
        pytest.param(144, 2, 144, id="half-a-patch-padded"),
        pytest.param(172, 2, 172, id="four-seconds"),
    ],
)
def test_what_of_a_clip_counts(frames, patches, sounding):
    waveform = sound(frames)
    wanted = FRONT_END.consecutive_patches(FRONT_END.log_mel(waveform, clip_seconds=0.0))
    for policy, counted in (("paper", 96 * patches), ("masked", sounding)):
        clip = cut(FRONT_END, waveform, policy)
        np.testing.assert_array_equal(clip.patches, wanted)
        assert clip.patches.shape == (patches, 96, 96)
        assert clip.counted_frames == counted
    side_by_side = np.concatenate(clip.patches, axis=1)
    assert (side_by_side[:, clip.counted_frames :] == FRONT_END.silence).all()
    assert (side_by_side[:, clip.counted_frames - 1] > FRONT_END.silence).any()


@pytest.mark.parametrize(
    ("seconds", "patches"),
    [
        pytest.param(0.5, 4, id="padded"),  # 430 frames: a remainder of 46 is dropped
        pytest.param(10.0, 4, id="ten-seconds"),
        pytest.param(12.0, 5, id="longer"),  # 516 frames: 36 are dropped
    ],
)
def test_the_released_policy_pads_to_ten_seconds_with_noise(seconds, patches):
    waveform = noise(samples=round(seconds * 22_000))
    clip = cut(FRONT_END, waveform, "released")
    assert clip.counted_frames == 96 * patches
    wanted = FrontEnd(clip_seconds=10.0, noise=5e-4).log_mel(waveform)
    wanted = wanted[:, : 96 * patches].reshape(96, patches, 96).swapaxes(0, 1)
    np.testing.assert_array_equal(clip.patches, wanted)
    assert (clip.patches[-1] > FRONT_END.silence).all()  # no padding without noise


def test_the_other_settings_stay_those_of_the_model():
    front_end = FrontEnd(window="hann", power=1.0, edges="reflect")
    waveform = noise(30_000)
    wanted = FrontEnd.released().log_mel(waveform)[:, :96]
    np.testing.assert_array_equal(cut(front_end, waveform, "released").patches[0], wanted)
    plain = front_end.log_mel(waveform, clip_seconds=0.0)
    np.testing.assert_array_equal(cut(front_end, waveform, "paper").patches[0][:, :59], plain)


def test_an_unknown_policy_is_refused():
    for policy in POLICIES:
        check_policy(policy)
    with pytest.raises(ValueError, match="one of paper, released, masked, got mean"):
        cut(FRONT_END, sound(10), "mean")


# Two patches of one feature at three positions in time.
LATENTS = np.array([[[1.0, 2.0, 3.0]], [[11.0, 22.0, 36.0]]], np.float32)


@pytest.mark.parametrize(
    ("counted", "wanted"),
    [
        pytest.param(192, [6, 12, 19.5], id="all"),
        pytest.param(160, [6, 12, 3], id="last-position-of-last-patch-silent"),
        # 16 of 32 frames: half the weight, (3 + 36 / 2) / 1.5 = 14.
        pytest.param(176, [6, 12, 14], id="half"),
        # 8 of the 32 frames of the second patch's first position: (1 + 11 / 4) / 1.25 = 3.
        pytest.param(104, [3, 2, 3], id="barely-two-patches"),
    ],
)
def test_positions_weigh_as_their_frames_do(counted, wanted):
    np.testing.assert_allclose(pool(LATENTS, counted, 96), [wanted], rtol=1e-6)


@pytest.mark.parametrize(
    ("counted", "wanted"),
    [
        pytest.param(96, [1, 2, 3], id="all"),
        pytest.param(64, [1, 2, 1.5], id="two-thirds"),
        # Weights 1 and 1/4: the third position gets (1 + 2 / 4) / 1.25 = 1.2.
        pytest.param(40, [1, 2, 1.2], id="second-position-begun"),
        pytest.param(32, [1, 1, 1], id="one-position"),
        pytest.param(1, [1, 1, 1], id="one-frame"),
    ],
)
def test_a_position_without_sound_is_the_mean_of_the_others(counted, wanted):
    np.testing.assert_allclose(pool(LATENTS[:1], counted, 96), [wanted], rtol=1e-6)


def test_where_every_frame_counts_the_plain_mean_is_taken_bit_for_bit():
    latents = np.random.default_rng(0).random((5, 6, 3), np.float32)
    np.testing.assert_array_equal(
        pool(latents, 5 * 96, 96).reshape(-1), latents.reshape(5, 18).mean(axis=0)
    )


def test_features_are_weighted_apart():
    latents = np.random.default_rng(0).random((3, 4, 3), np.float32)
    whole = pool(latents, 230, 96)
    for feature in range(4):
        alone = pool(latents[:, feature : feature + 1], 230, 96)
        np.testing.assert_allclose(whole[feature : feature + 1], alone, rtol=1e-6)


def test_a_clip_at_its_peak_is_the_same_however_loud_it_was_recorded():
    clip = np.array([0.1, -0.4, 0.2], np.float32)
    np.testing.assert_array_equal(at_level(clip, "recorded"), clip)
    wanted = np.array([0.25, -1.0, 0.5], np.float32)
    for gain in (1.0, 0.01, 3.0):
        loud = at_level(clip * np.float32(gain), "peak")
        assert loud.dtype == np.float32
        np.testing.assert_allclose(loud, wanted, rtol=1e-6)
    silence = np.zeros(5, np.float32)
    np.testing.assert_array_equal(at_level(silence, "peak"), silence)
    with pytest.raises(ValueError, match="level must be recorded or peak, got loud"):
        at_level(clip, "loud")
