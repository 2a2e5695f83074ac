"""The metrics of a run: `metrics.jsonl`, one JSON object per line, and TensorBoard events."""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.training import parallel
from coala_jax.training.event_file import EventFile

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Samples:
    """What a model makes of a few validation sounds.

    tags: of each sound, its file, its own tags and those that the model gives it.
    picture: patches above their reconstructions, values in [0, 1]; None without a decoder.
    """

    tags: list[dict[str, object]]
    picture: Float32[np.ndarray, "row column"] | None = None


class MetricWriter:
    """Appends metrics; a resumed run first drops the entries after its checkpoint.

    Only the lead process writes.

    Args:
        step: the last one whose entries are kept.
        epochs: that the checkpoint has done, whose entries were on the disk before it.
    """

    def __init__(self, workdir: Path, step: int, epochs: int = 0) -> None:
        self._writing = parallel.is_lead()
        if not self._writing:
            return
        self._path = workdir / METRICS
        before = read(workdir) if self._path.exists() else []
        kept = [entry for entry in before if entry["step"] <= step]
        ends = {entry.get("epoch") for entry in kept if entry.get("kind") == "validation"}
        if epochs and epochs not in ends:
            logging.warning(
                "%s: the metrics of epoch %d are missing; the run goes on without them",
                *(self._path, epochs),
            )
        storage.write_text(self._path, "".join(map(storage.json_line, kept)))
        self._file = storage.path(self._path).open("a")
        self._events = EventFile(workdir / "tensorboard", first_step=step + 1)

    def write(self, kind: str, epoch: int, step: int, figures: dict[str, float]) -> None:
        """`kind` is train or validation; `figures` are means over the epoch or the split."""
        if not self._writing:
            return
        self._append({"kind": kind, "epoch": epoch, "step": step, **figures})
        for name, value in figures.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)

    def write_samples(self, epoch: int, step: int, samples: Samples | None) -> None:
        """What the model makes of a few validation sounds, to look at."""
        if not self._writing or samples is None:
            return
        self._append({"kind": "samples", "epoch": epoch, "step": step, "sounds": samples.tags})
        rows = [f"| {' | '.join(map(_cell, sound.values()))} |" for sound in samples.tags]
        if rows:
            header = [f"| {' | '.join(samples.tags[0])} |", "|---" * len(samples.tags[0]) + "|"]
            self._events.add_text("samples/tags", "\n".join(header + rows), step)
        if samples.picture is not None:
            self._events.add_image("samples/spectrograms", samples.picture, step)

    def sync(self) -> None:
        """Waits until all that was written is on the disk."""
        if self._writing:
            os.fsync(self._file.fileno())
            self._events.sync()

    def _append(self, entry: dict[str, object]) -> None:
        line = storage.json_line(entry)
        with storage.explaining_full_disk(self._path, len(line)):
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        if self._writing:
            with closing(self._events), storage.explaining_full_disk(self._path, 0):
                self._file.close()


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|")


def read(workdir: Path) -> list[dict]:
    """The entries of a run's metrics.jsonl, without a last line that was cut off.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is damaged; the message names it.
    """
    path = workdir / METRICS
    entries = storage.read_json_lines(path, "step")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry["step"], int):
            raise ValueError(
                f"{path}, line {number}: its step is no whole number. Fix: copy the file again, or "
                "delete the line to go on without it"
            )
    return entries
