import dataclasses
import functools
import json
import re
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr

from coala_jax import default_config
from coala_jax.audio import decode
from coala_jax.audio import level as level_module
from coala_jax.audio.frontend import FrontEnd
from coala_jax.cli import embed as embed_command
from coala_jax.data.scaler import Scaler
from coala_jax.embedding import encoder, pooling
from coala_jax.embedding.embedder import Embedder, load, load_untrained
from coala_jax.models.bank import make_bank
from coala_jax.models.default import default_model_folder
from coala_jax.models.pretrained import KNOWN, ModelError, PretrainedModel
from tests import regression_vectors
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


def embed(embedder: Embedder, sound, sample_rate_hz=None, policy="paper") -> np.ndarray:
    (vector,) = embedder.embed([sound], sample_rate_hz, policy=policy)
    return vector


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


def test_a_slim_model_embeds_as_the_whole_one_and_reconstructs_nothing(ae_c, embedder):
    slim = Embedder(ae_c.slim())
    waveform = np.random.default_rng(5).normal(size=30_000).astype(np.float32) / 9
    for method in ("embed", "project"):
        whole, half = (getattr(one, method)(waveform, 22_000) for one in (embedder, slim))
        assert 0 < np.abs(half - whole).max() < 0.01 * np.abs(whole).max()
    with pytest.raises(ValueError, match="without its decoders"):
        slim.reconstruct(PATCHES)
    with pytest.raises(ValueError, match="without its decoders"):
        slim.reconstruct_tags(MULTI_HOT)


def test_rows_of_another_shape_are_refused(embedder):
    """Below the annotations, which are not checked outside the tests."""
    for method, shape in {
        "encode_audio": [2, 64, 64],
        "project_tags": [TAGS],
        "reconstruct_tags": [2, TAGS + 1],
    }.items():
        with pytest.raises(ValueError, match=re.escape(str(shape))):
            embedder._encoder.apply(method, np.zeros(shape, np.float32))


def scaled(log_mel: np.ndarray) -> np.ndarray:
    return np.clip((log_mel - MINIMUM) / (MAXIMUM - MINIMUM), 0, 1)


def test_the_released_policy_is_the_mean_over_the_chunks_of_ten_noisy_seconds(ae_c, embedder):
    waveform = noise(30_000)
    log_mel = FrontEnd(clip_seconds=10.0, noise=5e-4).log_mel(waveform)
    chunks = np.stack([log_mel[:, start : start + 96] for start in range(0, 384, 96)])
    wanted = apply(ae_c, np.resize(scaled(chunks), (65, 96, 96)), "encode_audio")[:4].mean(axis=0)
    assert_close(embed(embedder, waveform, RATE_HZ, "released"), wanted)


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
    assert_close(embed(embedder, waveform, RATE_HZ, "masked"), np.float32(wanted))


@pytest.fixture(scope="module")
def layers(ae_c) -> Embedder:
    return Embedder(dataclasses.replace(ae_c, pooling="layers"))


