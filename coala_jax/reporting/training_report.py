"""Renders a training run: report.md and plots from its results.json and metrics.jsonl."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from coala_jax import storage
from coala_jax.reporting import embedding_map, style, training_plots
from coala_jax.reporting.markdown import escape

FORMAT = 2  # of results.json
CONTENTS = {
    "report.md": "retrieval, plots and provenance, to read",
    "training_curves.png": "losses and retrieval by epoch",
    "reconstructions.png": "validation sounds beside what the decoder returns",
    "embedding_map.png": "near is alike; the colour is the rarest of a sound's common tags",
    "results.json": "the figures of the report, for programs",
    "reconstructions.npz": "the arrays of reconstructions.png",
    "metrics.jsonl": "the figures of every epoch, one JSON object a line",
    "tensorboard": "the same for TensorBoard",
    "model": "the pretrained model, with the training sounds whose tags vote",
}
MEASURES = {"macro_auc": "macro AUC", "mrr": "MRR", "map": "MAP", "recall_at_10": "recall@10"}
_RECORD = """\
{case} on {corpus}: {sounds[train]} sounds to train on, {sounds[validation]} for validation,
{tags} tags.{weighted} Trained on {device} with {software} by

    {command}

## Tag retrieval on {kept[reported_sounds]} validation sounds, epoch {kept[epoch]}

{choice}

{table}

All measures are between 0 and 1, higher is better:

- macro AUC: for a tag, the probability that a sound with it scores higher than one without it;
  the mean over tags.
- MRR: a sound ranks all tag sets; the mean reciprocal rank of its own.
- MAP: a sound ranks all tags; the mean average precision of its own.
- recall@10: the share of a sound's tags among its ten highest.

`untrained` is the same architecture with random weights, `chance` the expectation over random
rankings, `popularity` ranks the tags of every sound by how common they are in training.{vote}"""
_WEIGHTED = " Each epoch draws the sounds to train on by their sources: {}; others once."
_VOTE = """

