"""Patches of clips of any length, and the mean of their latents."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coala_jax.audio import level as level_module
from coala_jax.audio.frontend import FrontEnd
from coala_jax.audio.level import at_level
from coala_jax.embedding.embedder import Embedder
from coala_jax.embedding.pooling import LayersPool, MeanPool, cut
from tests.synthetic import tiny_model
from tests.unit.embedding.test_embedder import noise

FRONT_END = FrontEnd()


def pool(latents: np.ndarray, counted_frames: int, patch_frames: int) -> np.ndarray:
    """In two parts, as a sound of more than a batch comes."""
    whole, half = MeanPool(patch_frames), len(latents) // 2
    if half:
        whole.add(latents[:half], min(counted_frames, half * patch_frames))
    whole.add(latents[half:], counted_frames - half * patch_frames)
    return whole.result()


def sound(frames: int) -> np.ndarray:
    """Noise that has so many frames when it is not padded."""
    return noise(samples=(frames - 1) * 512 + 100)


FEW = settings(deadline=None, derandomize=True, max_examples=25)
AROUND = st.tuples(st.integers(0, 4), st.sampled_from([-49, -48, -47, -1, 0, 1, 47, 48, 49]))
LENGTHS = AROUND.map(lambda pair: max(1, 96 * pair[0] + pair[1]))  # frames, around the edges


@FEW
@given(LENGTHS)
@example(172)
def test_any_clip_is_cut_into_patches_of_which_its_own_frames_count(frames: int) -> None:
    """A remainder of at least half a patch is padded, a shorter one dropped; at least one patch."""
    count = max(1, (frames + 48) // 96)
    waveform = sound(frames)
    log_mel = FRONT_END.log_mel(waveform, clip_seconds=0.0)
    assert log_mel.shape == (96, frames)
    kept = min(frames, 96 * count)
    for policy, counted in (("paper", 96 * count), ("masked", kept)):
        clip = cut(FRONT_END, waveform, policy)
        assert (clip.patches.shape, clip.counted_frames) == ((count, 96, 96), counted)
        side_by_side = np.concatenate(clip.patches, axis=1)
        np.testing.assert_array_equal(side_by_side[:, :kept], log_mel[:, :kept])
        assert (side_by_side[:, kept:] == FRONT_END.silence).all()


@FEW
@given(LENGTHS, st.integers(1, 4), st.integers(0, 9))
def test_a_pooled_latent_is_the_mean_over_its_counted_frames(
    counted: int, positions: int, seed: int
) -> None:
    """Against every frame repeating the latent of its position: the mean over those that count."""
    positions = {4: 6}.get(positions, positions)  # of 96 frames
    patches = -(-counted // 96)
    latents = np.random.default_rng(seed).normal(size=(patches, 5, positions)).astype(np.float32)
    pooled = pool(latents, counted, 96)
    frames = np.repeat(latents.astype(np.float64), 96 // positions, axis=2)
    frames = np.moveaxis(frames, 1, 2).reshape(patches * 96, 5)[:counted]
    position = np.tile(np.repeat(np.arange(positions), 96 // positions), patches)[:counted]
    for place in range(positions):
        heard = frames[position == place] if (position == place).any() else frames
        np.testing.assert_allclose(pooled[:, place], heard.mean(axis=0), rtol=1e-5, atol=1e-6)


@FEW
@given(st.lists(LENGTHS, max_size=6), st.integers(1, 7), st.sampled_from(["paper", "masked"]))
def test_the_batches_do_not_matter(lengths: list[int], rows: int, policy: str) -> None:
    """`embed_clips` with a linear latent, beside the mean over each clip by itself."""
    embedder = Embedder(tiny_model("ae_c"))
    sizes: list[int] = []
    matrix = np.random.default_rng(0).normal(size=(96, 6)).astype(np.float32)

    def latent(patches: np.ndarray) -> np.ndarray:
        sizes.append(len(patches))
        thirds = patches.reshape(-1, 96, 3, 32).mean(axis=3)  # mel, time
        return np.einsum("pmt,mf->pft", thirds, matrix).reshape(len(patches), 18)

    embedder._encoder.apply = lambda method, patches: latent(patches)
    waveforms = [sound(frames) for frames in lengths]
    with mock.patch("coala_jax.embedding.encoder._ROWS", rows):
        got = embedder.embed_clips(iter(waveforms), policy)
    assert got.shape == (len(lengths), 18)
    assert all(size == rows for size in sizes[:-1])
    for vector, waveform in zip(got, waveforms, strict=True):
        clip = cut(FRONT_END, waveform, policy)
        maps = latent(embedder.scaler.scale(clip.patches)).reshape(-1, 6, 3)
        alone = pool(maps, clip.counted_frames, 96).reshape(18)
        np.testing.assert_allclose(vector, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("seconds", "patches"), [(0.5, 4), (12.0, 5)])
def test_the_released_policy_pads_to_ten_seconds_with_noise(seconds: float, patches: int) -> None:
    """Of 430 frames a remainder of 46 is dropped, of 516 one of 36."""
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


# Two patches of one feature at three positions in time.
LATENTS = np.array([[[1.0, 2.0, 3.0]], [[11.0, 22.0, 36.0]]], np.float32)


@pytest.mark.parametrize(
    ("patches", "counted", "wanted"),
    [
        pytest.param(2, 192, [6, 12, 19.5], id="all"),
        # 16 of 32 frames: half the weight, (3 + 36 / 2) / 1.5 = 14.
        pytest.param(2, 176, [6, 12, 14], id="half"),
        # 8 of the 32 frames of the second patch's first position: (1 + 11 / 4) / 1.25 = 3.
        pytest.param(2, 104, [3, 2, 3], id="barely-two-patches"),
        # A position without sound is the mean of the others.
        pytest.param(1, 64, [1, 2, 1.5], id="two-thirds"),
        # Weights 1 and 1/4: the third position gets (1 + 2 / 4) / 1.25 = 1.2.
        pytest.param(1, 40, [1, 2, 1.2], id="second-position-begun"),
        pytest.param(1, 1, [1, 1, 1], id="one-frame"),
    ],
)
def test_positions_weigh_as_their_frames_do(patches, counted, wanted):
    np.testing.assert_allclose(pool(LATENTS[:patches], counted, 96), [wanted], rtol=1e-6)


BLOCKS = (48, 24, 12, 6, 3)


def pool_layers(latents: np.ndarray, counted_frames: int, part: int) -> np.ndarray:
    """In parts of so many patches, as a sound of more than a batch comes."""
    whole = LayersPool(96, BLOCKS)
    for start in range(0, len(latents), part):
        counted = min(counted_frames - 96 * start, 96 * part)
        whole.add(latents[start : start + part], counted)
    return whole.result()


def of_frames(latents: np.ndarray, counted_frames: int) -> np.ndarray:
    """The same by NumPy alone: each position repeated for its frames, all patches in a row."""
    means, spreads, start = [], [], 0
    for positions in BLOCKS:
        maps = latents[:, :, start : start + positions].astype(np.float64)
        track = np.concatenate([patch.repeat(96 // positions, axis=1) for patch in maps], axis=1)
        means.append(track[:, :counted_frames].mean(axis=1))
        spreads.append(track[:, :counted_frames].std(axis=1))
        start += positions
    return np.concatenate(means + spreads)


@FEW
@given(LENGTHS, st.integers(1, 3), st.integers(0, 9))
@example(95, 1, 0)
@example(143, 1, 0)
@example(144, 2, 0)
@example(1, 1, 0)
def test_layers_are_mean_and_deviation_over_the_counted_frames(
    counted: int, part: int, seed: int
) -> None:
    latents = np.random.default_rng(seed).normal(size=(-(-counted // 96), 6, 93))
    latents = latents.astype(np.float32)
    pooled = pool_layers(latents, counted, part)
    assert pooled.shape == (2 * 5 * 6,)
    np.testing.assert_allclose(pooled, of_frames(latents, counted), rtol=1e-5, atol=1e-6)


def test_a_small_deviation_is_exact_beside_a_huge_offset_and_that_of_a_constant_is_zero():
    """A million and one step of float32 there, 1/16: its square is 1e-15 of the offset's."""
    steps = np.random.default_rng(0).integers(0, 2, (9, 6, 93)) / 16
    latents = (1e6 + steps).astype(np.float32)
    spreads = pool_layers(latents, 9 * 96, 2).reshape(2, -1)[1]
    np.testing.assert_allclose(spreads, of_frames(steps, 9 * 96).reshape(2, -1)[1], rtol=1e-6)
    for value in (0.0, 0.1, 1e6):
        constant = np.full((9, 6, 93), value, np.float32)
        means, spreads = pool_layers(constant, 9 * 96 - 50, 2).reshape(2, -1)
        np.testing.assert_array_equal(means, np.float32(value))
        np.testing.assert_array_equal(spreads, 0)


@pytest.mark.parametrize("held", [10, 2], ids=["held", "read twice"])
def test_a_clip_at_its_peak_is_the_same_however_loud_it_was_recorded(held, monkeypatch):
    monkeypatch.setattr(level_module, "_HELD_SAMPLES", held)
    clip, reads = np.array([0.1, -0.4, 0.2], np.float32), []

    def level(samples: np.ndarray, level: str) -> np.ndarray:
        blocks = at_level(lambda: reads.append(0) or iter([samples[:1], samples[1:]]), level)
        return np.concatenate(list(blocks))

    np.testing.assert_array_equal(level(clip, "recorded"), clip)
    assert len(reads) == 1
    wanted = np.array([0.25, -1.0, 0.5], np.float32)
    for gain in (1.0, 0.01, 3.0):
        loud = level(clip * np.float32(gain), "peak")
        assert loud.dtype == np.float32
        np.testing.assert_allclose(loud, wanted, rtol=1e-6)
    assert len(reads) == (4 if held > 3 else 7)
    silence = np.zeros(5, np.float32)
    np.testing.assert_array_equal(level(silence, "peak"), silence)
    with pytest.raises(ValueError, match="loud"):
        level(clip, "loud")
