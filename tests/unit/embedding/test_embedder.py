import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.embedding.embedder import Embedder, load, load_untrained
from coala_jax.models.pretrained import ModelError, PretrainedModel
from tests.synthetic import MODEL_TAGS, tiny_model

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

TAGS, RATE_HZ = MODEL_TAGS, 22_000
MINIMUM, MAXIMUM = -15.0, 5.0


@pytest.fixture(scope="module")
def ae_c() -> PretrainedModel:
    model = tiny_model("ae_c")
    # Small running variances, so that sounds make more of a difference than at the start.
    for stats in model.variables["batch_stats"]["audio_encoder"].values():
        stats["var"] = np.full(2, 0.01, np.float32)
    return model


@pytest.fixture(scope="module")
def embedder(ae_c) -> Embedder:
    return Embedder(ae_c)


def apply(model: PretrainedModel, rows, method: str) -> np.ndarray:
    """The module itself, on as many rows as come."""
    return np.asarray(_apply(model.module(), model.variables, jnp.asarray(rows), method))


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply(module, variables, rows, method):
    return module.apply(variables, rows, method=method)


def noise(samples: int, seed: int = 0, channels: int | None = None) -> np.ndarray:
    """Noise that fades in, so that every part of it differs from the others."""
    shape = (samples,) if channels is None else (channels, samples)
    rng = np.random.default_rng(seed)
    return (rng.uniform(-1, 1, shape) * np.linspace(0.001, 0.5, samples)).astype(np.float32)


def assert_close(got, wanted) -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_any_number_of_rows_gives_what_the_module_gives(ae_c, embedder):
    patches = np.random.default_rng(0).random((65, 96, 96), np.float32)
    wanted = apply(ae_c, patches, "encode_audio")
    assert wanted.shape == (65, 18)
    assert wanted.std(axis=0).max() > 0.01 * wanted.max()  # or the comparison would be idle
    for rows in (1, 31, 32, 33, 65):
        assert_close(embedder.embed_patches(patches[-rows:]), wanted[-rows:])


def test_rows_spread_over_all_devices_are_bit_for_bit_those_of_one(embedder):
    """Two calls of eight devices, the last one almost empty, beside calls of one device."""
    assert len(jax.local_devices()) == 8
    patches = np.random.default_rng(1).random((8 * 32 + 1, 96, 96), np.float32)
    one = [embedder.project_audio(patches[start : start + 32]) for start in range(0, 257, 32)]
    np.testing.assert_array_equal(embedder.project_audio(patches), np.concatenate(one))


def test_the_methods_are_those_of_the_module(ae_c, embedder):
    rng = np.random.default_rng(0)
    patches = rng.random((3, 96, 96), np.float32)
    tags = rng.integers(0, 2, (3, TAGS)).astype(np.uint8)
    for method, rows in {
        "project_audio": patches,
        "project_tags": tags,
        "reconstruct": patches,
        "reconstruct_tags": tags,
    }.items():
        assert_close(getattr(embedder, method)(rows), apply(ae_c, rows, method))
    cnn = tiny_model("cnn")
    assert_close(Embedder(cnn).tag_logits(patches), apply(cnn, patches, "predict_tags"))


PATCHES = np.zeros((1, 96, 96), np.float32)
MULTI_HOT = np.zeros((1, TAGS), np.uint8)


@pytest.mark.parametrize(
    ("method", "rows", "cases"),
    [
        ("tag_logits", PATCHES, ["ae_c", "e_c"]),
        ("reconstruct", PATCHES, ["e_c", "cnn"]),
        ("reconstruct_tags", MULTI_HOT, ["e_c", "cnn"]),
        ("project_audio", PATCHES, ["cnn"]),
        ("project_tags", MULTI_HOT, ["cnn"]),
    ],
)
def test_what_a_case_does_not_have_is_refused_and_so_are_no_rows(
    ae_c, embedder, method, rows, cases
):
    for case in cases:
        with pytest.raises(ValueError, match=f"case {case}"):
            getattr(Embedder(dataclasses.replace(ae_c, case=case)), method)(rows)
    if "ae_c" not in cases:
        with pytest.raises(ValueError, match="zero rows"):
            getattr(embedder, method)(rows[:0])


def test_rows_of_another_shape_are_refused(embedder):
    """Below the annotations, which are not checked outside the tests."""
    for method, shape in {
        "encode_audio": [2, 64, 64],
        "project_tags": [TAGS],
        "reconstruct_tags": [2, TAGS + 1],
    }.items():
        with pytest.raises(ValueError, match=re.escape(str(shape))):
            embedder._apply(method, np.zeros(shape, np.float32))


def scaled(log_mel: np.ndarray) -> np.ndarray:
    return np.clip((log_mel - MINIMUM) / (MAXIMUM - MINIMUM), 0, 1)


