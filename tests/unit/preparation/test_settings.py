"""The two modes, and what is refused before any work."""

import math

import pytest

from coala_jax.audio.frontend import FrontEnd
from coala_jax.preparation.settings import Settings


def test_the_text_of_the_paper_is_the_default() -> None:
    settings = Settings("any")
    assert settings.to_dict() == {
        "name": "any",
        "columns": {"file": "file", "tags": "tags", "group": "", "id": "", "source": ""},
        "tag_processing": "paper",
        "stop_words": ["english"],
        "vocabulary_size": 1000,
        "min_tag_sounds": 1,
        "max_document_fraction": 0.7,
        "validation_fraction": 0.1,
        "split": "stratified",
        "seed": 0,
        "patches_per_sound": 1,
        "max_seconds": 0.0,
        "level": "recorded",
        "resampler": "soxr HQ",
        "scaling": "global",
    }
    assert settings.front_end == FrontEnd()


def test_the_released_code_differs_in_three_settings_and_the_front_end() -> None:
    paper, released = Settings("any").to_dict(), Settings.released("any").to_dict()
    assert {key: value for key, value in released.items() if value != paper[key]} == {
        "tag_processing": "released",
        "min_tag_sounds": 10,
        "scaling": "per_frame",
    }
    front_end = vars(Settings.released("any").front_end).items() - vars(FrontEnd()).items()
    assert dict(front_end) == {"window": "hann", "power": 1.0, "edges": "reflect", "noise": 5e-4}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocabulary_size", 0),
        ("min_tag_sounds", 0),
        ("max_document_fraction", 0.0),
        ("max_document_fraction", 1.1),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1.0),
        ("seed", -1),
        ("patches_per_sound", -1),
        ("max_seconds", -1.0),
        ("max_seconds", float("nan")),
        ("max_decode_minutes", -1.0),
        ("max_peak", float("nan")),
        ("tag_processing", "none"),
        ("split", "even"),
        ("level", "loud"),
        ("scaling", "none"),
    ],
)
def test_values_out_of_range_are_refused_at_once(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        Settings("tiny", **{name: value})
    Settings("tiny", max_document_fraction=1.0, seed=0, patches_per_sound=0, max_seconds=0.5)


def test_limits_are_part_of_a_dataset_only_where_they_are_not_the_default() -> None:
    """Else every dataset of before would be another one."""
    changed = Settings("any", max_decode_minutes=120.0, max_peak=0.0)
    assert changed.to_dict() == Settings("any").to_dict() | {
        "max_decode_minutes": 120.0,
        "max_peak": 0.0,
    }
    assert (changed.longest_seconds, changed.loudest) == (7200, math.inf)
    both = Settings("any", max_seconds=10.0, level="peak")
    assert (both.longest_seconds, both.loudest) == (10, math.inf)
    assert (Settings("any").longest_seconds, Settings("any").loudest) == (3600, 8)
    assert Settings("any", max_decode_minutes=0.0).longest_seconds == math.inf
