"""The built-in model: trained by the recipe on the free corpus, evaluated, with its card.

    python -m experiments.default_model --out=runs/default            # an hour on 2 cores
    python -m experiments.default_model --out=runs/default --install  # into coala_jax/weights, too

Makes the free corpus and a dataset of it, trains `configs/free.py`, keeps what using the model
needs in float16, and evaluates it on the proxy tasks beside its untrained self and MFCCs. Each step
is a program of this project, whose command is logged; a training that was stopped goes on. Leaves
the model with its card in OUT/model, and the record in OUT/results.json.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from absl import logging

from coala_jax import storage
from coala_jax.flags import Parser
from coala_jax.models.pretrained import PretrainedModel
from experiments import development, heard, model_card, own_speed, programs, scores

PROGRAM = "experiments.default_model"
TASKS = ("instruments", "events")
NAME, UNTRAINED, BASELINES = "coala_jax", "untrained", {"MFCC": "mfcc", "MFCC, peak": "mfcc:peak"}
SETTINGS = {
    "train.keep_epoch": "last",  # as in the recipe's experiments, where no epoch was chosen
    "eval.every_epochs": 0,
    "bank.entries": 1500,  # what fits into the package
}
MOST_BYTES = 6_000_000
INSTALLED = programs.ROOT / "coala_jax" / "weights"


def default_model(flags: argparse.Namespace) -> dict[str, Any]:
    """Does what is not done yet; returns the record.

    Raises:
        RuntimeError: a program failed; it has said why.
        ValueError: the model is too large for the package.
    """
    out, run = flags.out, flags.out / "run"
    programs.make_corpus(out / "corpus")
    programs.make_dataset(out / "corpus", out / "dataset", "--level=peak")
    programs.train(run, out / "dataset", "free", SETTINGS)
    model = PretrainedModel.load(run / "model").slim()
    _save(model, out / "model")
    known = out / "results.json"
    record = storage.read_json(known) if known.exists() else {}
    if record.get("digest") != model.digest:
        record = _measure(out, model, storage.read_json(run / "results.json"))
    for folder in (out / "model", *([INSTALLED] if flags.install else [])):
        _save(model, folder)
        storage.write_text(folder / "README.md", model_card.markdown(record))
        logging.info("%s has the model and its card", folder)
    return record


def _measure(out: Path, model: PretrainedModel, trained: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a model in OUT/model, by all evaluations."""
    programs.program("coala_jax.data_prep.proxy_tasks", f"--out={out / 'tasks'}")
    tasks = [out / "tasks" / task for task in TASKS]
    rows = _rows(out / "model")
    models = {name: spec for row in rows.values() for name, spec in row.items()}
    evaluation = programs.evaluate(out / "evaluation", out / "work", models, tasks)
    files = [f for task in tasks for f in sorted((task / "audio").rglob("*")) if f.is_file()]
    clips = {storage.file_sha256(file): file for file in files}
    told = ("sounds", "epochs", "device", "versions", "retrieval", "bank")
    return {
        "digest": model.digest,
        "files": {file.name: file.stat().st_size for file in sorted((out / "model").iterdir())},
        "case": model.case,
        "filters": model.config["model"]["filters"],
        "tags": len(model.vocabulary),
        "training": {
            **{key: trained[key] for key in told},
            "minutes": programs.minutes(out / "run"),
            "dataset": model.dataset_digest,
        },
        "sources": sources(out / "corpus"),
        "speed": own_speed.measure_all({NAME: f"{out / 'model'}"}, clips, out / "speed")[NAME],
        "accuracies": _accuracies(evaluation, rows),
        "confused": {task: heard.confused(evaluation, task, f"{NAME}, layers") for task in TASKS},
        "heard": heard.tags_of_sounds(out / "model", out / "corpus", out / "dataset"),
    }


def _save(model: PretrainedModel, folder: Path) -> None:
    """Writes a model, whose size is checked."""
    model.save_pretrained(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > MOST_BYTES:
        raise ValueError(
            f"{folder}: {size:,} bytes, more than the package's {MOST_BYTES:,}. Fix: fewer entries "
            "of the bank"
        )


def sources(corpus: Path) -> dict[str, dict[str, Any]]:
    """By package: how many sounds, and under which licences."""
    found: dict[str, dict[str, Any]] = {}
    for row in development.read_sounds(corpus):
        one = found.setdefault(row["source"], {"sounds": 0, "licences": []})
        one["sounds"] += 1
        one["licences"] = sorted({*one["licences"], row["licence"]})
    return dict(sorted(found.items()))


def _rows(model: Path) -> dict[str, dict[str, str]]:
    """What is compared: by row, the specs by name."""
    untrained = {f"{UNTRAINED} #{seed}": f"untrained:{model}:{seed}" for seed in (1, 2)}
    baselines = {name: {name: spec} for name, spec in BASELINES.items()}
    return {NAME: {NAME: f"{model}"}, UNTRAINED: untrained, **baselines}


def _accuracies(
    evaluation: Mapping[str, Any], rows: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """By row, task and pooling: the score, and how far the model is above it."""
    found: dict[str, Any] = {}
    for row, task, pooling in product(rows, TASKS, scores.POOLINGS):
        score = scores.read(evaluation, task, rows[row], pooling)
        entry = score.to_dict()
        if row != NAME:
            ours = scores.read(evaluation, task, rows[NAME], pooling)
            entry["below"] = ours.minus(score)
        found.setdefault(row, {}).setdefault(task, {})[pooling] = entry
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """The page of what it hears: tags of sounds and mix-ups."""
    heard = record["heard"]
    lines = [["sound", "its tags", "the five that the model gives"]]
    for one in heard["sounds"]:
        said = [f"**{t}** {s:.2f}" if t in one["tags"] else f"{t} {s:.2f}" for t, s in one["heard"]]
        lines.append([f"`{one['file']}`", ", ".join(one["tags"]), ", ".join(said)])
    parts = [programs.table(lines)]
    for task, found in record["confused"].items():
        rows = [[label, f"{100 * share:.0f} %"] for label, share in found["right"].items()]
        parts.append(programs.table([[task, "of its clips right"], *rows]))
        rows = [[label, said, f"{100 * share:.0f} %"] for label, said, share in found["mixed_up"]]
        parts.append(programs.table([[task, "heard as", "of its clips"], *rows]))
    return "\n".join(parts)


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for all of it (4 GB)"
    )
    parser.add_argument(
        "--install", action="store_true", help="put the model into coala_jax/weights, too"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = parser().parse_args(argv)
    flags.out = flags.out.resolve()
    return programs.record_results(PROGRAM, argv, flags, default_model, markdown)


if __name__ == "__main__":
    sys.exit(main())
