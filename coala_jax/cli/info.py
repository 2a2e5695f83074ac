"""Says what a folder is: a dataset, a training run or a model, and how it was made.

    coala info
    coala info runs/mine/model
    coala info dataset/mine --json

Without a folder it describes the built-in model, which comes with the package. Descriptions are
read, and neither sounds nor weights; `coala verify` checks those.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coala_jax import storage
from coala_jax.flags import Parser, run
from coala_jax.models.default import default_model_folder

PROGRAM = "coala info"
# By kind, the file that a folder of it has.
FILES = {"dataset": "manifest.json", "model": "model.json", "run": "config.json"}
# Keys of a model's description that are summed up or too long to show.
_SUMMED_UP = {"variables", "vocabulary", "tag_counts", "scaler", "bank", "config", "front_end"}


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="a dataset, a run or a model (the built-in model)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def kind_of(folder: Path) -> str:
    """dataset, model or run.

    Raises:
        ValueError: the folder is none of these, or there is none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Fix: correct the path")
    for kind, file in FILES.items():
        if (folder / file).is_file():
            return kind
    files = ", ".join(f"{file} (a {kind})" for kind, file in FILES.items())
    raise ValueError(f"{folder}: it has none of {files}. Fix: name the folder that has one")


def describe(folder: Path) -> dict[str, Any]:
    """What the folder is, by name.

    Raises:
        ValueError: the folder is no dataset, run or model, or its description is damaged.
    """
    kind = kind_of(folder)
    describers = {"dataset": _dataset, "model": _model, "run": _run}
    try:
        found = describers[kind](folder)
    except (KeyError, TypeError, AttributeError) as error:
        file = folder / FILES[kind]
        raise ValueError(f"{file}: invalid ({error!r}). Fix: copy the {kind} again") from error
    return {"kind": kind, "folder": str(folder), **found}


def _dataset(folder: Path) -> dict[str, Any]:
    from coala_jax.data import schema  # half a second to import

    manifest = schema.Manifest.load(folder)
    splits = manifest.preparation.get("splits", {})
    return {
        "corpus": manifest.name,
        "sounds": {split: count["sounds"] for split, count in splits.items()},
        "patches": manifest.counts,
        "tags": len(manifest.vocabulary),
        "tag_processing": manifest.tag_processing,
        "front_end": manifest.front_end,
        "settings": {k: v for k, v in manifest.settings.items() if not isinstance(v, dict)},
        "scaler": manifest.scaler,
        "digest": manifest.digest,
        "made_from": manifest.fingerprint,
        "format": schema.FORMAT,
    }


def _model(folder: Path) -> dict[str, Any]:
    file = folder / FILES["model"]
    description = storage.read_json(file)
    if not storage.is_sealed(storage.read_bytes(file).decode(), description["digest"]):
        raise ValueError(f"{file}: damaged or edited. Fix: copy the model again")
    filters, counts = description["config"]["model"]["filters"], description["tag_counts"]
    by_count = sorted(zip(counts, description["vocabulary"], strict=True), reverse=True)
    rest = {key: value for key, value in description.items() if key not in _SUMMED_UP}
    bank = description["bank"] or {}
    return {
        "case": rest.pop("case"),
        "filters": filters,
        "embedding_values": filters * (30 if description["pooling"] == "layers" else 9),
        "tags": len(counts),
        "most_frequent_tags": [tag for _, tag in by_count[:5]],
        "front_end": description["front_end"],
        "size_bytes": sum(part.stat().st_size for part in folder.glob("*.safetensors")),
        "bank": {key: value for key, value in bank.items() if key != "sha256"} or None,
        **rest,
    }


def _run(folder: Path) -> dict[str, Any]:
    config = storage.read_json(folder / FILES["run"])
    found = {
        "case": config["case"],
        "filters": config["model"]["filters"],
        "epochs": config["train"]["epochs"],
        "dataset": config["data"]["path"],
        "dataset_digest": config["data_digest"],
    }
    if (folder / "results.json").exists():
        record = storage.read_json(folder / "results.json")
        names = ("corpus", "sounds", "tags", "epochs", "command", "device", "versions")
        found |= {"state": "finished", **{name: record[name] for name in names}}
    else:
        metrics = folder / "metrics.jsonl"
        entries = storage.read_json_lines(metrics, "epoch") if metrics.exists() else []
        done = entries[-1]["epoch"] if entries else 0
        found["state"] = f"not finished, {done} of {found['epochs']} epochs done"
    if (folder / "model" / FILES["model"]).exists():
        model = describe(folder / "model")
        found |= {"model": model["folder"], "model_digest": model["digest"]}
        found["front_end"] = model["front_end"]
    return found


def text_of(described: Mapping[str, Any]) -> str:
    """A line for each thing that is known."""
    lines = {key.replace("_", " "): _words(value) for key, value in described.items()}
    width = max(map(len, lines))
    return "\n".join(f"{key:{width}}  {value}" for key, value in lines.items() if value)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 10 else f"{len(value)} values"
    return "" if value is None else str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        described = describe(flags.folder or default_model_folder())
        print(storage.json_text(described).rstrip() if flags.json else text_of(described))

    return run(PROGRAM, work)
