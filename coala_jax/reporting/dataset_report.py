"""Renders the report of a dataset from the record of its preparation in `manifest.json`.

For people who ask what was kept and dropped, and whether the dataset is worth training on. The
report holds no dates, times or paths: equal records give equal bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coala_jax import storage
from coala_jax.reporting import style
from coala_jax.reporting.dataset_plot import draw, label, most_frequent
from coala_jax.reporting.markdown import escape

MANIFEST, REPORT, FIGURE = "manifest.json", "report.md", "report.png"
PAPER_TRAINING_SOUNDS = 170_906
# What is remarked on.
DROPPED = 0.05  # of the sounds listed, in one stage
FEW_TRAINING_SOUNDS, FEW_VALIDATION_GROUPS = 1000, 10
FRACTION_OFF = 0.02  # of validation
COMMON = 0.5  # of the sounds have the tag
BEYOND_FULL_SCALE = 1.5  # a decoded mp3 or ogg may overshoot 1 by a little
TAGS_LISTED, TAGS_NAMED = 20, 5
STAGES = {
    "excluded": "excluded by id",
    "untagged": "without a tag of the vocabulary (untagged.csv)",
    "failed": "not decoded (failures.csv)",
    "copies": "in validation, copies of training sounds (failures.csv)",
}
LEFT_OUT = {
    "too_frequent": "too frequent",
    "too_rare": "too rare",
    "beyond_vocabulary_size": "beyond the size of the vocabulary",
}


def render(dataset: Path) -> list[Path]:
    """Writes `report.md` and `report.png` into the dataset's folder; returns their paths.

    Raises:
        OSError: there is no manifest.
        ValueError: the manifest is not valid JSON, or has no valid record of a preparation.
    """
    manifest = storage.read_json(dataset / MANIFEST)
    if not (isinstance(manifest, dict) and manifest.get("preparation")):
        raise ValueError(
            f"{dataset / MANIFEST}: no record of a preparation. Fix: make the dataset with "
            "coala prepare"
        )
    try:
        text = markdown(manifest)
        with style.styled():
            style.write(draw(manifest), dataset / FIGURE)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{dataset / MANIFEST}: invalid record of a preparation ({error!r}). Fix: prepare the "
            "dataset again"
        ) from error
    storage.write_text(dataset / REPORT, text)
    return [dataset / REPORT, dataset / FIGURE]


def markdown(manifest: dict[str, Any]) -> str:
    """The text of `report.md`."""
    record = manifest["preparation"]
    parts = [
        f"# Dataset {_escape(manifest['name'])}",
        _overview(manifest),
        "## Remarks",
        "\n".join(f"- {remark}" for remark in remarks(manifest) or ["No problems found."]),
        f"![Most frequent tags, durations, split of each tag]({FIGURE})",
        "## Sounds",
        _table(("", "sounds", "share"), _stages(record)),
        *_splits(record),
        *_sources(record),
        "## Durations",
        *_durations(record),
        f"## Tags{_first(TAGS_LISTED, len(manifest['vocabulary']))}",
        *_tags(manifest),
        "## Settings",
        ", ".join(_settings(manifest["settings"] | {"front_end": manifest["front_end"]})),
    ]
    return "\n\n".join(parts) + "\n"


def remarks(manifest: dict[str, Any]) -> list[str]:
    """What may be wrong with the dataset, one sentence each."""
    record = manifest["preparation"]
    sounds, groups = record["sounds"], record["splits"]["validation"]["groups"]
    train, validation = (record["splits"][split]["sounds"] for split in ("train", "validation"))
    found = [
        f"{_percent(sounds[stage], sounds['listed'])} of the sounds are {what}."
        for stage, what in STAGES.items()
        if stage != "excluded" and sounds[stage] > DROPPED * sounds["listed"]
    ]
    if train < FEW_TRAINING_SOUNDS:
        found.append(f"Few training sounds: {train:,}; the paper had {PAPER_TRAINING_SOUNDS:,}.")
    wanted = record["wanted_fraction"]
    # Rounded, since 0.12 - 0.1 is more than 0.02 in floating point.
    if round(abs(validation / sounds["kept"] - wanted), 9) > FRACTION_OFF:
        found.append(
            f"Validation has {_percent(validation, sounds['kept'])} of the sounds, not "
            f"{_percent(wanted)}: groups are too large, or sounds too few."
        )
    if groups < FEW_VALIDATION_GROUPS:
        found.append(f"Few groups in validation: {groups:,}; its metrics depend on the choice.")
    if manifest["settings"].get("level") != "peak" and _loudest(record)[1] > BEYOND_FULL_SCALE:
        file, peak = _loudest(record)
        found.append(
            f"{_escape(file)} reaches {peak:.4g}, where full scale is 1: such a sound may set the "
            "range that scales all patches."
        )
    short = record["seconds"]["shorter_than_patch"]
    if short > sounds["kept"] / 2:
        found.append(f"{_percent(short, sounds['kept'])} of the sounds are shorter than a patch.")
    tags = most_frequent(manifest["vocabulary"], record["tag_sounds"])
    found += [
        f"The tag {_escape(tag)} is on {_percent(t + v, sounds['kept'])} of the sounds."
        for tag, t, v in tags
        if t + v > COMMON * sounds["kept"]
    ]
    for split, place in (("training", 1), ("validation", 2)):
        if absent := [row[0] for row in tags if not row[place]]:
            names = ", ".join(map(_escape, absent[:TAGS_NAMED]))
            more = f" and {len(absent) - TAGS_NAMED:,} more" if len(absent) > TAGS_NAMED else ""
            found.append(f"Tags without a {split} sound: {len(absent):,} ({names}{more}).")
    return found


def _overview(manifest: dict[str, Any]) -> str:
    record = manifest["preparation"]
    sounds, (low, high) = record["sounds"], record["value_range"]
    total = record["seconds"]["total"]
    unit, size = next(
        u for u in (("hours", 3600), ("minutes", 60), ("seconds", 0)) if total >= u[1]
    )
    tags = sum(number * count for number, count in enumerate(record["tags_per_sound"]))
    file, peak = _loudest(record)
    loudest = f" The loudest sound is {_escape(file)}, with a peak of {peak:.4g}." if file else ""
    return (
        f"{sounds['kept']:,} of {sounds['listed']:,} sounds kept "
        f"({_percent(sounds['kept'], sounds['listed'])}), {total / max(size, 1):,.1f} {unit}. "
        f"Size of the vocabulary: {len(manifest['vocabulary']):,}; tags per sound: "
        f"{tags / sounds['kept']:.1f} on average. "
        f"Log-mel values of the training patches: {low:.4g} to {high:.4g}.{loudest}"
    )


def _loudest(record: dict[str, Any]) -> tuple[str, float]:
    """File and peak of the loudest sound; datasets of before do not name it."""
    file, peak = record.get("loudest", ("", 0.0))
    return file, peak


def _stages(record: dict[str, Any]) -> Iterator[tuple]:
    sounds = record["sounds"]
    names = {"listed": "listed", **STAGES, "kept": "kept"}
    for stage, name in names.items():
        if sounds[stage]:
            errors = record["failures"].items() if stage == "failed" else ()
            causes = ", ".join(f"{count:,} {error}" for error, count in errors)
            share = _percent(sounds[stage], sounds["listed"])
            yield f"{name}: {causes}" if causes else name, sounds[stage], share


def _splits(record: dict[str, Any]) -> Iterator[str]:
    kept = record["sounds"]["kept"]
    rows = [
        (name, split["sounds"], _percent(split["sounds"], kept), split["patches"], split["groups"])
        for name, split in record["splits"].items()
    ]
    yield _table(("split", "sounds", "share", "patches", "groups"), rows)
    yield f"Wanted share of validation: {_percent(record['wanted_fraction'])}."


def _sources(record: dict[str, Any]) -> Iterator[str]:
    sources, count = record["sources"], record["source_count"]
    if count > 1:
        rows = [(name, *pair) for name, pair in sources.items()]
        yield _table((f"collection{_first(len(rows), count)}", "train", "validation"), rows)


def _durations(record: dict[str, Any]) -> Iterator[str]:
    seconds, kept = record["seconds"], record["sounds"]["kept"]
    names = [_percent(float(q)) for q in seconds["quantiles"]]
    values = [f"{value:,.4g}" for value in seconds["quantiles"].values()]
    yield _table(("quantile", *names), [("seconds", *values)])
    short, long = seconds["shorter_than_patch"], seconds["longer_than_clip"]
    yield (
        f"Shorter than a patch of {seconds['patch']:.3g} s: {_percent(short, kept)}. Longer than a "
        f"clip of {seconds['clip']:g} s: {_percent(long, kept)}."
    )


def _tags(manifest: dict[str, Any]) -> Iterator[str]:
    record = manifest["preparation"]
    rows = most_frequent(manifest["vocabulary"], record["tag_sounds"])[:TAGS_LISTED]
    yield _table(
        ("tag", "train", "validation", "validation share"),
        [(tag, train, held, _percent(held, train + held)) for tag, train, held in rows],
    )
    causes = [f"{n:,} {LEFT_OUT[cause]}" for cause, n in record["tags_left_out"].items() if n]
    if causes:
        yield f"Tags left out: {', '.join(causes)}."


def _settings(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")
        elif value != "":
            yield f"`{prefix}{key}={label(str(value), 80).replace('`', ' ')}`"


def _first(shown: int, count: int) -> str:
    return f" (the first {shown} of {count:,})" if count > shown else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; its first column is text, the others are numbers."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1)]
    for row in rows:
        lines.append([f"{c:,}" if isinstance(c, int) else _escape(str(c)) for c in row])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    return escape(label(text, 160))


def _percent(part: float | int, whole: float | int = 1) -> str:
    """Some are never rounded to none, nor most to all."""
    share = part / whole if whole else 0.0
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.3g} %"
