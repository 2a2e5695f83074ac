import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from coala_jax import storage
from coala_jax.models.bank import Bank, make_bank
from coala_jax.models.pretrained import BANK, DESCRIPTION, WEIGHTS, ModelError, PretrainedModel
from tests.synthetic import tiny_model

TAGS = 6  # of tiny_model, whose latent vectors have 18 values


def random_bank(sounds: int = 40, temperature: float = 0.1, most_entries: int = 100) -> Bank:
    rng = np.random.default_rng(0)
    projected = rng.normal(size=(sounds, 18)).astype(np.float32)
    tags = (rng.random((sounds, TAGS)) < 0.3).astype(np.uint8)
    return make_bank(projected, tags, temperature, most_entries)


def test_a_vote_is_the_softmax_of_the_cosines():
    """Against a loop over sounds and entries; the bank holds halves, 1e-3 apart in cosine."""
    rng = np.random.default_rng(1)
    projected = rng.normal(size=(30, 18)).astype(np.float32)
    tags = (rng.random((30, TAGS)) < 0.3).astype(np.uint8)
    bank = make_bank(projected, tags, 0.25, 100)
    assert len(bank) == 30 and bank.vectors.dtype == np.float16
    asked = rng.normal(size=(7, 18)).astype(np.float32)
    for row, scores in zip(asked, bank.vote(asked), strict=True):
        weights = []
        for vector in projected:
            cosine = row @ vector / np.linalg.norm(row) / np.linalg.norm(vector)
            weights.append(np.exp(cosine / 0.25))
        wanted = [
            sum(weight for weight, own in zip(weights, tags, strict=True) if own[tag])
            for tag in range(TAGS)
        ]
        np.testing.assert_allclose(scores, np.array(wanted) / sum(weights), atol=2e-3)
    # The length of a vector does not matter, nor which sounds vote beside it.
    np.testing.assert_allclose(bank.vote(asked * 50), bank.vote(asked), rtol=1e-5)
    np.testing.assert_array_equal(bank.vote(asked[3:4]), bank.vote(asked)[3:4])


def test_a_collapsed_encoder_gives_every_sound_the_same_votes():
    bank = random_bank()
    votes = bank.vote(np.tile(np.float32(np.arange(18)), (600, 1)))
    assert (votes == votes[0]).all()


def test_clusters_vote_with_the_shares_of_their_sounds():
    """Two points, three sounds and one: what the four sounds give, the two clusters give."""
    one, other = np.eye(18, dtype=np.float32)[:2]
    projected = np.stack([one, other, one * 2, one])
    tags = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.uint8)
    clusters, whole = (make_bank(projected, tags, 0.5, entries) for entries in (2, 4))
    assert (len(clusters), len(whole)) == (2, 4)
    assert sorted(clusters.sounds.tolist()) == [1, 3]
    entry = int(np.argmax(clusters.sounds))
    np.testing.assert_allclose(clusters.shares.toarray()[entry], [2 / 3, 1 / 3], rtol=1e-6)
    asked = np.random.default_rng(0).normal(size=(5, 18)).astype(np.float32)
    np.testing.assert_allclose(clusters.vote(asked), whole.vote(asked), rtol=1e-4)


@pytest.mark.parametrize("most_entries", [100, 7])
def test_a_model_keeps_its_bank(tmp_path, most_entries):
    bank = dataclasses.replace(random_bank(most_entries=most_entries), best_for_search="cosine")
    model = tiny_model("e_c", bank=bank)
    model.save_pretrained(tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == sorted([BANK, DESCRIPTION, WEIGHTS])
    loaded = PretrainedModel.load(tmp_path / "model")
    assert loaded.digest == model.digest != tiny_model("e_c").digest
    assert (loaded.bank.temperature, loaded.bank.best_for_search) == (0.1, "cosine")
    np.testing.assert_array_equal(loaded.bank.vectors, bank.vectors)
    asked = np.random.default_rng(2).normal(size=(3, 18)).astype(np.float32)
    # The shares of clusters are halves in the file.
    np.testing.assert_allclose(loaded.bank.vote(asked), bank.vote(asked), atol=1e-3)
    assert model.untrained(0).bank is None


def damage_bytes(folder):
    content = bytearray((folder / BANK).read_bytes())
    content[500] ^= 1
    (folder / BANK).write_bytes(content)


def remove(folder):
    (folder / BANK).unlink()


def replace(**changes):
    """A bank whose arrays do not fit, with the digests that are right for it."""

    def damage(folder):
        arrays = safetensors.numpy.load((folder / BANK).read_bytes())
        arrays |= {name: change(arrays[name]) for name, change in changes.items()}
        (folder / BANK).write_bytes(safetensors.numpy.save(arrays))
        description = json.loads((folder / DESCRIPTION).read_text())
        form = description.pop("format")
        del description["digest"]
        description["bank"]["sha256"] = storage.file_sha256(folder / BANK)
        (folder / DESCRIPTION).write_text(storage.seal(form, description)[0])

    return damage


@pytest.mark.parametrize(
    ("damage", "token"),
    [
        (damage_bytes, BANK),
        (remove, "missing"),
        (replace(tags=lambda tags: tags + TAGS), "model"),
        (replace(tag_ends=lambda ends: ends[::-1].copy()), "model"),
        (replace(vectors=lambda vectors: vectors[:-1].copy()), "model"),
        (replace(vectors=lambda vectors: vectors * np.float16(np.nan)), "finite"),
        (replace(sounds=lambda sounds: sounds * 0), "sound"),
        (replace(vectors=lambda vectors: vectors[:, :-1].copy()), "17"),
    ],
)
def test_a_bank_that_is_damaged_or_does_not_fit_is_refused_by_name(tmp_path, damage, token):
    tiny_model("e_c", bank=random_bank()).save_pretrained(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=token) as error:
        PretrainedModel.load(tmp_path / "model")
    assert str(tmp_path / "model") in str(error.value)
