"""Makes regression_vectors.json: what a small model made of a few sounds when it was stored.

    python -m tests.regression_vectors

The test in unit/embedding/test_embedder.py compares. Make the file again only where vectors are
meant to change, and say in CHANGELOG.md that models of older versions give other vectors.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from coala_jax.embedding.embedder import Embedder
from tests.synthetic import tiny_model

FILE = Path(__file__).with_suffix(".json")


def sounds() -> dict[str, tuple[np.ndarray, int]]:
    """Samples and rate by name, without random numbers: of many rates, channels and lengths."""

    def sweep(seconds: float, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
        time = np.arange(round(seconds * rate_hz)) / rate_hz
        phase = 2 * np.pi * (low_hz * time + (high_hz - low_hz) * time**2 / (2 * seconds))
        return (0.6 * np.sin(phase) * np.exp(-time)).astype(np.float32)

    return {
        "one sample": (np.float32([0.5]), 22_000),
        "50 ms": (sweep(0.05, 22_000, 500, 900), 22_000),
        "silence": (np.zeros(22_000, np.float32), 22_000),
        "a patch and a half": (sweep(3.4, 22_000, 100, 8_000), 22_000),
        "8 kHz": (sweep(2.0, 8_000, 3_000, 200), 8_000),
        "stereo, 44.1 kHz": (
            np.stack([sweep(5.0, 44_100, 50, 15_000), sweep(5.0, 44_100, 9_000, 90)]),
            44_100,
        ),
    }


def vectors() -> dict[str, list[float]]:
    """By sound and method."""
    found = {}
    for level in ("recorded", "peak"):
        weights = tiny_model("ae_c", level=level)
        for stats in weights.variables["batch_stats"]["audio_encoder"].values():
            stats["var"] = np.full(2, 0.01, np.float32)  # or all sounds are nearly alike
        model = Embedder(weights)
        layers = Embedder(dataclasses.replace(weights, pooling="layers"))
        for name, (samples, rate_hz) in sounds().items():
            found[f"{name}, {level}"] = model.embed([samples], rate_hz)[0]
        found[f"layers, {level}"] = layers.embed([samples], rate_hz)[0]
        found[f"projected, {level}"] = model.project([samples], rate_hz)[0]
        found[f"at 2 s, {level}"] = model.embed_timestamps(samples, 1.0, rate_hz)[0][2]
    return {name: [round(float(value), 6) for value in row] for name, row in found.items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
