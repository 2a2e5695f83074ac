"""The record of a training run, made up: what reporting reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coala_jax import storage

FIGURES = {"macro_auc": 0.91234, "mrr": 0.5, "map": 0.25, "recall_at_10": 1.0, "sounds": 6}


def entries_of_run(
    epochs: int, losses: Sequence[str] = ("loss",), retrieval: bool = True
) -> list[dict]:
    """Lines of metrics.jsonl, all values different."""
    entries = []
    for epoch in range(1, epochs + 1):
        for kind, shift in (("train", 0.0), ("validation", 0.3)):
            values = {name: 10.0 * i + 5 / epoch + shift for i, name in enumerate(losses)}
            if retrieval and kind == "validation":
                values |= {"macro_auc": 0.5 + 0.001 * epoch, "mrr": 0.002 * epoch}
            entries.append({"kind": kind, "epoch": epoch, "step": 14 * epoch, **values})
    return entries


def write_metrics(workdir: Path, epochs: int) -> None:
    lines = [json.dumps(entry) + "\n" for entry in entries_of_run(epochs)]
    samples = {"kind": "samples", "epoch": epochs, "step": 14 * epochs, "sounds": []}
    (workdir / "metrics.jsonl").write_text("".join([*lines, json.dumps(samples) + "\n"]))


def write_record(workdir: Path, **changes: object) -> dict:
    """results.json, its arrays and metrics.jsonl of a run of two epochs with six sounds."""
    rng = np.random.default_rng(0)
    arrays = rng.random((2, 2, 96, 96), dtype=np.float32)
    storage.write_arrays(
        workdir / "reconstructions.npz", {"patches": arrays[0], "reconstructed": arrays[1]}
    )
    record = {
        "kind": "training",
        "format": 2,
        "corpus": "random",
        "case": "ae_c",
        "sounds": {"train": 54, "validation": 6},
        "source_weights": "",
        "tags": 3,
        "epochs": 2,
        "stopped_early": False,
        "kept": {
            "rule": "best",
            "epoch": 1,
            "macro_auc": 0.7314,
            "selection_sounds": 4,
            "reported_sounds": 2,
            "patience": 0,
        },
        "command": "python -m coala_jax.main --workdir=w",
        "retrieval": {
            "trained": FIGURES,
            **{
                who: {**FIGURES, "mrr": 0.125}
                for who in ("untrained", "vote", "chance", "popularity")
            },
        },
        "bank": {
            "entries": 54,
            "temperature": 0.1,
            "best_for_search": "vote",
            "near_duplicates": 3,
        },
        "device": "cpu",
        "versions": {"jax": "0.1"},
        "reconstructions": {
            "arrays": "reconstructions.npz",
            "frame_seconds": 0.02,
            "ids": ["a/kick.wav", "雨.wav"],
            "tags": [["drum"], ["bird", "$\\frac{$"]],
        },
        "map": {"points": rng.normal(size=(6, 2)).tolist(), "tags": [["drum"], ["bird"], []] * 2},
        **changes,
    }
    storage.write_json(workdir / "results.json", record)
    write_metrics(workdir, epochs=2)
    return record
