"""The record of a preparation, from which `reporting/dataset_report.py` renders its report."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float64

from coala_jax.data.scaler import Scaler
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.plan import Plan
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Sound
from coala_jax.tags.vocabulary import Vocabulary

COPY = "CopyOfTraining"  # error of a validation sound that equals a training sound
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS_PER_DECADE = 10  # of durations
SOURCES = 10  # the largest collections, counted by name

Results = list[tuple[Sound, ExtractionResult]]


def summarize(
    plan: Plan, settings: Settings, results: Mapping[str, Results], scaler: Scaler
) -> dict[str, Any]:
    """The counts of a preparation as JSON, a few kilobytes for any number of sounds.

    Args:
        results: the planned sounds of each split with their results; some of them are kept.
        scaler: of the training patches.

    Returns:
        sounds: `listed` in the table, of these `excluded` by id, `untagged` (without a tag of the
            vocabulary), `failed` to decode, and `copies` in validation of training sounds; the
            rest is `kept`.
        failures: error -> sounds.
        splits: split -> `sounds`, `patches` and `groups`.
        wanted_fraction: of the sounds in validation.
        sources: the 10 largest collections -> [training sounds, validation sounds]; source_count:
            how many collections there are.
        seconds: durations of the sounds kept (see `_durations`).
        tag_sounds: split -> sounds with each tag of the vocabulary.
        tags_per_sound: how many sounds have 0, 1, 2, ... tags of the vocabulary.
        tags_left_out: cause -> distinct tags.
        loudest: file and largest absolute sample of the loudest sound kept, before any scaling.
        value_range: smallest and largest log-mel value of the training patches.
    """
    kept = {split: [pair for pair in some if not pair[1].error] for split, some in results.items()}
    everything = list(chain(*kept.values()))
    errors = Counter(result.error for _, result in chain(*results.values()) if result.error)
    copies = errors.pop(COPY, 0)
    sources = Counter(sound.source or settings.name for sound, _ in everything)
    train_sources = Counter(sound.source or settings.name for sound, _ in kept["train"])
    loudest = max(everything, key=lambda pair: pair[1].peak)
    by_size = sorted(sources, key=lambda source: (-sources[source], source))
    return {
        "sounds": {
            "listed": plan.listed,
            "excluded": plan.excluded,
            "untagged": len(plan.untagged),
            "failed": errors.total(),
            "copies": copies,
            "kept": len(everything),
        },
        "failures": dict(sorted(errors.items(), key=lambda item: (-item[1], item[0]))),
        "splits": {
            split: {
                "sounds": len(some),
                "patches": sum(len(result.frames) for _, result in some),
                "groups": len({sound.group for sound, _ in some}),
            }
            for split, some in kept.items()
        },
        "wanted_fraction": settings.validation_fraction,
        "sources": {
            source: [train_sources[source], sources[source] - train_sources[source]]
            for source in by_size[:SOURCES]
        },
        "source_count": len(sources),
        "seconds": _durations(np.array([r.seconds for _, r in everything], np.float64), settings),
        **_tags(kept, plan.vocabulary),
        "tags_left_out": plan.tags_left_out,
        "loudest": [loudest[0].file, round(loudest[1].peak, 6)],
        "value_range": [float(np.min(scaler.minimum)), float(np.max(scaler.maximum))],
    }


def _tags(kept: Mapping[str, Results], vocabulary: Vocabulary) -> dict[str, Any]:
    with_tag = {split: np.zeros(len(vocabulary), np.int64) for split in kept}
    per_sound = np.zeros(len(vocabulary) + 1, np.int64)
    for split, some in kept.items():
        for sound, _ in some:
            indices = vocabulary.indices(sound.tags)
            with_tag[split][indices] += 1
            per_sound[len(indices)] += 1
    return {
        "tag_sounds": {split: counts.tolist() for split, counts in with_tag.items()},
        "tags_per_sound": np.trim_zeros(per_sound, "b").tolist(),
    }


def _durations(seconds: Float64[np.ndarray, " sound"], settings: Settings) -> dict[str, Any]:
    """Total and quantiles in seconds; a histogram with bins of equal width on a logarithmic scale;
    how many sounds are shorter than a `patch` and longer than a `clip`, and how long these are."""
    front_end = settings.front_end
    patch = front_end.patch_frames * front_end.hop_samples / front_end.sample_rate_hz
    places = np.floor(np.log10(np.maximum(seconds, 1e-6)) * BINS_PER_DECADE).astype(int)
    first = int(places.min())
    counts = np.bincount(places - first)
    edges = 10.0 ** (np.arange(first, first + len(counts) + 1) / BINS_PER_DECADE)
    quantiles = zip(QUANTILES, np.quantile(seconds, QUANTILES), strict=True)
    return {
        "total": round(float(seconds.sum()), 3),
        "quantiles": {f"{q:g}": round(float(value), 6) for q, value in quantiles},
        "bin_edges": [round(float(edge), 9) for edge in edges],
        "bin_sounds": counts.tolist(),
        "patch": round(patch, 6),
        "shorter_than_patch": int((seconds < patch).sum()),
        "clip": front_end.clip_seconds,
        "longer_than_clip": int((seconds > front_end.clip_seconds).sum()),
    }
