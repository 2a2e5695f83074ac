import dataclasses

import numpy as np
import pytest
import soundfile

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.data.schema import Example, Manifest
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import cca, correlation
from coala_jax.evaluation.descriptors import DescriptorError
from coala_jax.evaluation.evaluators import load_evaluators
from tests.synthetic import tiny_model
from tests.unit.embedding.test_embedder import RATE_HZ, TAGS

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

VALIDATION, TRAIN = 12, 16


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    time = np.arange(RATE_HZ // 4) / RATE_HZ
    for number in range(VALIDATION + TRAIN):
        wave = np.sin(2 * np.pi * 150 * (number + 2) * time) * (number + 1) / 40
        soundfile.write(folder / f"{number}.wav", wave, RATE_HZ)
    return folder


def write(folder, audio, front_end, splits):
    """A dataset of the sounds, as a preparation with this front end would have it."""
    folder.mkdir(parents=True)
    examples = {}
    for split, numbers in splits.items():
        examples[split] = []
        for number in numbers:
            wave, _ = soundfile.read(audio / f"{number}.wav", dtype="float32")
            patch = front_end.loudest_patch(front_end.log_mel(wave))
            examples[split].append(Example(patch, np.array([number % TAGS]), f"{number}.wav"))
    write_dataset(
        folder,
        name="sines",
        fingerprint=front_end.window,
        front_end=front_end.to_dict(),
        vocabulary=[f"tag{number}" for number in range(TAGS)],
        splits=examples,
        scaling="global",
    )
    return folder


@pytest.fixture(scope="module")
def dataset(audio, tmp_path_factory):
    numbers = {"validation": range(VALIDATION), "train": range(VALIDATION, VALIDATION + TRAIN)}
    return write(tmp_path_factory.mktemp("data") / "paper", audio, FrontEnd(), numbers)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sines"
    trained_on(dataset).save_pretrained(folder / "model")
    return folder


def trained_on(dataset, **changes):
    digest = Manifest.load(dataset).digest
    return dataclasses.replace(tiny_model("ae_c"), dataset_digest=digest, **changes)


def test_the_figures_are_those_of_the_validation_sounds(run, audio, dataset, tmp_path, monkeypatch):
    seen = {}

    def table2(embeddings, training, descriptors, seed):
        seen.update(embeddings=embeddings, training=training, table=descriptors, seed=seed)
        return cca.CcaTable({}, {}, len(embeddings), 18, None)

    monkeypatch.setattr(cca, "table2", table2)
    monkeypatch.setattr(correlation, "_BLOCK", 5)  # neither split is a whole number of blocks
    evaluators = load_evaluators(["mfcc", f"{run}/model"])
    found = correlation.correlate(evaluators, [dataset], audio, tmp_path, seed=7)
    assert list(found) == ["sines"]  # MFCCs would be compared with themselves
    embedder = Embedder(tiny_model("ae_c"))
    ids, manifest = {}, Manifest.load(dataset)
    assert manifest.scaler != tiny_model("ae_c").scaler  # which patches are scaled by all the same
    manifest = dataclasses.replace(manifest, scaler=tiny_model("ae_c").scaler)
    for kind, split in (("embeddings", "validation"), ("training", "train")):
        reader = SplitReader(dataset, split, manifest)
        ids[kind] = [reader[place].id for place in range(len(reader))]
        patches = np.stack([reader[place].patch for place in range(len(reader))])
        wanted = embedder.embed_patches(patches)
        np.testing.assert_allclose(seen[kind], wanted, rtol=1e-5, atol=1e-6)
    centroids = seen["table"]["spectral_centroid"]["mean"][:, 0]
    numbers = [int(name.removesuffix(".wav")) for name in ids["embeddings"]]
    assert np.all(np.diff(centroids[np.argsort(numbers)]) > 0)  # the sounds rise with their number
    assert seen["seed"] == 7


def test_each_model_is_beside_the_dataset_that_trained_it(run, audio, dataset, tmp_path):
    hann = FrontEnd(window="hann")
    splits = {"validation": range(11), "train": range(11, 28)}
    other = write(tmp_path / "hann", audio, hann, splits)
    trained_on(other, front_end=hann.to_dict()).save_pretrained(tmp_path / "hann-run")
    evaluators = load_evaluators([f"{run}/model", f"{tmp_path}/hann-run"])
    found = correlation.correlate(evaluators, [dataset, other], audio, tmp_path / "w", seed=0)
    sounds = {name: table.sounds for name, table in found.items()}
    assert sounds == {"sines": 12, "hann-run": 11}
    table = found["sines"]
    assert (table.dimensions, table.components) == (18, 1)
    assert all(0 <= v <= 1 for row in table.values.values() for v in row.values())
    with pytest.raises(DescriptorError, match="12 of 12"):  # the sounds are elsewhere
        correlation.correlate(evaluators[:1], [dataset], tmp_path, tmp_path / "x", seed=0)
    with pytest.raises(ValueError, match="--model"):  # a table of no model
        correlation.correlate(load_evaluators(["mfcc"]), [dataset], audio, tmp_path, seed=0)


def test_another_split_of_the_same_sounds_is_refused(run, audio, dataset, tmp_path):
    """Its validation sounds are among those that trained the model."""
    # The loudest sounds train in both, so that the scaler does not give it away.
    splits = {"validation": range(VALIDATION, 20), "train": [*range(VALIDATION), *range(20, 28)]}
    other = write(tmp_path / "seed-1", audio, FrontEnd(), splits)
    manifests = [Manifest.load(folder) for folder in (dataset, other)]
    for field in ("front_end", "scaler", "vocabulary"):
        assert len({str(getattr(manifest, field)) for manifest in manifests}) == 1
    for spec in (f"{run}/model", f"untrained:{run}/model"):
        with pytest.raises(ValueError, match="sines") as caught:
            correlation.correlate(load_evaluators([spec]), [other], audio, tmp_path / "w", seed=0)
        for manifest in manifests:
            assert manifest.digest[:12] in str(caught.value)
        assert str(other) in str(caught.value)