def test_the_released_policy_is_the_mean_over_the_chunks_of_ten_noisy_seconds(ae_c, embedder):
    waveform = noise(30_000)
    log_mel = FrontEnd(clip_seconds=10.0, noise=5e-4).log_mel(waveform)
    chunks = np.stack([log_mel[:, start : start + 96] for start in range(0, 384, 96)])
    wanted = apply(ae_c, np.resize(scaled(chunks), (65, 96, 96)), "encode_audio")[:4].mean(axis=0)
    assert_close(embedder.embed_waveform(waveform, RATE_HZ, "released"), wanted)


def test_the_masked_policy_weighs_positions_in_time(ae_c, embedder):
    """Against a loop over the latent in the order that its docstring gives it."""
    waveform = noise(samples=149 * 512 + 100)  # 150 frames: a patch, and 54 frames of another
    log_mel = FrontEnd().log_mel(waveform, clip_seconds=0.0)
    patches = np.full((65, 96, 96), FrontEnd().silence, np.float32)
    patches[0], patches[1, :, :54] = log_mel[:, :96], log_mel[:, 96:]
    first, second = apply(ae_c, scaled(patches), "encode_audio")[:2]
    wanted = []
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        weight = (1.0, 22 / 32, 0.0)[place % 3]  # channel, mel, time
        wanted.append((one + weight * other) / (1 + weight))
    assert np.abs(wanted - (first + second) / 2).max() > 0.01 * first.max()
    assert_close(embedder.embed_waveform(waveform, RATE_HZ, "masked"), np.float32(wanted))


def test_silence_is_padding_only_where_the_file_ends(embedder):
    """What a sound holds itself counts, be it silence; `paper` cannot tell it from padding."""
    waveform = noise(39 * 512)  # the 40 frames that hear it are all it has when it is not padded
    with_silence = np.concatenate([waveform, np.zeros(15_000, np.float32)])
    paper, other = (embedder.embed_waveform(w, RATE_HZ) for w in (waveform, with_silence))
    assert_close(paper, other)
    masked, other = (
        embedder.embed_waveform(w, RATE_HZ, "masked") for w in (waveform, with_silence)
    )
    assert np.abs(masked - other).max() > 1e-3 * masked.max()


@pytest.mark.parametrize("policy", ["paper", "masked"])
def test_many_clips_are_what_each_is_by_itself(embedder, policy):
    """1, 2, 5 and 41 patches: clips that share a batch, fill it, and go across two."""
    frames = [20, 150, 480, *([60] * 29), 41 * 96, 100]
    waveforms = [noise((count - 1) * 512 + 100, seed) for seed, count in enumerate(frames)]
    got = embedder.embed_clips(iter(waveforms), policy)
    assert got.shape == (len(frames), 18)
    for row, waveform in zip(got, waveforms, strict=True):
        np.testing.assert_array_equal(row, embedder.embed_waveform(waveform, RATE_HZ, policy))
    assert len({row.tobytes() for row in got}) == len(frames)


def test_clips_are_taken_as_they_are_needed(embedder, monkeypatch):
    """Of 80 short clips never more than a batch waits: 32 are taken before the first product."""
    taken, rows = [], []

    def embed_patches(patches):
        rows.append((len(taken), len(patches)))
        return np.zeros((len(patches), 18), np.float32)

    monkeypatch.setattr(embedder, "embed_patches", embed_patches)
    clips = (taken.append(seed) or noise(2_000, seed) for seed in range(80))
    assert len(embedder.embed_clips(clips)) == 80
    assert rows == [(32, 32), (64, 32), (80, 16)]


@pytest.mark.parametrize(
    ("waveform", "token"),
    [
        pytest.param(np.zeros(500, np.int16), "int16", id="int16"),
        pytest.param(np.zeros(0), "[0]", id="empty"),
        pytest.param(np.zeros((0, 9)), "[0, 9]", id="no-channels"),
        pytest.param(np.zeros((500, 2)), "[500, 2]", id="channels-last"),
        pytest.param(np.zeros((1, 2, 500)), "[1, 2, 500]", id="3-axes"),
        pytest.param(np.array([0.1, np.nan]), "NaN", id="nan"),
        pytest.param(np.array([0.1, 1e300]), "infinite", id="huge"),
    ],
)
def test_what_is_no_waveform_is_refused(embedder, waveform, token):
    with pytest.raises(ValueError, match=re.escape(token)):
        embedder.embed_waveform(waveform, RATE_HZ)


def test_bad_clips_and_policies_are_refused(embedder, tmp_path):
    """A policy before a file is read."""
    for token, call in [
        ("22000 Hz", lambda: embedder.embed_waveform(np.full(1, 0.5), 192_000)),
        ("no sound", lambda: embedder.embed_clips([noise(2_000), np.zeros(0, np.float32)])),
        ("NaN", lambda: embedder.embed_clips([noise(2_000), np.float32([np.nan])])),
        ("mean", lambda: embedder.embed_file(tmp_path / "none.wav", "mean")),
        ("mean", lambda: embedder.embed_waveform(noise(2_000), RATE_HZ, "mean")),
        ("mean", lambda: embedder.embed_clips([], "mean")),
    ]:
        with pytest.raises(ValueError, match=token):
            call()
    assert embedder.embed_clips([]).shape == (0, 18)


