"""Outcomes whose figures are easy to work out by hand."""

import numpy as np

from coala_jax.evaluation.probe_result import ProbeResult

LABELS = ("dog", "rain", "siren")


def outcome(task="birds", model="A", head="mlp", right=8, seeds=2, clips=10):
    """Clips of three classes in turn in one round; each seed has the first ``right`` right."""
    true = np.arange(clips) % 3
    predicted = np.where(np.arange(clips) < right, true, (true + 1) % 3)
    return ProbeResult.measure(task, model, head, LABELS, [(true, np.stack([predicted] * seeds))])
