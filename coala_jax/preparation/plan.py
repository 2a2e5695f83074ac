"""Decides all that can be decided of a dataset before a sound is decoded (paper, section 3.1).

sounds -> exclusions -> groups -> vocabulary -> split. What sounds turn out to hold changes none of
it: one that cannot be decoded is missing from the dataset and moves nothing else.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from coala_jax.data.schema import MINIMUM_EXAMPLES, SPLITS, shard_name
from coala_jax.preparation.exclusion import names_of
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.split import validation_mask
from coala_jax.preparation.table import Sound
from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary

# At 10 s, what a sound gives where all patches are kept that start every 12 frames.
_PATCHES_OF_ALL = 28


class PlannedShard(NamedTuple):
    """The file name of a shard, and the sounds whose records it will hold."""

    name: str
    sounds: tuple[Sound, ...]


@dataclass(frozen=True)
class Plan:
    """Which sounds a dataset is made of, and how.

    Attributes:
        listed: how many sounds there were before any was left out.
        sounds: those to decode, of each of SPLITS, in the order in which they will lie on disk;
            their groups are joined where files are equal.
        untagged: sounds without a tag of the vocabulary; they are not decoded.
        excluded: how many sounds an id names.
        tags_left_out: distinct tags that are not in the vocabulary, by cause.
    """

    listed: int
    vocabulary: Vocabulary
    sounds: dict[str, tuple[Sound, ...]]
    untagged: tuple[Sound, ...]
    excluded: int
    tags_left_out: dict[str, int]

    def shards(self, split: str, records: int, patches_per_sound: int) -> list[PlannedShard]:
        """The shards of a split, of about so many `records` each."""
        step = max(1, records // (patches_per_sound or _PATCHES_OF_ALL))
        sounds = self.sounds[split]
        parts = [sounds[first : first + step] for first in range(0, len(sounds), step)]
        names = [shard_name(split, number, len(parts)) for number in range(len(parts))]
        return [PlannedShard(name, part) for name, part in zip(names, parts, strict=True)]


def exclude_ids(listed: Sequence[Sound], ids: Collection[str]) -> tuple[list[Sound], int]:
    """The sounds that no id names, and how many ids name one (see `exclusion.names_of`)."""
    named = [names_of(sound.id, sound.file).intersection(ids) for sound in listed]
    kept = [sound for sound, found in zip(listed, named, strict=True) if not found]
    return kept, len(set().union(*named))


def make_plan(
    listed: int,
    sounds: Sequence[Sound],
    settings: Settings,
    contents: Mapping[str, str],
) -> Plan:
    """The plan for the sounds that exclusions left of those listed.

    `contents` has a text for each file, the same for files that are equal, byte for byte. A copy of
    a training sound in validation would be recognised, not understood: copies are one group.

    Raises:
        ValueError: no tag, or too few sounds on a side, are left.
    """
    vocabulary = build_vocabulary(
        [sound.tags for sound in sounds],
        size=settings.vocabulary_size,
        max_document_fraction=settings.max_document_fraction,
        min_sounds=settings.min_tag_sounds,
        processing=settings.processing,
    )
    tagged: list[Sound] = []
    untagged: list[Sound] = []
    for sound in sounds:
        (tagged if any(tag in vocabulary for tag in sound.tags) else untagged).append(sound)
    groups = join_copies(
        [sound.group for sound in tagged], [contents[sound.file] for sound in tagged]
    )
    try:
        in_validation = validation_mask(
            _tag_matrix([sound.tags for sound in tagged], vocabulary),
            groups,
            settings.validation_fraction,
            settings.seed,
            settings.split,
        )
    except ValueError as error:
        raise ValueError(f"{error}{_equal_files(tagged, groups, contents)}") from error
    split: dict[str, list[Sound]] = {name: [] for name in SPLITS}
    for sound, group, kept_out in zip(tagged, groups, in_validation.tolist(), strict=True):
        split["validation" if kept_out else "train"].append(replace(sound, group=group))
    check_enough({name: len(some) for name, some in split.items()})
    return Plan(
        listed=listed,
        vocabulary=vocabulary,
        sounds={name: tuple(some) for name, some in split.items()},
        untagged=tuple(untagged),
        excluded=listed - len(sounds),
        tags_left_out=_tags_left_out([sound.tags for sound in sounds], settings),
    )


def check_enough(sounds: dict[str, int]) -> None:
    """Raises ValueError when a side of the split has too few sounds to be one."""
    train, validation = (sounds[split] for split in SPLITS)
    if min(train, validation) < MINIMUM_EXAMPLES:
        raise ValueError(
            f"{train} sounds to train on and {validation} to validate on are too few: each side "
            f"needs {MINIMUM_EXAMPLES}; add sounds or change --validation_fraction"
        )


def join_copies(groups: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The groups, those made one that hold sounds of the same content.

    A joined group is called as the first of its groups in alphabetical order.
    """
    names, group = np.unique(groups, return_inverse=True)
    distinct, content = np.unique(contents, return_inverse=True)
    nodes = len(names) + len(distinct)
    edges = scipy.sparse.coo_array(
        (np.ones(len(group)), (group, len(names) + content)), (nodes, nodes)
    )
    _, component = scipy.sparse.csgraph.connected_components(edges, directed=False)
    first = np.unique(component[: len(names)], return_index=True)[1]  # components are 0, 1, ...
    return names[first[component[group]]].tolist()


def _equal_files(
    sounds: Sequence[Sound], groups: Sequence[str], contents: Mapping[str, str]
) -> str:
    """Which equal files made few groups of many, to end a message with; empty if none did."""
    before, after = len({sound.group for sound in sounds}), len(set(groups))
    if before == after:
        return ""
    content, copies = Counter(contents[sound.file] for sound in sounds).most_common(1)[0]
    files = [sound.file for sound in sounds if contents[sound.file] == content]
    return (
        f". {before} groups became {after}, since files in them are equal, byte for byte; "
        f"{copies} of these are {', '.join(files[:3])}{' ...' if copies > 3 else ''}: keep one"
    )


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
