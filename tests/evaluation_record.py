"""Probe results and records of evaluations that are easy to work out by hand."""

from dataclasses import asdict

import numpy as np

from coala_jax.evaluation import published
from coala_jax.evaluation.probe_result import ProbeResult, differences

LABELS = ("dog", "rain", "siren")


def nearest_mean(train, classes, test, class_count, seeds):
    """A head that needs no training; an odd seed shifts its answers by one class."""
    means = np.stack([train[classes == place].mean(axis=0) for place in range(class_count)])
    answers = np.linalg.norm(test[:, None] - means, axis=2).argmin(axis=1)
    return np.stack([(answers + seed % 2) % class_count for seed in seeds]).astype(np.int32)


def probe_result(task="birds", model="A", head="mlp", right=(8,), clips=10, classes=3):
    """Clips of the classes in turn in one fold; of each seed so many clips, the first, are right.

    A wrong clip is taken for the next class.
    """
    true = np.arange(clips) % classes
    hits = np.arange(clips) < np.array(right)[:, None]
    predicted = np.where(hits, true, (true + 1) % classes)
    return ProbeResult.measure(task, model, head, classes, [(true, predicted)])


def task(name="birds", labels=LABELS, title="", majority=0.4, clips=10):
    """The record of a task; its map has the clips on a line."""
    places = [place % len(labels) for place in range(clips)]
    return {
        "name": name,
        "root": f"/data/{name}",
        "title": title or name,
        "digest": "d" * 64,
        "clips": clips,
        "folds": [{"name": "test", "train": 20, "test": clips}],
        "labels": list(labels),
        "tested": np.bincount(places, minlength=len(labels)).tolist(),
        "majority": majority,
        "chance": 1 / len(labels),
        "left_out": {"test": ["a.wav"]},
        "remarks": ["no test clips of: frog"],
        "map": {
            "points": [[float(x), 0.0] for x in range(clips)],
            "labels": [labels[place] for place in places],
        },
    }


def correlations(start, descriptors=("mfcc", "chromagram", "spectral_centroid"), components=24):
    """Values from `start` in steps of .02, each with a baseline half as high."""
    values = {
        descriptor: {s: start + 0.02 * (3 * row + place) for place, s in enumerate(STATISTICS)}
        for row, descriptor in enumerate(descriptors)
    }
    baselines = {d: {s: value / 2 for s, value in row.items()} for d, row in values.items()}
    sizes = {"sounds": 249, "dimensions": 1152, "components": components}
    return {"values": values, "baselines": baselines} | sizes


STATISTICS = ("mean", "var", "skew")
GTZAN = {
    "paper_percent": published.ACCURACIES_PERCENT["gtzan"],
    "released": {one: {"mean": 0.6073, "low": 0.5994, "high": 0.6151} for one in published.CASES},
    "literature_percent": {"rVGG": 59.7, "sampleCNN": 82.1},
}


def record(outcomes=(), tasks=(), cases=None, correlations=None, layers=()):
    """The record that these figures would have.

    cases: by a model's name, in the models' order; by default models of no published case.
    layers: names of the models of that pooling; the others have the mean.
    """
    cases = cases or dict.fromkeys([one.model for one in outcomes] or correlations, "")
    settings = {"policy": "paper", "seed": 0, "seeds": [0, 1]}
    return {
        "kind": "evaluation",
        "format": 1,
        "command": "python -m coala_jax.evaluation.run --model A",
        "device": "cpu",
        "versions": {"python": "3.12"},
        "settings": settings | {"heads": list(dict.fromkeys(one.head for one in outcomes))},
        "models": [
            {
                "name": name,
                "case": case,
                "digest": name[0] * 64,
                "level": "recorded",
                "pooling": "layers" if name in layers else "mean",
            }
            for name, case in cases.items()
        ],
        "tasks": list(tasks),
        "outcomes": [one.to_dict() for one in outcomes],
        "differences": [asdict(one) for one in differences(outcomes, next(iter(cases)), 0)],
        "correlations": correlations or {},
        "published": {
            "cases": published.CASES,
            "tasks": {"gtzan": GTZAN} if any(one["name"] == "gtzan" for one in tasks) else {},
            "correlations": published.CORRELATIONS if correlations else {},
        },
    }
