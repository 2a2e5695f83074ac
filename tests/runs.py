"""Whole runs of training: how they are configured, interrupted and compared."""

from pathlib import Path

from coala_jax.training import loop, metric_writer
from tests.synthetic import tiny_config


class Interrupted(Exception):
    """In the place of a kill."""


def config_for(dataset: Path, **changes):
    return tiny_config(data__path=str(dataset), **changes)


def interrupt_after(workdir: Path, entries: int):
    """An `evaluate_fn` that interrupts the run once its metrics have this many entries."""

    def evaluate_fn(model):
        if len(metric_writer.read(workdir)) == entries:
            raise Interrupted
        return loop.EvalResult({"score": 0.5})

    return evaluate_fn


def lasting(entries: list[dict]) -> list[dict]:
    """The entries without what the clock says."""
    return [{k: v for k, v in entry.items() if "second" not in k} for entry in entries]


def leftovers(workdir: Path) -> tuple[list[dict], bytes, str]:
    """What a run leaves that depends on nothing but its settings: metrics, weights, description."""
    model = workdir / "model"
    weights, about = model / "model.safetensors", model / "model.json"
    return lasting(metric_writer.read(workdir)), weights.read_bytes(), about.read_text()