`trained` ranks tags by their cosine with the sound. `vote` is of the same model: a tag's score is
its share among the training sounds near the sound, softmax(cosine / {temperature:g}) over
{entries} entries. Left out of that vote are {near_duplicates} training sounds that are copies of
validation sounds, or nearly. Of the two, {best_for_search} has the better macro AUC and is noted
in the model for searches by tags."""


def render(workdir: Path) -> list[Path]:
    """Writes report.md and the plots; of an unfinished run, what metrics.jsonl gives.

    Raises:
      OSError: a file cannot be read or written.
      ValueError: a record is damaged, of another format, or there is nothing in it yet.
    """
    record, results = None, workdir / "results.json"
    if results.exists():
        record = storage.read_json(results)
        if record["format"] != FORMAT:
            raise ValueError(
                f"{results}: format {record['format']}; this version reads {FORMAT}. Fix: run the "
                "training command again, which then only evaluates"
            )
    entries = read_entries(workdir, record)
    with style.styled():
        figures = _figures(workdir, record, entries)
        for name, figure in figures.items():
            style.write(figure, workdir / name)
    last = {training_plots.KINDS[entry["kind"]][0]: entry for entry in entries}
    parts = [f"# Training run\n\nAfter {entries[-1]['epoch']} epochs: "]
    parts[0] += ", ".join(f"{kind} loss {entry['loss']:.4g}" for kind, entry in last.items()) + "."
    if record is None:
        parts.append("The run is not finished; its end writes the rest of this report.")
    else:
        if record["epochs"] < entries[-1]["epoch"]:
            parts.append(
                "Training goes on, or was interrupted: the model and what follows are of its first "
                f"{record['epochs']} epochs."
            )
        software = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        shown = {"software": software, "choice": choice(record), "table": table(record)}
        weights = record.get("source_weights")  # records of before there were any lack them
        shown["weighted"] = _WEIGHTED.format(escape(weights)) if weights else ""
        shown["vote"] = _VOTE.format(**bank) if (bank := record["bank"]) else ""
        shown["corpus"] = escape(record["corpus"])
        shown["command"] = " ".join(record["command"].split())
        parts.append(_RECORD.format(**record | shown))
    for name in figures:
        title = Path(name).stem.replace("_", " ").capitalize()
        parts.append(f"## {title}\n\n![{title}]({name})\n\n{title}: {CONTENTS[name]}.")
    storage.write_text(workdir / "report.md", "\n\n".join(parts) + "\n")
    return [workdir / name for name in ("report.md", *figures)]


def summary(record: Mapping[str, Any], workdir: Path) -> str:
    """What a finished run prints: the retrieval table, and the files with what each of them is."""
    paths = {workdir / name: what for name, what in CONTENTS.items() if (workdir / name).exists()}
    if not importlib.util.find_spec("tensorboard"):
        paths.pop(workdir / "tensorboard", None)
    width = max(len(str(path)) for path in paths)
    files = [f"  {path!s:<{width}}  {what}" for path, what in paths.items()]
    heading = f"Retrieval on {record['kept']['reported_sounds']} validation sounds of"
    lines = [f"{heading} {record['corpus']}:", "", table(record), "", choice(record), "", *files]
    return "\n".join(lines)


def choice(record: Mapping[str, Any]) -> str:
    """Which epoch's model is kept and why, and whether the table's sounds had a part in that."""
    kept, epochs = record["kept"], record["epochs"]
    chose, others = kept["selection_sounds"], kept["reported_sounds"]
    if kept["rule"] == "last":
        told = f"The model is that of the last epoch, {epochs}; the table is of all {others}\n"
        return told + "validation sounds."
    if kept["macro_auc"] is None:
        told = (
            f"The model is that of the last epoch, {epochs}: every tag has too few of the {chose}\n"
        )
        told += "validation sounds that would choose one by macro AUC."
    else:
        told = (
            f"The model is that of epoch {kept['epoch']} of {epochs}, which has the best macro AUC"
        )
        told += f" ({kept['macro_auc']:.3f})\non {chose} validation sounds."
    told += f" The table is of the other {others}, which had no\npart in the choice."
    if record["stopped_early"]:
        told += f" Training ended early: {kept['patience']} evaluations without a better one."
    return told


def table(record: Mapping[str, Any]) -> str:
    """Tag retrieval in Markdown, aligned for a terminal."""
    lines = [
        f"| {'':<10} | " + " | ".join(f"{title:>9}" for title in MEASURES.values()) + " |",
        f"|:{'-' * 11}|" + f"{'-' * 10}:|" * len(MEASURES),
    ]
    for who, figures in record["retrieval"].items():
        cells = ["-" if figures[name] is None else f"{figures[name]:.3f}" for name in MEASURES]
        lines.append(f"| {who:<10} | " + " | ".join(f"{cell:>9}" for cell in cells) + " |")
    if record["retrieval"]["trained"]["macro_auc"] is None:
        lines += ["", "No macro AUC: every tag has too few validation sounds. Fix: prepare more "]
        lines[-1] += "sounds, or a larger --validation_fraction."
    return "\n".join(lines)


def read_entries(workdir: Path, record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The figures of each epoch; a last line that is still being written is left out.

    Args:
        record: of a finished run, whose last epoch must be there.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is damaged, or lines are missing.
    """
    path = workdir / "metrics.jsonl"
    entries = storage.read_json_lines(path, "kind")
    entries = [entry for entry in entries if entry["kind"] in training_plots.KINDS]
    if not entries:
        raise ValueError(f"{path}: no epoch yet. Fix: render again when one has ended")
    ends = {entry["epoch"] for entry in entries if entry["kind"] == "validation"}
    if record is not None and record["epochs"] not in ends:
        raise ValueError(
            f"{path}: cut: the run has {record['epochs']} epochs, and the figures of the last are "
            "missing. Fix: copy the file again, or train again in another folder"
        )
    return entries


def _figures(
    workdir: Path, record: Mapping[str, Any] | None, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Figure]:
    """By file name, in the order of the report."""
    figures = {"training_curves.png": training_plots.curves_figure(entries)}
    if record and (kept := record["reconstructions"]):
        arrays = storage.read_arrays(workdir / kept["arrays"])
        if arrays is None:
            raise ValueError(
                f"{workdir / kept['arrays']}: missing or damaged. Fix: run the training command "
                "again, which then only evaluates"
            )
        figures["reconstructions.png"] = training_plots.reconstruction_figure(
            arrays["patches"],
            arrays["reconstructed"],
            [Path(name).stem for name in kept["ids"]],
            [", ".join(tags) for tags in kept["tags"]],
            kept["frame_seconds"],
        )
    if record and (found := record["map"]):
        figures["embedding_map.png"] = embedding_map.map_figure(
            np.array(found["points"], dtype=np.float64),
            embedding_map.tag_classes(found["tags"]),
            f"Embedding map: {len(found['points'])} validation sounds of {record['corpus']}",
            "no common tag",
        )
    return figures
