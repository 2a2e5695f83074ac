"""Plans a dataset before any sound is decoded (paper, section 3.1).

sounds -> vocabulary -> groups -> split -> shards. Decoding changes none of it: a sound that cannot
be decoded is skipped, and nothing else moves.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from coala_jax.data.schema import MINIMUM_EXAMPLES, SPLITS, shard_name
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.split import validation_mask
from coala_jax.preparation.table import Sound
from coala_jax.tags.vocabulary import Vocabulary, build_vocabulary

# Of a sound of 10 s, where all patches are kept that start every 12 frames.
_PATCHES_OF_ALL = 28


class PlannedShard(NamedTuple):
    """The file name of a shard and the sounds whose records it will hold."""

    name: str
    sounds: tuple[Sound, ...]


@dataclass(frozen=True)
class Plan:
    """The sounds of a dataset, their order and their splits.

    Attributes:
        listed: number of sounds in the table.
        sounds: those to decode, by split, in their order on disk; groups with equal files are
            joined.
        untagged: sounds without a tag of the vocabulary; they are not decoded.
        excluded: number of excluded sounds.
        tags_left_out: number of distinct tags that are not in the vocabulary, by cause.
    """

    listed: int
    vocabulary: Vocabulary
    sounds: dict[str, tuple[Sound, ...]]
    untagged: tuple[Sound, ...]
    excluded: int
    tags_left_out: dict[str, int]

    def shards(self, split: str, records: int, patches_per_sound: int) -> list[PlannedShard]:
        """The shards of a split, of about `records` records each."""
        step = max(1, records // (patches_per_sound or _PATCHES_OF_ALL))
        sounds = self.sounds[split]
        firsts = range(0, len(sounds), step)
        return [
            PlannedShard(shard_name(split, shard, len(firsts)), sounds[first : first + step])
            for shard, first in enumerate(firsts)
        ]


def make_plan(
    listed: int,
    sounds: Sequence[Sound],
    settings: Settings,
    contents: Mapping[str, str],
) -> Plan:
    """The plan for the sounds that are not excluded.

    Args:
        listed: number of sounds in the table.
        contents: file -> a key that is equal for files of equal bytes. Their groups are joined:
            validation must hold no copy of a training sound.

    Raises:
        ValueError: no tag, or too few sounds in a split, are left.
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
    for sound, group, validates in zip(tagged, groups, in_validation.tolist(), strict=True):
        split["validation" if validates else "train"].append(replace(sound, group=group))
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
    """Raises ValueError if a split has too few sounds."""
    train, validation = (sounds[split] for split in SPLITS)
    if min(train, validation) < MINIMUM_EXAMPLES:
        raise ValueError(
            f"{train} training and {validation} validation sounds: each split needs at least "
            f"{MINIMUM_EXAMPLES}. Fix: add sounds or change --validation_fraction"
        )


def join_copies(groups: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The group of each sound, after joining groups that share a content.

    A joined group has the alphabetically first of its groups' names.
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
    """The end of a message: which equal files joined groups; empty if none did."""
    before, after = len({sound.group for sound in sounds}), len(set(groups))
    if before == after:
        return ""
    content, copies = Counter(contents[sound.file] for sound in sounds).most_common(1)[0]
    files = [sound.file for sound in sounds if contents[sound.file] == content]
    return (
        f". {before} groups were joined to {after}, because they share files of equal bytes, such "
        f"as {', '.join(files[:3])}{f' and {copies - 3} more' if copies > 3 else ''}: keep one"
    )


def _tag_matrix(
    tag_sets: Sequence[Collection[str]], vocabulary: Vocabulary
) -> scipy.sparse.csr_array:
    """Sparse [sound, tag]; 190 MB if dense, for Freesound."""
    columns = [vocabulary.indices(tags) for tags in tag_sets]
    ends = np.cumsum([0, *map(len, columns)])
    values = np.ones(ends[-1], np.int64)
    shape = (len(tag_sets), len(vocabulary))
    return scipy.sparse.csr_array((values, np.concatenate(columns), ends), shape)


def _tags_left_out(tag_sets: Sequence[Collection[str]], settings: Settings) -> dict[str, int]:
    counts = Counter(tag for tags in tag_sets for tag in tags).values()
    rare = sum(count < settings.min_tag_sounds for count in counts)
    frequent = sum(count / len(tag_sets) > settings.max_document_fraction for count in counts)
    beyond = max(0, len(counts) - rare - frequent - settings.vocabulary_size)
    return {"too_frequent": frequent, "too_rare": rare, "beyond_vocabulary_size": beyond}
