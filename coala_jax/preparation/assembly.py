"""From the patches of all sounds to a dataset: vocabulary, split, scaling, report, shards."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Float32, Int64

from coala_jax.audio.scaler import Scaler
from coala_jax.data.example import Example
from coala_jax.data.manifest import MINIMUM_EXAMPLES, Manifest
from coala_jax.data.records import write_dataset
from coala_jax.preparation.extraction import Extracted
from coala_jax.preparation.report import write_report
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.split import validation_mask
from coala_jax.preparation.summary import Summary
from coala_jax.preparation.table import Sound
from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary

FAILURES = "failures.csv"  # names every sound that could not be decoded
UNTAGGED = "untagged.csv"  # names those without a tag of the vocabulary


def assemble(
    folder: Path,
    sounds: Sequence[Sound],
    excluded: int,
    extracted: Extracted,
    settings: Settings,
    source: str,
) -> Manifest:
    """Writes the dataset of the extracted sounds, and a report on it, into the folder.

    `excluded` counts the sounds that were left out before extraction, for the report; `source` is
    the digest that the manifest keeps.

    Raises:
        ValueError: no tag, too few sounds on a side, or nothing but silence is left.
    """
    outcomes = extracted.outcomes
    decoded = [place for place, outcome in enumerate(outcomes) if not outcome.error]
    tag_sets = [sounds[place].tags for place in decoded]
    vocabulary = build_vocabulary(
        tag_sets,
        size=settings.vocabulary_size,
        max_document_fraction=settings.max_document_fraction,
        min_sounds=settings.min_tag_sounds,
        processing=settings.tag_processing,
    )
    tags = _tag_matrix(tag_sets, vocabulary)
    has_tag = np.diff(tags.indptr) > 0
    places, tags = np.array(decoded, np.int64)[has_tag], tags[has_tag]
    groups = join_copies(
        [sounds[place].group for place in places], [outcomes[place].digest for place in places]
    )
    kept_out = validation_mask(
        tags, groups, settings.validation_fraction, settings.seed, settings.split
    )
    sides = {
        split: _Side(places[there], tags[there], np.array(groups)[there])
        for split, there in (("train", ~kept_out), ("validation", kept_out))
    }
    _refuse_too_few(sides)
    scaler = Scaler.fit(_patches(sides["train"], extracted), settings.scaling)
    examples = {
        split: _Examples(side, sounds, extracted, vocabulary, scaler)
        for split, side in sides.items()
    }
    front_end = settings.front_end
    summary = Summary(
        name=settings.name,
        settings=settings.to_dict() | {"front_end": front_end.to_dict()},
        listed=excluded + len(sounds),
        dropped={
            "excluded": {"in the list of sounds to keep out": excluded},
            "decoding": dict(Counter(o.error for o in outcomes if o.error).most_common()),
            "tags": {"no tag of the vocabulary": int((~has_tag).sum())},
        },
        sounds={split: len(side.places) for split, side in sides.items()},
        patches={split: len(some) for split, some in examples.items()},
        groups={split: len(set(side.groups.tolist())) for split, side in sides.items()},
        wanted_fraction=settings.validation_fraction,
        seconds=np.array([outcomes[place].seconds for place in places]),
        patch_seconds=front_end.patch_frames * front_end.hop_samples / front_end.sample_rate_hz,
        clip_seconds=front_end.clip_seconds,
        named_in={"decoding": FAILURES, "tags": UNTAGGED},
        tag_sounds={
            tag: (int(train), int(validation))
            for tag, train, validation in zip(
                vocabulary.tags, *(side.tags.sum(axis=0) for side in sides.values()), strict=True
            )
        },
        tags_per_sound=np.diff(tags.indptr).astype(np.int64),
        tags_left_out=_tags_left_out(tag_sets, settings),
        value_range=(float(np.min(scaler.minimum)), float(np.max(scaler.maximum))),
    )
    _write_untagged(folder, [sounds[place] for place in np.array(decoded)[~has_tag]])
    write_report(folder, summary)
    _say(summary)
    return write_dataset(
        folder,
        name=settings.name,
        source=source,
        settings=settings.to_dict(),
        front_end=front_end.to_dict(),
        scaler=scaler.to_dict(),
        vocabulary=vocabulary.tags,
        tag_processing=settings.tag_processing,
        splits=examples,
    )


def _write_untagged(folder: Path, sounds: Sequence[Sound]) -> None:
    if not sounds:
        return
    with (folder / UNTAGGED).open("w", encoding="utf-8", newline="") as file:
        rows = [(sound.file, " ".join(sound.tags)) for sound in sounds]
        csv.writer(file).writerows([("file", "tags"), *rows])


def join_copies(groups: Sequence[str], digests: Sequence[str]) -> list[str]:
    """The groups, those made one that hold the same sound, sample for sample, under two names.

    A copy of a training sound in validation would be recognised, not understood. A joined group is
    called as the first of its groups in alphabetical order.
    """
    names, group = np.unique(groups, return_inverse=True)
    contents, content = np.unique(digests, return_inverse=True)
    nodes = len(names) + len(contents)
    edges = scipy.sparse.coo_array(
        (np.ones(len(group)), (group, len(names) + content)), (nodes, nodes)
    )
    _, component = scipy.sparse.csgraph.connected_components(edges, directed=False)
    first = np.unique(component[: len(names)], return_index=True)[1]  # components are 0, 1, ...
    return names[first[component[group]]].tolist()


@dataclass(frozen=True)
class _Side:
    """One side of the split."""

    places: Int64[np.ndarray, " sound"]  # in the table
    tags: scipy.sparse.csr_array
    groups: np.ndarray


class _Examples(Sequence[Example]):
    """The examples of a split, scaled as they are asked for, so that memory stays small."""

    def __init__(
        self,
        side: _Side,
        sounds: Sequence[Sound],
        extracted: Extracted,
        vocabulary: Vocabulary,
        scaler: Scaler,
    ) -> None:
        counts = [len(extracted.outcomes[place].frames) for place in side.places]
        self._places = np.repeat(side.places, counts)
        self._numbers = np.concatenate([np.arange(count) for count in counts])
        self._sounds, self._extracted = sounds, extracted
        self._vocabulary, self._scaler = vocabulary, scaler

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Example:
        place, patch = int(self._places[number]), int(self._numbers[number])
        return Example(
            patch=self._scaler.scale(self._extracted.patch(place, patch)),
            tags=self._vocabulary.indices(self._sounds[place].tags),
            id=self._sounds[place].file,
            frame=self._extracted.outcomes[place].frames[patch],
        )


def _patches(side: _Side, extracted: Extracted) -> Iterator[Float32[np.ndarray, "mel time"]]:
    for place in side.places.tolist():
        for number in range(len(extracted.outcomes[place].frames)):
            yield extracted.patch(place, number)


def _tag_matrix(
    tag_sets: Sequence[Collection[str]], vocabulary: Vocabulary
) -> scipy.sparse.csr_array:
    """Sounds by tags; dense it would be 190 MB for Freesound."""
    columns = [vocabulary.indices(tags) for tags in tag_sets]
    ends = np.cumsum([0, *map(len, columns)])
    values = np.ones(ends[-1], np.int64)
    shape = (len(tag_sets), len(vocabulary))
    return scipy.sparse.csr_array((values, np.concatenate(columns), ends), shape)


def _tags_left_out(tag_sets: Sequence[Collection[str]], settings: Settings) -> dict[str, int]:
    """Distinct tags that are not in the vocabulary, by cause."""
    counts = Counter(tag for tags in tag_sets for tag in tags).values()
    rare = sum(count < settings.min_tag_sounds for count in counts)
    frequent = sum(count / len(tag_sets) > settings.max_document_fraction for count in counts)
    return {
        f"in more than {settings.max_document_fraction:.0%} of the sounds": frequent,
        f"in fewer than {settings.min_tag_sounds} sounds": rare,
        f"beyond the {settings.vocabulary_size} most frequent": max(
            0, len(counts) - rare - frequent - settings.vocabulary_size
        ),
    }


def _refuse_too_few(sides: dict[str, _Side]) -> None:
    train, validation = (len(side.places) for side in sides.values())
    if min(train, validation) < MINIMUM_EXAMPLES:
        raise ValueError(
            f"{train} sounds to train on and {validation} to validate on are too few: each side "
            f"needs {MINIMUM_EXAMPLES}; add sounds or change --validation_fraction"
        )


def _say(summary: Summary) -> None:
    failed, untagged = (sum(summary.dropped[stage].values()) for stage in ("decoding", "tags"))
    train, validation = summary.sounds.values()
    print(
        f"{summary.listed} sounds, {train + validation + untagged} decoded and {failed} not, "
        f"{train + validation} with a tag of the {len(summary.tag_sounds)} in the vocabulary; "
        f"{train} to train on and {validation} to validate on "
        f"({validation / (train + validation):.1%}, {summary.wanted_fraction:.0%} asked for)"
    )
