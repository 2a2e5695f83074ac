"""The settings of a preparation."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from coala_jax.audio.decode import LEVELS, MAX_MINUTES, MAX_PEAK, RESAMPLER
from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import FITTED
from coala_jax.preparation.split import METHODS
from coala_jax.preparation.table import Columns
from coala_jax.tags.normalize import PROCESSINGS, join_processing

_LIMITS = {"max_decode_minutes": MAX_MINUTES, "max_peak": MAX_PEAK}


@dataclass(frozen=True)
class Settings:
    """How sounds and tags become a dataset, as `prepare` takes it.

    The defaults follow the paper (section 3.1 and "Tag processing"); `Settings.released` follows
    its authors' code.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    name: str  # of the corpus, for reports
    columns: Columns = field(default_factory=Columns)
    tag_processing: str = "paper"  # or released: the authors' code, which damages some words
    stop_words: tuple[str, ...] = ("english",)  # whose words are no tags; others by NLTK's data
    vocabulary_size: int = 1000  # the most frequent tags (paper)
    min_tag_sounds: int = 1  # tags of fewer sounds are left out; 10 in the released code
    max_document_fraction: float = 0.7  # tags of more sounds than this are left out (paper)
    validation_fraction: float = 0.1  # paper
    split: str = "stratified"  # by tags, as released; random: the paper says no more than 10 %
    seed: int = 0  # of the split
    patches_per_sound: int = 1  # the loudest (paper); 0: all that start every 12 frames
    max_seconds: float = (
        0.0  # longer sounds are left out, as the paper's query did with 10; 0: none
    )
    max_decode_minutes: float = (
        MAX_MINUTES  # longer sounds are not decoded to their end; 0: all are
    )
    max_peak: float = MAX_PEAK  # louder sounds are left out, unless `level` is peak; 0: none
    level: str = "recorded"  # as in the paper; peak: every sound at a peak of 1
    scaling: str = "global"  # one minimum and maximum; per_frame: one per time column (released)
    front_end: FrontEnd = field(default_factory=FrontEnd)

    @classmethod
    def released(cls, name: str) -> "Settings":
        """The settings of the authors' released code where it differs from their text."""
        return cls(
            name=name,
            tag_processing="released",
            min_tag_sounds=10,
            scaling="per_frame",
            front_end=FrontEnd.released(),
        )

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range, before any sound is decoded."""

        def require(holds: bool, name: str, wanted: str) -> None:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {wanted}")

        for name in ("vocabulary_size", "min_tag_sounds"):
            require(getattr(self, name) >= 1, name, "at least 1")
        limits = ("max_seconds", *_LIMITS)
        for name in ("seed", "patches_per_sound", *limits):
            require(getattr(self, name) >= 0, name, "at least 0")
        require(0 < self.max_document_fraction <= 1, "max_document_fraction", "in (0, 1]")
        require(0 < self.validation_fraction < 1, "validation_fraction", "between 0 and 1")
        for name, choices in (
            ("tag_processing", PROCESSINGS),
            ("split", METHODS),
            ("level", LEVELS),
            ("scaling", FITTED),
        ):
            require(getattr(self, name) in choices, name, "one of " + ", ".join(choices))
        join_processing(self.tag_processing, self.stop_words)

    @property
    def processing(self) -> str:
        """How tags are processed, stop words included, as manifests and models keep it."""
        return join_processing(self.tag_processing, self.stop_words)

    def to_dict(self) -> dict[str, Any]:
        """As in the manifest, which has the front end under a key of its own."""
        content = asdict(self) | {"resampler": RESAMPLER, "stop_words": list(self.stop_words)}
        del content["front_end"]
        # They change no ordinary dataset: one that was made before there were limits is the same.
        return {
            name: value
            for name, value in content.items()
            if name not in _LIMITS or value != _LIMITS[name]
        }

    @property
    def longest_seconds(self) -> float:
        """Of a sound that is decoded: the smaller of the two bounds."""
        return min(self.max_seconds or math.inf, 60 * self.max_decode_minutes or math.inf)

    @property
    def loudest(self) -> float:
        """The largest absolute sample of a sound that is taken; at level `peak` any will do."""
        return math.inf if self.level == "peak" else self.max_peak or math.inf
