"""The record of a preparation, worked out by hand."""

import json

import numpy as np

from coala_jax.audio.frontend import FrontEnd
from coala_jax.data.scaler import Scaler
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.plan import Plan
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.summary import COPY, summarize
from coala_jax.preparation.table import Sound
from coala_jax.tags.vocabulary import Vocabulary

SETTINGS = Settings("mine", validation_fraction=0.25, front_end=FrontEnd(clip_seconds=3.0))
LEFT_OUT = {"too_frequent": 1, "too_rare": 0, "beyond_vocabulary_size": 7}


def sound(name: str, tags: str, group: str = "g", source: str = "") -> Sound:
    return Sound(name, tuple(tags.split()), group, source=source)


def kept(seconds: float, patches: int = 1) -> ExtractionResult:
    return ExtractionResult(tuple(range(0, 12 * patches, 12)), seconds, peak=seconds / 4)


def failed(error: str) -> ExtractionResult:
    return ExtractionResult(error=error, cause="why")


RESULTS = {
    "train": [
        (sound("a", "dog cat rare"), kept(0.15, patches=2)),
        (sound("b", "dog", "h", "field"), kept(1.5)),
        (sound("c", "cat"), failed("EmptyFile")),
        (sound("d", "cat"), failed("WrongName")),
        (sound("e", "cat"), failed("WrongName")),
        (sound("f", "dog", "h", "field"), kept(2.5)),
    ],
    "validation": [
        (sound("x", "cat", "i"), kept(12.0)),
        (sound("y", "cat", "j"), failed(COPY)),
    ],
}


def plan(results: dict) -> Plan:
    return Plan(
        listed=13,
        vocabulary=Vocabulary(("cat", "dog")),
        sounds={split: tuple(s for s, _ in some) for split, some in results.items()},
        untagged=(sound("u", "rare"), sound("v", ""), sound("w", "")),
        excluded=2,
        tags_left_out=LEFT_OUT,
    )


def test_every_number_of_the_record() -> None:
    record = summarize(plan(RESULTS), SETTINGS, RESULTS, Scaler((-9.0, -8.0), (1.0, 2.0)))
    seconds = record.pop("seconds")
    assert record == {
        "sounds": {
            "listed": 13, "excluded": 2, "untagged": 3, "failed": 3, "copies": 1, "kept": 4,
        },
        "failures": {"WrongName": 2, "EmptyFile": 1},
        "splits": {
            "train": {"sounds": 3, "patches": 4, "groups": 2},
            "validation": {"sounds": 1, "patches": 1, "groups": 1},
        },
        "wanted_fraction": 0.25,
        "sources": {"field": [2, 0], "mine": [1, 1]},
        "source_count": 2,
        "tag_sounds": {"train": [1, 3], "validation": [1, 0]},
        "tags_per_sound": [0, 3, 1],
        "tags_left_out": LEFT_OUT,
        "loudest": ["x", 3.0],
        "value_range": [-9.0, 2.0],
    }  # fmt: skip
    assert seconds["total"] == 16.15
    assert seconds["quantiles"]["0.5"] == 2.0  # between 1.5 and 2.5
    assert (seconds["quantiles"]["0"], seconds["quantiles"]["1"]) == (0.15, 12.0)
    assert seconds["patch"] == round(96 * 512 / 22_000, 6)
    assert (seconds["shorter_than_patch"], seconds["longer_than_clip"]) == (2, 1)
    assert seconds["clip"] == 3
    expected, _ = np.histogram([0.15, 1.5, 2.5, 12.0], seconds["bin_edges"])
    assert seconds["bin_sounds"] == expected.tolist()
    np.testing.assert_allclose(np.diff(np.log10(seconds["bin_edges"])), 0.1, atol=1e-6)


def test_the_record_stays_small_and_equal_for_many_sounds() -> None:
    """Of 50 collections the ten largest are named."""
    rng = np.random.default_rng(0)
    some = {
        split: [
            (sound(f"{n}", "dog", str(n), f"source {n % 50}"), kept(float(rng.uniform(0, 99))))
            for n in range(count)
        ]
        for split, count in (("train", 2000), ("validation", 201))
    }
    record = summarize(plan(some), SETTINGS, some, Scaler(-9.0, 1.0))
    assert (record["source_count"], len(record["sources"])) == (50, 10)
    assert record["sources"]["source 0"] == [40, 5]
    text = json.dumps(record)
    assert len(text) < 2500
    assert json.dumps(summarize(plan(some), SETTINGS, some, Scaler(-9.0, 1.0))) == text
