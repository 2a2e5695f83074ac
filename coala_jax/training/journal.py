"""What a run leaves to be read: `metrics.jsonl`, one JSON object a line, and TensorBoard events."""

import json
import sys
from pathlib import Path

from coala_jax.training import parallel

METRICS = "metrics.jsonl"


class Journal:
    """Appends figures; a run that goes on from a checkpoint first drops what came after it."""

    def __init__(self, workdir: Path, step: int) -> None:
        self._writing = parallel.is_lead()
        if not self._writing:
            return
        path = workdir / METRICS
        kept = [entry for entry in read(workdir) if entry["step"] <= step] if path.exists() else []
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        temporary.rename(path)
        self._file = path.open("a")
        self._board = _summary_writer()(str(workdir / "tensorboard"), purge_step=step + 1)

    def write(self, kind: str, epoch: int, step: int, figures: dict[str, float]) -> None:
        """`kind` is train or validation; the figures are means over the epoch or the split."""
        if not self._writing:
            return
        entry = {"kind": kind, "epoch": epoch, "step": step, **figures}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        if self._writing:
            self._file.close()
            self._board.close()


def _summary_writer() -> type:
    """tensorboardX's writer, without the PyTorch that it would load where that is installed.

    Imported here because it takes over a second, and only the lead process needs it.
    """
    hidden = sys.modules.setdefault("torch", None)
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden is None:
            del sys.modules["torch"]
    return SummaryWriter


def read(workdir: Path) -> list[dict]:
    """The entries of a run's metrics.jsonl; a last line that was cut off is left out."""
    entries = []
    for line in (workdir / METRICS).read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            entries.append(json.loads(line))
    return entries
