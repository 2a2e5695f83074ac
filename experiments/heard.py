"""What a model makes of sounds it has not learned: their tags, its best and worst tags, mix-ups."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from sklearn.metrics import average_precision_score

from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import Example
from coala_jax.embedding.embedder import load
from experiments import development

SHOWN_SOUNDS, SHOWN_NOTES = 15, 5  # of the validation split, spread evenly over its names
SHOWN_TAGS, SHOWN_MIX_UPS = 8, 8
FEWEST_SOUNDS = 10  # of a tag whose average precision is told


def tags_of_sounds(model: Path, corpus: Path, dataset: Path) -> dict[str, Any]:
    """What a model says of the validation sounds.

    Returns:
        sounds: some of them, each with its tags and the five tags of the highest scores.
        best, worst: tags by their average precision over all sounds, with their sounds.
        tags_counted: that `FEWEST_SOUNDS` or more of the sounds have, of which these are.
        sounds_counted: validation sounds.
    """
    embedder, examples = load(model), sounds_of(dataset, "validation")
    files = [corpus / "audio" / one.id for one in examples]
    found = embedder.tag_scores(files)
    words = [embedder.vocabulary.readable(tag) for tag in range(len(embedder.vocabulary))]
    truth = multi_hot(examples, len(words))
    counted = np.flatnonzero(truth.sum(axis=0) >= FEWEST_SOUNDS)
    scored = sorted(
        ([words[t], _precision(truth[:, t], found[:, t]), int(truth[:, t].sum())] for t in counted),
        key=lambda one: -one[1],
    )
    return {
        "sounds": [_row(examples[place], found[place], words) for place in _shown(examples)],
        "best": scored[:SHOWN_TAGS],
        "worst": scored[: -SHOWN_TAGS - 1 : -1],
        "tags_counted": len(scored),
        "sounds_counted": len(files),
    }


def sounds_of(dataset: Path, split: str) -> list[Example]:
    """A patch of each sound of a split, ordered by the names of the sounds."""
    reader = SplitReader(dataset, split)
    patches = sorted((reader[place] for place in range(len(reader))), key=lambda one: one.key)
    return list({one.id: one for one in patches}.values())


def multi_hot(examples: Sequence[Example], tags: int) -> Bool[np.ndarray, "sound tag"]:
    """Which tags of the vocabulary each sound has."""
    truth = np.zeros((len(examples), tags), bool)
    for row, one in zip(truth, examples, strict=True):
        row[one.tags] = True
    return truth


def _shown(examples: Sequence[Example]) -> list[int]:
    """Places of some sounds and some notes, spread evenly over their names."""
    fonts = np.array([one.source in development.FONTS for one in examples])
    chosen: list[int] = []
    for of, count in ((~fonts, SHOWN_SOUNDS), (fonts, SHOWN_NOTES)):
        places = np.flatnonzero(of)
        spread = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
        chosen += places[spread].tolist()
    return sorted(chosen)


def _row(one: Example, scores: Float32[np.ndarray, " tag"], words: Sequence[str]) -> dict[str, Any]:
    best = np.argsort(-scores, kind="stable")[:5]
    return {
        "file": one.id,
        "tags": [words[tag] for tag in one.tags],
        "heard": [[words[tag], round(float(scores[tag]), 3)] for tag in best],
    }


def confused(evaluation: Mapping[str, Any], task: str, model: str) -> dict[str, Any]:
    """What a model's classifier makes of the classes of a task.

    Returns:
        right: by label, the share of its clips that it finds.
        mixed_up: the most frequent mix-ups: label, heard as, share of the label.
    """
    (about,) = (one for one in evaluation["tasks"] if one["name"] == task)
    (outcome,) = (
        one for one in evaluation["outcomes"] if (one["task"], one["model"]) == (task, model)
    )
    labels, counts = about["labels"], np.array(outcome["confusion"], np.float64)
    shares = (counts / counts.sum(axis=1, keepdims=True)).round(3)
    right = dict(zip(labels, shares.diagonal().tolist(), strict=True))
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:SHOWN_MIX_UPS]
    mixed_up = [
        [labels[true], labels[said], float(shares[true, said])]
        for true, said in (np.unravel_index(place, shares.shape) for place in order)
    ]
    return {"right": right, "mixed_up": mixed_up}


def _precision(truth: np.ndarray, scores: np.ndarray) -> float:
    return round(float(average_precision_score(truth, scores)), 3)