def test_a_file_is_its_waveform_with_channels_averaged_and_resampled(embedder, tmp_path):
    path = tmp_path / "stéréo.wav"
    soundfile.write(path, noise(60_000, channels=2).T, 44_100, subtype="PCM_16")
    samples, rate_hz = soundfile.read(path)  # in double precision, which is taken, too
    got = embedder.embed_waveform(samples.T, rate_hz)
    for name in (path, str(path)):
        assert_close(embedder.embed_file(name), got)
    mono = samples.mean(axis=1).astype(np.float32)
    resampled = soxr.resample(mono, rate_hz, RATE_HZ)
    for policy in ("paper", "masked"):
        wanted = embedder.embed_waveform(resampled, RATE_HZ, policy)
        assert_close(embedder.embed_file(path, policy), wanted)
    unaware = embedder.embed_waveform(mono, RATE_HZ)
    assert np.abs(unaware - got).max() > 1e-3 * got.max()


def test_a_saved_model_embeds_as_before_and_untrained_with_fresh_weights(ae_c, embedder, tmp_path):
    ae_c.save_pretrained(tmp_path / "model")
    waveform = noise(30_000)
    loaded = load(str(tmp_path / "model"))
    assert (loaded.case, loaded.vocabulary.tags) == ("ae_c", tuple(ae_c.vocabulary))
    assert loaded.dataset_digest == ae_c.dataset_digest and loaded.sample_rate_hz == RATE_HZ
    untrained = load_untrained(tmp_path / "model", seed=5)
    for got, wanted in ((loaded, embedder), (untrained, Embedder(ae_c.untrained(5)))):
        assert got.digest == wanted.digest
        vectors = [one.embed_waveform(waveform, RATE_HZ) for one in (got, wanted)]
        np.testing.assert_array_equal(*vectors)
    digests = {ae_c.digest, untrained.digest, load_untrained(tmp_path / "model", 6).digest}
    assert len(digests) == 3 and loaded.digest == ae_c.digest


def test_half_precision_is_computed_with_as_float32(ae_c):
    half = jax.tree.map(lambda leaf: leaf.astype(np.float16), ae_c.variables)
    as_float32 = jax.tree.map(lambda leaf: leaf.astype(np.float32), half)
    patches = np.random.default_rng(0).random((3, 96, 96), np.float32)
    got, wanted = (
        Embedder(dataclasses.replace(ae_c, variables=variables)).embed_patches(patches)
        for variables in (half, as_float32)
    )
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted)


def test_a_model_of_patches_that_came_scaled_takes_patches_alone(ae_c, embedder):
    unscaled = Embedder(dataclasses.replace(ae_c, scaler=Scaler.none().to_dict()))
    with pytest.raises(ValueError, match="embed_patches"):
        unscaled.embed_waveform(noise(30_000), RATE_HZ)
    patches = np.random.default_rng(0).random((3, 96, 96), np.float32)
    np.testing.assert_array_equal(unscaled.embed_patches(patches), embedder.embed_patches(patches))


def test_a_model_of_peak_level_makes_every_clip_as_loud(ae_c, embedder):
    peak = Embedder(dataclasses.replace(ae_c, level="peak"))
    waveform = noise(30_000)
    wanted = embedder.embed_waveform(waveform / np.abs(waveform).max(), RATE_HZ)
    for gain in (1.0, 0.125):
        assert_close(peak.embed_waveform(waveform * np.float32(gain), RATE_HZ), wanted)
    quiet = embedder.embed_waveform(waveform * np.float32(0.125), RATE_HZ)
    assert np.abs(quiet - wanted).max() > 1e-3 * wanted.max()


@pytest.mark.parametrize("load", [load, functools.partial(load_untrained, seed=0)])
@pytest.mark.parametrize(
    ("changes", "token"),
    [
        pytest.param({"front_end": {"rate": 1}}, "rate", id="front-end"),
        pytest.param({"scaler": {"low": 0.0}}, "minimum", id="scaler"),
        pytest.param({"scaler": {"minimum": 1.0, "maximum": 1.0}}, "1.0 to 1.0", id="span"),
        pytest.param({"vocabulary": ["dog"] * TAGS}, "dog", id="vocabulary"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_by_name(ae_c, tmp_path, changes, token, load):
    dataclasses.replace(ae_c, **changes).save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match=token) as error:
        load(tmp_path / "model")
    assert str(tmp_path / "model" / "model.json") in str(error.value)