def of_layers(model: PretrainedModel, patches: np.ndarray, counted_frames: int) -> np.ndarray:
    """All maps of each block side by side in time: mean and deviation of the frames that count."""
    maps = apply(model, np.resize(patches, (9, 96, 96)), "encode_layers")[: len(patches)]
    maps = maps.reshape(len(patches), 2, 3, 93).astype(np.float64)  # filter, mel, positions
    means, spreads, start = [], [], 0
    for size in (48, 24, 12, 6, 3):
        for channel in range(2):
            for mel in range(3):
                track = maps[:, channel, mel, start : start + size].reshape(-1)
                track = track.repeat(96 // size)[:counted_frames]
                means.append(track.mean())
                spreads.append(track.std())
        start += size
    return np.float32(means + spreads)


@pytest.mark.parametrize("frames", [1, 95, 96, 143, 144, 200, 500])
def test_layers_are_statistics_over_the_whole_time_of_a_clip(ae_c, layers, frames):
    waveform = noise((frames - 1) * 512 + 100)
    log_mel = FrontEnd().log_mel(waveform, clip_seconds=0.0)
    count = max(1, (frames + 48) // 96)
    padded = np.full((96, 96 * count), FrontEnd().silence, np.float32)
    padded[:, :frames] = log_mel[:, : 96 * count]
    patches = scaled(padded.reshape(96, count, 96).swapaxes(0, 1))
    for policy, counted in (("paper", 96 * count), ("masked", min(frames, 96 * count))):
        wanted = of_layers(ae_c, patches, counted)
        assert_close(embed(layers, waveform, RATE_HZ, policy), wanted)
    assert wanted.shape == (60,) == (layers.embedding_size,)


def test_layers_of_the_released_policy_are_of_ten_noisy_seconds(ae_c, layers):
    waveform = noise(30_000)
    log_mel = FrontEnd(clip_seconds=10.0, noise=5e-4).log_mel(waveform)
    patches = scaled(log_mel[:, :384].reshape(96, 4, 96).swapaxes(0, 1))
    assert_close(embed(layers, waveform, RATE_HZ, "released"), of_layers(ae_c, patches, 384))


def test_the_pooling_changes_the_embedding_and_nothing_else(ae_c, embedder, layers, tmp_path):
    """All but the sound's vector stays of the latent, whose means are the last block's."""
    sounds = [noise(60_000), noise(9_000), np.zeros(RATE_HZ, np.float32)]
    vectors, means = layers.embed(sounds, RATE_HZ), embedder.embed(sounds, RATE_HZ)
    assert (layers.pooling, embedder.pooling) == ("layers", "mean")
    assert (layers.latent_size, embedder.embedding_size, vectors.shape) == (18, 18, (3, 60))
    assert np.isfinite(vectors).all() and "60 values (layers)" in repr(layers)
    assert_close(vectors[:, 24:30], means.reshape(3, 6, 3).mean(axis=2))
    np.testing.assert_array_equal(layers.embed_clips(sounds), vectors)
    projected = [one.project(sounds, RATE_HZ) for one in (layers, embedder)]
    np.testing.assert_array_equal(*projected)
    patches = np.random.default_rng(0).random((2, 96, 96), np.float32)
    np.testing.assert_array_equal(layers.embed_patches(patches), embedder.embed_patches(patches))
    rows = layers.embed([sounds[0], tmp_path / "gone.wav"], RATE_HZ, on_error="skip")
    assert np.isnan(rows[1]).all() and rows.shape == (2, 60)
    assert layers.embed([]).shape == (0, 60)


@pytest.mark.parametrize("case", ["ae_c", "cnn"])
@pytest.mark.parametrize("pooling", ["mean", "layers"])
def test_a_description_is_projection_or_logits_and_embedding(case, pooling, tmp_path):
    model = Embedder(dataclasses.replace(tiny_model(case), pooling=pooling))
    sounds = [noise(130_000), tmp_path / "gone.wav", noise(9_000)]
    first, gone, last = model.describe_each(sounds, RATE_HZ, policy="masked")
    matched = model._rows(
        model._pooled(model._match_method, sounds[::2], RATE_HZ, "masked", None), 0, "raise"
    )
    assert matched.shape == (2, model.matched_size) == (2, TAGS if case == "cnn" else 18)
    assert_close(np.stack([first.matched, last.matched]), matched)
    embedded = model.embed(sounds[::2], RATE_HZ, policy="masked")
    assert_close(np.stack([first.embedding, last.embedding]), embedded)
    assert (first.patches, last.patches, first.error) == (3, 1, None)
    assert first.seconds == pytest.approx(130_000 / RATE_HZ)
    assert gone.matched is gone.embedding is None and "gone.wav" in str(gone.error)


def test_a_vector_of_layers_at_a_time_is_that_of_its_window(layers):
    waveform = noise(3 * RATE_HZ)
    vectors, seconds = layers.embed_timestamps(waveform, 0.7, RATE_HZ)
    log_mel = layers.front_end.log_mel(waveform, clip_seconds=0.0)
    padded = np.pad(log_mel, ((0, 0), (48, 48)), constant_values=layers.front_end.silence)
    assert vectors.shape == (5, 60)
    for vector, second in zip(vectors, seconds, strict=True):
        middle = round(second * RATE_HZ / 512)
        window = layers.scaler.scale(padded[None, :, middle : middle + 96])
        maps = layers._encoder.apply("encode_layers", window)
        pool = pooling.LayersPool(96, (48, 24, 12, 6, 3))
        pool.add(maps.reshape(1, 6, 93), 96)
        assert_close(vector, pool.result())


def test_a_model_is_loaded_with_its_own_pooling_or_another(ae_c, embedder, layers, tmp_path):
    ae_c.save_pretrained(tmp_path / "mean")
    dataclasses.replace(ae_c, pooling="layers").save_pretrained(tmp_path / "layers")
    for found, wanted in (
        (load(tmp_path / "mean"), embedder),
        (load(tmp_path / "layers"), layers),
        (load(tmp_path / "mean", "layers"), layers),
        (load(tmp_path / "layers", pooling="mean"), embedder),
    ):
        assert (found.pooling, found.digest) == (wanted.pooling, wanted.digest)
    assert embedder.digest != layers.digest
    assert load_untrained(tmp_path / "layers", 3).pooling == "layers"
    untrained = [load_untrained(tmp_path / "mean", 3, one).digest for one in (None, "layers")]
    assert untrained[0] != untrained[1]
    with pytest.raises(ValueError, match="mean or layers, got max"):
        load(tmp_path / "gone", "max")
    with pytest.raises(ValueError, match="mean or layers, got max"):
        Embedder(dataclasses.replace(ae_c, pooling="max"))
    assert pooling.POOLINGS == KNOWN["pooling"] == default_config.POOLINGS == embed_command.POOLINGS


def test_silence_is_padding_only_where_the_file_ends(embedder):
    """What a sound holds itself counts, be it silence; `paper` cannot tell it from padding."""
    waveform = noise(39 * 512)  # the 40 frames that hear it are all it has when it is not padded
    with_silence = np.concatenate([waveform, np.zeros(15_000, np.float32)])
    paper, other = (embed(embedder, w, RATE_HZ) for w in (waveform, with_silence))
    assert_close(paper, other)
    masked, other = (embed(embedder, w, RATE_HZ, "masked") for w in (waveform, with_silence))
    assert np.abs(masked - other).max() > 1e-3 * masked.max()


@pytest.mark.parametrize("policy", ["paper", "masked"])
def test_many_clips_are_what_each_is_by_itself(embedder, policy):
    """1, 2, 5 and 41 patches: clips that share a batch, fill it, and go across two."""
    frames = [20, 150, 480, *([60] * 29), 41 * 96, 100]
    waveforms = [noise((count - 1) * 512 + 100, seed) for seed, count in enumerate(frames)]
    got = embedder.embed_clips(iter(waveforms), policy)
    assert got.shape == (len(frames), 18)
    for row, waveform in zip(got, waveforms, strict=True):
        np.testing.assert_array_equal(row, embed(embedder, waveform, RATE_HZ, policy))
    assert len({row.tobytes() for row in got}) == len(frames)


def test_clips_are_taken_as_they_are_needed(embedder, monkeypatch):
    """Of 120 short clips no more wait than a batch, and those that two threads work on or did."""
    taken, rows = [], []

    def apply(method, patches):
        rows.append((len(taken), len(patches)))
        return np.zeros((len(patches), 18), np.float32)

    monkeypatch.setattr(embedder._encoder, "apply", apply)
    clips = (taken.append(seed) or noise(2_000, seed) for seed in range(120))
    vectors = list(embedder.embed_each(clips, RATE_HZ, workers=2))
    assert len(vectors) == 120 and [count for _, count in rows] == [8] * 15
    for batch, (count, _) in enumerate(rows[:-1], 1):
        assert 8 * batch <= count <= 8 * batch + 5


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
        embed(embedder, waveform, RATE_HZ)


def test_bad_clips_and_policies_are_refused(embedder, tmp_path):
    """A policy before a file is read."""
    for token, call in [
        ("22000 Hz", lambda: embed(embedder, np.full(1, 0.5), 192_000)),
        ("no sound", lambda: embedder.embed_clips([noise(2_000), np.zeros(0, np.float32)])),
        ("NaN", lambda: embedder.embed_clips([noise(2_000), np.float32([np.nan])])),
        ("mean", lambda: embed(embedder, tmp_path / "none.wav", None, "mean")),
        ("mean", lambda: embed(embedder, noise(2_000), RATE_HZ, "mean")),
        ("mean", lambda: embedder.embed_clips([], "mean")),
    ]:
        with pytest.raises(ValueError, match=token):
            call()
    assert embedder.embed_clips([]).shape == (0, 18)


def test_a_file_is_its_waveform_with_channels_averaged_and_resampled(embedder, tmp_path):
    path = tmp_path / "stéréo.wav"
    soundfile.write(path, noise(60_000, channels=2).T, 44_100, subtype="PCM_16")
    samples, rate_hz = soundfile.read(path)  # in double precision, which is taken, too
    got = embed(embedder, samples.T, rate_hz)
    for name in (path, str(path)):
        assert_close(embed(embedder, name), got)
    mono = samples.mean(axis=1).astype(np.float32)
    resampled = soxr.resample(mono, rate_hz, RATE_HZ)
    for policy in ("paper", "masked"):
        wanted = embed(embedder, resampled, RATE_HZ, policy)
        assert_close(embed(embedder, path, None, policy), wanted)
    unaware = embed(embedder, mono, RATE_HZ)
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
        vectors = [embed(one, waveform, RATE_HZ) for one in (got, wanted)]
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
        embed(unscaled, noise(30_000), RATE_HZ)
    patches = np.random.default_rng(0).random((3, 96, 96), np.float32)
    np.testing.assert_array_equal(unscaled.embed_patches(patches), embedder.embed_patches(patches))


def test_a_model_of_peak_level_makes_every_clip_as_loud(ae_c, embedder):
    peak = Embedder(dataclasses.replace(ae_c, level="peak"))
    waveform = noise(30_000)
    wanted = embed(embedder, waveform / np.abs(waveform).max(), RATE_HZ)
    for gain in (1.0, 0.125):
        assert_close(embed(peak, waveform * np.float32(gain), RATE_HZ), wanted)
    quiet = embed(embedder, waveform * np.float32(0.125), RATE_HZ)
    assert np.abs(quiet - wanted).max() > 1e-3 * wanted.max()


def test_without_a_folder_it_is_the_built_in_model():
    model, named = load(), load(default_model_folder())
    assert model.digest == named.digest and model.pooling == named.pooling
    np.testing.assert_array_equal(*(one.embed(noise(9_000), RATE_HZ) for one in (model, named)))
    best = model.tags(noise(9_000), top=3, sample_rate_hz=RATE_HZ)
    assert len(best) == 3 and all(0 <= score <= 1 for _, score in best)
    mean, untrained = load(pooling="mean"), load_untrained(seed=3)
    assert mean.pooling == "mean" and mean.embedding_size == model.latent_size
    assert untrained.digest == load_untrained(default_model_folder(), 3).digest
    digests = {one.digest for one in (model, untrained, load_untrained())}
    assert len(digests) == 3 and untrained.pooling == model.pooling


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


def test_vectors_are_those_of_earlier_versions():
    stored = json.loads(regression_vectors.FILE.read_text())
    found = regression_vectors.vectors()
    assert found.keys() == stored.keys()
    assert len({tuple(vector) for vector in stored.values()}) >= len(stored) - 1  # of silence, two
    scale = np.abs(np.concatenate(list(stored.values()))).max()
    for name, vector in found.items():
        np.testing.assert_allclose(
            vector,
            stored[name],
            rtol=0,
            atol=1e-4 * scale,
            err_msg=f"{name}: see tests/regression_vectors.py",
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """Sounds of 1, 2, 5 and 29 patches, of other rates and channels than the model's."""
    folder, names = tmp_path_factory.mktemp("sounds"), []
    for place, (rate_hz, channels, seconds) in enumerate(
        [(44_100, 2, 1.0), (8_000, 1, 4.0), (22_000, 1, 11.0), (16_000, 1, 65.0), (48_000, 1, 0.05)]
    ):
        names.append(str(folder / f"{place}.wav"))
        samples = noise(round(rate_hz * seconds), place, channels)
        soundfile.write(names[-1], samples.T, rate_hz, subtype="FLOAT")
    return names


@pytest.mark.parametrize("level", ["recorded", "peak"])
def test_nothing_depends_on_blocks_threads_batches_or_order(ae_c, files, level, monkeypatch):
    """Against each file read as a whole and embedded alone; for its peak one is read twice."""
    model = Embedder(dataclasses.replace(ae_c, level=level))
    wanted = []
    for file in files:
        waveform = decode.load(Path(file), RATE_HZ)
        waveform = waveform / np.abs(waveform).max() if level == "peak" else waveform
        log_mel = model.front_end.log_mel(waveform, clip_seconds=0.0)
        patches = model.scaler.scale(model.front_end.consecutive_patches(log_mel))
        wanted.append(model.embed_patches(patches).mean(axis=0))
    wanted = np.stack(wanted)
    assert_close(model.embed(files), wanted)
    monkeypatch.setattr(decode, "_BLOCK_SAMPLES", 5_000)
    monkeypatch.setattr(level_module, "_HELD_SAMPLES", 20_000)
    monkeypatch.setattr(encoder, "_ROWS", 7)
    for threads in (1, 3):
        assert_close(model.embed(files, workers=threads), wanted)
        assert_close(model.embed(files[::-1], workers=threads), wanted[::-1])
    lengths = [found.seconds for found in model.embed_each(files)]
    np.testing.assert_allclose(lengths, [1.0, 4.0, 11.0, 65.0, 0.05], atol=1e-3)


def test_memory_is_that_of_a_few_blocks_however_long_the_sound(ae_c, tmp_path, monkeypatch):
    """Ten minutes are 53 MB of samples and 110 MB of patches, and are read twice for their peak."""
    path = tmp_path / "long.wav"
    samples = np.tile(np.arange(-100, 100, dtype=np.int16), 8_000 * 600 // 200)
    soundfile.write(path, samples, 8_000)
    model, rows = Embedder(dataclasses.replace(ae_c, level="peak")), []

    def apply(method, patches):
        rows.append(len(patches))
        return np.zeros((len(patches), 18), np.float32)

    monkeypatch.setattr(model._encoder, "apply", apply)
    tracemalloc.start()
    model.embed(path, workers=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(rows) == 269  # patches of 2.2 s
    assert peak < 30e6


def test_a_vector_at_a_time_is_that_of_the_patch_around_it(ae_c, embedder):
    """Every 0.7 s of 5 s: the frames 48 before to 47 after, silence beyond both ends."""
    waveform = noise(5 * RATE_HZ)
    vectors, seconds = embedder.embed_timestamps(waveform, 0.7, RATE_HZ)
    log_mel = FrontEnd().log_mel(waveform, clip_seconds=0.0)
    padded = np.pad(log_mel, ((0, 0), (48, 48)), constant_values=FrontEnd().silence)
    middles = [round(place * 0.7 * RATE_HZ / 512) for place in range(8)]
    np.testing.assert_allclose(seconds, np.array(middles) * 512 / RATE_HZ)
    assert np.abs(seconds - 0.7 * np.arange(8)).max() < 0.0117  # half a frame
    patches = scaled(np.stack([padded[:, middle : middle + 96] for middle in middles]))
    assert_close(vectors, embedder.embed_patches(patches))
    with pytest.raises(ValueError, match="at least a frame"):
        embedder.embed_timestamps(waveform, 0.02, RATE_HZ)


def test_a_sound_that_cannot_be_read_is_an_error_or_a_row_of_nan(embedder, files, tmp_path, caplog):
    (tmp_path / "no.wav").write_bytes(b"<html>")
    sounds = [files[0], str(tmp_path / "no.wav"), noise(9_000), tmp_path / "gone.wav"]
    with pytest.raises(decode.DecodeError, match=r"no\.wav"):
        embedder.embed(sounds, RATE_HZ)
    rows = embedder.embed(sounds, RATE_HZ, on_error="skip")
    assert np.isnan(rows[[1, 3]]).all()
    assert "no.wav" in caplog.text and "gone.wav" in caplog.text
    np.testing.assert_array_equal(rows[[0, 2]], embedder.embed([files[0], sounds[2]], RATE_HZ))
    parts = embedder.timestamps_each(sounds, 1.0, RATE_HZ)
    counts = []
    for part in parts:
        try:
            counts.append(sum(len(vectors) for vectors, _ in part))
        except ValueError as error:
            counts.append(str(error))
    assert counts[0] == 1 and counts[2] == 1 and "no.wav" in counts[1] and "gone.wav" in counts[3]


def test_what_may_mean_two_things_is_refused(embedder):
    clips = np.zeros((3, 9_000), np.float32)
    for token, call in {
        "list": lambda: embedder.embed(clips, RATE_HZ),
        "sample_rate_hz": lambda: embedder.embed([clips[0]]),
        "raise or skip": lambda: embedder.embed([clips[0]], RATE_HZ, on_error="ignore"),
        "not a list": lambda: embedder.embed_tags("tag1"),
        "nearest are tag1": lambda: embedder.embed_tags(["tag0", "tagg1"]),
        "no bank": lambda: embedder.tags(clips[0], sample_rate_hz=RATE_HZ),
        "embed_patches": unscaled,
    }.items():
        with pytest.raises(ValueError, match=token):
            call()


def unscaled():
    model = tiny_model("ae_c", scaler=Scaler.none().to_dict())
    Embedder(model).embed_timestamps(noise(9_000), 1.0, RATE_HZ)


def test_tags_are_the_vote_of_the_sounds_near_or_what_the_classifier_says(ae_c):
    clips = [noise(60_000), noise(90_000, 1)]
    plain = Embedder(ae_c)
    projected = plain.project(clips, RATE_HZ)
    patches = [
        plain.scaler.scale(pooling.cut(plain.front_end, clip, "paper").patches) for clip in clips
    ]
    assert_close(projected, np.stack([plain.project_audio(some).mean(axis=0) for some in patches]))
    tags = np.eye(TAGS, dtype=np.uint8)
    bank = make_bank(np.repeat(projected, 3, axis=0), tags, 0.1, 100)
    model = Embedder(dataclasses.replace(ae_c, bank=bank))
    scores = model.tag_scores(clips, RATE_HZ)
    np.testing.assert_allclose(scores, bank.vote(projected), atol=1e-6)
    # Each clip is nearest to itself, and three tags share its vote.
    assert {tag for tag, _ in model.tags(clips[1], 3, RATE_HZ)} == {"tag3", "tag4", "tag5"}
    assert "bank of 6" in repr(model) and "18 values" in repr(model)
    cnn = Embedder(tiny_model("cnn"))
    (found,) = cnn.tag_scores(clips[1:], RATE_HZ)
    logits = cnn.tag_logits(patches[1]).mean(axis=0)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    best, score = cnn.tags(clips[1], 1, RATE_HZ)[0]
    assert (best, score) == (f"tag{logits.argmax()}", pytest.approx(found.max()))
    single = plain.embed_tags(["tag4", "Tag1"])
    np.testing.assert_array_equal(single, plain.project_tags(tags[[4, 1]]))
