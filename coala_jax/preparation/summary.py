"""What a preparation has to report, and how its numbers are said."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from coala_jax.data.scaler import Scaler
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.plan import Plan
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Sound
from coala_jax.reporting import style

FAILURES = "failures.csv"  # names every sound that was skipped, and why
UNTAGGED = "untagged.csv"  # names those without a tag of the vocabulary
COPY = "CopyOfTraining"  # the error of a validation sound that equals a training sound

Results = list[tuple[Sound, ExtractionResult]]


@dataclass(frozen=True)
class Summary:
    """What there is to report; the splits are `train` and `validation`.

    Raises:
        ValueError: no sound or no tag is left, or the numbers contradict each other.
    """

    name: str  # of the corpus
    settings: dict[str, Any]  # setting -> value; a nested dict is printed with dots
    listed: int  # sounds in the table
    dropped: dict[str, dict[str, int]]  # stage -> cause -> sounds, the stages in their order
    sounds: dict[str, int]  # split -> sounds
    patches: dict[str, int]  # split -> patches
    groups: dict[str, int]  # split -> groups
    wanted_fraction: float  # of validation
    seconds: Float64[np.ndarray, " sound"]  # durations of the sounds kept; NaN where not known
    patch_seconds: float  # what one patch lasts
    tag_sounds: dict[str, tuple[int, int]]  # tag of the vocabulary -> sounds in train, validation
    tags_per_sound: Int64[np.ndarray, " sound"]  # vocabulary tags of each sound kept
    tags_left_out: dict[str, int]  # cause -> distinct tags
    value_range: tuple[float, float]  # smallest and largest log-mel value of the training patches
    clip_seconds: float = 10.0  # shorter sounds are padded to this
    named_in: dict[str, str] = field(default_factory=dict)  # stage -> file that names its dropped

    def __post_init__(self) -> None:
        if not self.kept or not self.tag_sounds:
            raise ValueError(f"{self.name}: no sound or no tag is left, so nothing to report")
        dropped = sum(lost for _, _, lost in stages(self))
        numbers = {self.listed - dropped, self.kept, self.seconds.size, self.tags_per_sound.size}
        if len(numbers) > 1:
            raise ValueError(
                f"{self.name}: {self.listed} sounds listed and {dropped} dropped, but {self.kept} "
                f"in the splits, {self.seconds.size} durations and tag counts of "
                f"{self.tags_per_sound.size}: count every sound once"
            )
        pairs = sum(map(sum, self.tag_sounds.values()))
        if pairs != self.tags_per_sound.sum():
            raise ValueError(
                f"{self.name}: the tags count {pairs} sounds and the sounds "
                f"{self.tags_per_sound.sum()} tags, which must be the same"
            )

    @property
    def kept(self) -> int:
        return self.sounds["train"] + self.sounds["validation"]


def summarize(
    plan: Plan, settings: Settings, results: Mapping[str, Results], scaler: Scaler
) -> Summary:
    """What a preparation has to report, from the results of each split's sounds."""
    front_end = settings.front_end
    kept = {split: [pair for pair in some if not pair[1].error] for split, some in results.items()}
    errors = Counter(result.error for _, result in chain(*results.values()) if result.error)
    copies = errors.pop(COPY, 0)
    sounds_with = {
        split: Counter(tag for sound, _ in some for tag in set(sound.tags))
        for split, some in kept.items()
    }
    all_kept = list(chain(*kept.values()))
    return Summary(
        name=settings.name,
        settings=settings.to_dict() | {"front_end": front_end.to_dict()},
        listed=plan.listed,
        dropped={
            "excluded": {"in the list of sounds to keep out": plan.excluded},
            "tags": {"no tag of the vocabulary": len(plan.untagged)},
            "decoding": dict(errors.most_common()),
            "copies": {"the same as a training sound": copies},
        },
        sounds={split: len(some) for split, some in kept.items()},
        patches={split: sum(len(r.frames) for _, r in some) for split, some in kept.items()},
        groups={split: len({sound.group for sound, _ in some}) for split, some in kept.items()},
        wanted_fraction=settings.validation_fraction,
        seconds=np.array([result.seconds for _, result in all_kept]),
        patch_seconds=front_end.patch_frames * front_end.hop_samples / front_end.sample_rate_hz,
        clip_seconds=front_end.clip_seconds,
        named_in={"decoding": FAILURES, "copies": FAILURES, "tags": UNTAGGED},
        tag_sounds={
            tag: (sounds_with["train"][tag], sounds_with["validation"][tag])
            for tag in plan.vocabulary.tags
        },
        tags_per_sound=np.array(
            [len(plan.vocabulary.indices(sound.tags)) for sound, _ in all_kept], np.int64
        ),
        tags_left_out=plan.tags_left_out,
        value_range=(float(np.min(scaler.minimum)), float(np.max(scaler.maximum))),
    )


def in_a_line(summary: Summary) -> str:
    """The counts, for a terminal."""
    lost = {stage: sum(causes.values()) for stage, causes in summary.dropped.items()}
    tagged = summary.listed - lost["excluded"] - lost["tags"]
    train, validation = summary.sounds.values()
    return (
        f"{summary.listed} sounds, {tagged} with a tag of the {len(summary.tag_sounds)} in the "
        f"vocabulary, {lost['decoding']} of these not decoded; "
        f"{train} to train on and {validation} to validate on "
        f"({validation / (train + validation):.1%}, {summary.wanted_fraction:.0%} asked for)"
    )


def stages(summary: Summary) -> Iterator[tuple[str, int, int]]:
    """Each stage with the sounds that reached it and those it dropped."""
    reached = summary.listed
    for stage, causes in summary.dropped.items():
        yield stage, reached, sum(causes.values())
        reached -= sum(causes.values())


def most_frequent(summary: Summary) -> list[tuple[str, tuple[int, int]]]:
    return sorted(summary.tag_sounds.items(), key=lambda item: (-sum(item[1]), item[0]))


def known_seconds(seconds: Float64[np.ndarray, " sound"]) -> Float64[np.ndarray, " known"]:
    return seconds[np.isfinite(seconds)]


def clean(text: str, length: int) -> str:
    """One line that can be encoded and drawn: no control characters, no lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return style.cut(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text), length)


def number(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def percent(part: int | float, whole: int | float = 1) -> str:
    """Some are never shown as none, nor most as all."""
    if not whole:
        return "-"
    share = part / whole
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return "over 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"
