"""What a preparation has to report, and how its numbers are said."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from coala_jax import drawing


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
    return drawing.cut(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text), length)


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
