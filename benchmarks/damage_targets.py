"""What `benchmarks.damage` damages: a tiny project, and how each part of it is read."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TARGETS = ("dataset", "checkpoint", "model", "records", "index")
_TRAIN, _VALIDATION, _TAGS = 16, 6, 5


class Target(NamedTuple):
    """A part of the project.

    read: as the commands do; a digest of all that they have then. Raises what they turn into a
        sentence.
    reads: whether a file of the folder is read at all.
    """

    name: str
    folder: Path
    read: Callable[[], str]
    reads: Callable[[Path], bool] = lambda path: True


def build(folder: Path, only: Sequence[str] | None = None) -> list[Target]:
    """Makes the project in a folder; takes a minute or two, for compiling."""
    dataset_folder, workdir = folder / "dataset", folder / "run"
    config, model = _train(dataset_folder, workdir)
    targets = {
        "dataset": lambda: dataset(dataset_folder),
        "checkpoint": lambda: checkpoint(config, workdir),
        "model": lambda: pretrained_model(workdir / "model"),
        "records": lambda: records(workdir),
        "index": lambda: index(folder, model),
    }
    return [targets[name]() for name in only or TARGETS]


def _train(dataset_folder: Path, workdir: Path) -> tuple[Any, Path]:
    import coala_jax
    from benchmarks.random_dataset import RandomSounds
    from coala_jax.audio.frontend import FrontEnd
    from coala_jax.data.dataset import write_dataset

    dataset_folder.mkdir()
    write_dataset(
        dataset_folder,
        name="random",
        fingerprint="random numbers",
        front_end=FrontEnd().to_dict(),
        vocabulary=[f"tag{number}" for number in range(_TAGS)],
        splits={
            "train": RandomSounds(_TRAIN, _TAGS, seed=0),
            "validation": RandomSounds(_VALIDATION, _TAGS, seed=1),
        },
        scaling="global",  # or the model would take no sounds, which the index holds
    )
    config = coala_jax.get_config()
    config.data.path, config.train.epochs, config.eval.every_epochs = str(dataset_folder), 1, 1
    config.case, config.model.filters, config.model.tag_hidden = "e_c", 2, 8
    config.train.batch_size, config.report.reconstructions = 8, 0
    coala_jax.train(config, workdir)
    return config, workdir / "model"


def dataset(folder: Path) -> Target:
    """As training reads it, after `coala verify`."""
    from coala_jax.data.dataset import SplitReader
    from coala_jax.data.schema import SPLITS
    from coala_jax.data.verify import verify

    def read() -> str:
        report = verify(folder)
        if report.problems:
            raise ValueError(str(report))
        digest = hashlib.sha256()
        for split in SPLITS:
            for example in SplitReader(folder, split):
                digest.update(example.patch.tobytes() + example.tags.tobytes())
                digest.update(f"{example.id} {example.frame} {example.group}".encode())
        return digest.hexdigest()

    return Target("dataset", folder, read)


def checkpoint(config: Any, workdir: Path) -> Target:
    """As a run does that resumes."""
    import jax

    from coala_jax.training import best, parallel
    from coala_jax.training.checkpoint import Checkpoints, Progress
    from coala_jax.training.setup import start_run

    run, state = start_run(config, parallel.run_devices(None))
    del run

    def read() -> str:
        checkpoints = Checkpoints(workdir, config.checkpoint.keep)
        try:
            progress = checkpoints.restore_latest(Progress(state, best.no_model(state)))
        finally:
            checkpoints.close()
        if int(progress.state.step) == 0:
            raise ValueError(f"{workdir}: no checkpoint any more, training would begin anew")
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(jax.device_get(progress)):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()

    return Target("checkpoint", workdir / "checkpoints", read)


def pretrained_model(folder: Path) -> Target:
    from coala_jax.models.pretrained import PretrainedModel

    return Target("model", folder, lambda: PretrainedModel.load(folder).digest)


def records(workdir: Path) -> Target:
    """What `coala info` and the reports show of a run."""
    from coala_jax import storage
    from coala_jax.reporting import training_report

    names = ("results.json", "metrics.jsonl")

    def read() -> str:
        record = storage.read_json(workdir / names[0])
        shown = training_report.read_entries(workdir, record)
        lines = storage.read_json_lines(workdir / names[1], "kind")
        return json.dumps([record, shown, lines], sort_keys=True)

    return Target("records", workdir, read, lambda path: path.name in names)


def index(folder: Path, model: Path) -> Target:
    """An index as `coala search` and `coala similar` read it, of sounds of which one has gone."""
    import soundfile

    from coala_jax.embedding.index import Index
    from coala_jax.embedding.index_store import vectors_of

    sounds, out = folder / "sounds", folder / "sounds.index"
    sounds.mkdir()
    for number in range(12):  # of so many LanceDB keeps one deleted row, and notes it in a file
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 11_000)
        soundfile.write(sounds / f"{number}.wav", noise * np.hanning(11_000), 22_000)
    Index.build(sounds, model, out)
    (sounds / "11.wav").unlink()
    Index.build(sounds, model, out)

    def read() -> str:
        found = Index(out)
        store, digest = found._store, hashlib.sha256()
        rows = store.take(list(range(1_000)), store.schema.names)
        for name in store.schema.names:
            values = rows[name]
            if hasattr(values.type, "list_size"):
                digest.update(vectors_of(rows, name).tobytes())
            else:
                digest.update(repr(values.to_pylist()).encode())
        for hit in found.similar(sounds / "0.wav"):
            digest.update(repr(hit).encode())
        for hit in found.search("tag0"):
            digest.update(repr(hit).encode())
        return digest.hexdigest()

    return Target("index", out, read)
