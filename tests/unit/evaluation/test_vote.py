import dataclasses

import numpy as np
import pytest

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.dataset import SplitReader, write_dataset
from coala_jax.embedding.embedder import Embedder
from coala_jax.evaluation import retrieval, vote
from coala_jax.evaluation.validation import ValidationSounds
from tests.synthetic import random_examples, tiny_config, tiny_model

pytestmark = pytest.mark.integration  # compiles whole networks


def smooth(seed: int) -> np.ndarray:
    """A patch with structure, whose copies are like it and whose neighbours are not."""
    coarse = np.random.default_rng(seed).random((12, 12), np.float32)
    return coarse.repeat(8, axis=0).repeat(8, axis=1) * np.float32(0.5) + np.float32(0.2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """20 training sounds, of which 3 are copies: exact, louder, and with some noise on it."""
    folder = tmp_path_factory.mktemp("vote") / "dataset"
    folder.mkdir()
    examples = [
        dataclasses.replace(example, patch=smooth(place))
        for place, example in enumerate(random_examples(28, 6))
    ]
    heard = examples[20:]
    noise = np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32)
    copies = [heard[0].patch, heard[3].patch + np.float32(0.1), heard[6].patch + noise / 100]
    train = [
        dataclasses.replace(
            example,
            patch=copies[place] if place < 3 else example.patch,
            source="xy"[place % 2],
        )
        for place, example in enumerate(examples[:20])
    ]
    write_dataset(
        folder,
        name="random",
        fingerprint="none",
        settings={"seed": 0},
        front_end=FrontEnd().to_dict(),
        vocabulary=[f"tag{number}" for number in range(6)],
        tag_processing="paper",
        splits={"train": train, "validation": heard},
    )
    return str(folder)


@pytest.mark.parametrize("in_halves", [False, True])
def test_the_bank_is_of_all_training_sounds_and_measured_without_copies(dataset, in_halves):
    sounds = ValidationSounds(dataset, in_halves=in_halves)
    model = Embedder(tiny_model("ae_c"))
    banks = vote.make_banks(model, tiny_config(data__path=dataset), sounds)
    assert (len(banks.whole), len(banks.measured), banks.near_duplicates) == (20, 17, 3)
    train = SplitReader(dataset, "train")
    projected = model.project_audio(np.stack([train[place].patch for place in range(20)]))
    wanted = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(banks.whole.vectors, wanted, atol=2e-3)
    np.testing.assert_allclose(banks.measured.vectors, wanted[3:], atol=2e-3)
    for place in range(20):
        tags = np.flatnonzero(banks.whole.shares.toarray()[place])
        np.testing.assert_array_equal(tags, train[place].tags)
    assert banks.whole.temperature == 0.1


def test_sounds_that_were_not_trained_on_are_in_no_bank(dataset):
    """Of the copies, the first and the last are of the source that is left out."""
    model, sounds = Embedder(tiny_model("ae_c")), ValidationSounds(dataset)
    config = tiny_config(data__path=dataset, data__source_weights="x=0,y=2")
    banks = vote.make_banks(model, config, sounds)
    assert (len(banks.whole), len(banks.measured), banks.near_duplicates) == (10, 9, 1)
    train = SplitReader(dataset, "train")
    projected = model.project_audio(np.stack([train[place].patch for place in range(1, 20, 2)]))
    wanted = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(banks.whole.vectors, wanted, atol=2e-3)


def test_a_classifier_has_no_bank(dataset):
    model = Embedder(tiny_model("cnn"))
    config = tiny_config(data__path=dataset)
    assert vote.make_banks(model, config, ValidationSounds(dataset)) is None


@pytest.mark.parametrize("better", ["vote", "cosine"])
def test_searches_go_by_what_was_better_on_the_sounds_that_did_not_choose(
    dataset, better, monkeypatch
):
    asked = []

    def evaluate(model, patches, targets, shard, bank=None):
        asked.append((len(targets), None if bank is None else len(bank)))
        return {"macro_auc": 0.6 if (bank is None) == (better == "cosine") else 0.5}

    monkeypatch.setattr(retrieval, "evaluate_retrieval", evaluate)
    sounds = ValidationSounds(dataset, in_halves=True)
    model = Embedder(tiny_model("ae_c"))
    banks = vote.make_banks(model, tiny_config(data__path=dataset), sounds)
    assert banks.whole.best_for_search == better
    assert asked == [(len(sounds.reported.places), 17), (len(sounds.reported.places), None)]


def test_retrieval_by_vote_is_that_of_its_scores(dataset):
    """Tags by their share, sets by the sum of the logits of their tags' shares."""
    sounds = ValidationSounds(dataset)
    model = Embedder(tiny_model("ae_c"))
    bank = vote.make_banks(model, tiny_config(data__path=dataset), sounds).measured
    part, tags = sounds.reported, sounds.tags
    shares = bank.vote(model.project_audio(part.patches)).astype(np.float64)
    bounded = np.clip(shares, 1e-6, 1 - 1e-6)
    sets, own = retrieval.distinct_sets(tags)
    set_scores = np.log(bounded / (1 - bounded)) @ sets.T.astype(np.float64)
    wanted = retrieval.retrieval_metrics(shares, set_scores, tags, own)
    found = retrieval.evaluate_retrieval(model, part.patches, tags, bank=bank)
    assert found == pytest.approx(wanted)
