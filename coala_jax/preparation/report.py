"""The report that a preparation leaves in the dataset's folder: Markdown and one picture.

For a person who asks what became of the sounds, and whether the dataset is worth training on. No
dates, run times or paths of this machine: equal input gives equal bytes.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from coala_jax import storage
from coala_jax.preparation.report_picture import picture
from coala_jax.preparation.summary import (
    Summary,
    clean,
    known_seconds,
    most_frequent,
    number,
    percent,
    stages,
)
from coala_jax.reporting import style

REPORT, PICTURE = "report.md", "report.png"
PAPER_TRAINING_SOUNDS = 170_906
FEW_TRAINING_SOUNDS = 1000
FEW_GROUPS = 10  # of validation
WISHED_FOR = "excluded"  # the stage whose losses are no fault
LOST = 0.05  # of the sounds that reach a stage: more deserves a look
FRACTION_OFF = 0.02
COMMON = 0.5  # a tag on more of the sounds than this says little
MEASURABLE = 10  # sounds: the validation share of a rarer tag is a matter of luck
QUANTILES = {"least": 0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95,
             "most": 1}  # fmt: skip
TAGS_LISTED, CAUSES_LISTED, NAMED = 30, 20, 5


def write_report(folder: Path, summary: Summary) -> list[Path]:
    """Writes `report.md` and `report.png`; each appears whole, or the one before stays."""
    text = markdown(summary)
    with style.styled():
        style.write(picture(summary), folder / PICTURE)
    report = folder / REPORT
    storage.write_text(report, text)
    return [report, folder / PICTURE]


def markdown(summary: Summary) -> str:
    """The text of `report.md`."""
    found = remarks(summary) or ["Nothing looks wrong."]
    parts = [
        f"# Report on the dataset {_escape(summary.name)}",
        _overview(summary),
        "## Remarks",
        "\n".join(f"- {remark}" for remark in found),
        f"![Pictures of what follows: stages, durations, tags and their split]({PICTURE})",
        "## Sounds, stage by stage",
        *_stage_tables(summary),
        "## Training and validation",
        *_splits(summary),
        "## Durations",
        *_durations(summary),
        "## Tags",
        *_tags(summary),
    ]
    if summary.settings:
        parts += ["## Settings", _table(("setting", "value"), _flat(summary.settings), texts=2)]
    return "\n\n".join(parts) + "\n"


def remarks(summary: Summary) -> list[str]:
    """What looks wrong, a sentence each."""
    found = []
    for stage, reached, lost in stages(summary):
        if stage != WISHED_FOR and lost > LOST * reached:
            cause, sounds = _by_number(summary.dropped[stage])[0]
            found.append(
                f"{percent(lost, reached)} of the sounds that reached the stage {_escape(stage)} "
                f"were dropped there, most of them because of: {_escape(cause)} ({sounds:,} of "
                f"{lost:,})."
            )
    train, validation = summary.sounds["train"], summary.sounds["validation"]
    if train < FEW_TRAINING_SOUNDS:
        found.append(
            f"{number(train, 'sound')} to train on: the paper had {PAPER_TRAINING_SOUNDS:,}, "
            "so expect less of the model."
        )
    # Rounded, for 0.12 - 0.1 is more than 0.02 in floating point.
    if round(abs(validation / summary.kept - summary.wanted_fraction), 9) > FRACTION_OFF:
        found.append(
            f"Validation has {percent(validation, summary.kept)} of the sounds where "
            f"{percent(summary.wanted_fraction)} were wanted: groups too large to fit, or too few "
            "sounds."
        )
    if 0 < summary.groups["validation"] < FEW_GROUPS:
        found.append(
            f"Validation holds only {number(summary.groups['validation'], 'group')}: with others "
            "in their place its figures may be quite different."
        )
    short = int((summary.seconds < summary.patch_seconds).sum())
    if short > summary.kept / 2:
        found.append(
            f"{percent(short, summary.kept)} of the sounds are shorter than one patch, which is "
            "then filled up with padding."
        )
    return found + _tag_remarks(summary)


def _tag_remarks(summary: Summary) -> list[str]:
    found = []
    for tag, counts in most_frequent(summary):
        if sum(counts) > COMMON * summary.kept:
            share = percent(sum(counts), summary.kept)
            found.append(f"The tag {_escape(tag)} is on {share} of the sounds and says little.")
    for split, consequence in enumerate(("cannot be learnt", "are learnt but not measured")):
        absent = [tag for tag, counts in most_frequent(summary) if not counts[split]]
        if absent:
            where = ("training", "validation")[split]
            found.append(
                f"Tags that occur in no {where} sound and {consequence}: {len(absent):,} of "
                f"{len(summary.tag_sounds):,} ({_names(absent)})."
            )
    return found


def _overview(summary: Summary) -> str:
    low, high = summary.value_range
    return (
        f"{summary.kept:,} of the {summary.listed:,} sounds listed were kept "
        f"({percent(summary.kept, summary.listed)}), {_length(summary.seconds)} in all: "
        f"{summary.sounds['train']:,} to train on and {summary.sounds['validation']:,} to validate "
        f"on. They carry {number(len(summary.tag_sounds), 'tag')} of the vocabulary, "
        f"{np.median(summary.tags_per_sound):g} a sound in the median. The log-mel values of the "
        f"training patches span {low:.4g} to {high:.4g}."
    )


def _stage_tables(summary: Summary) -> Iterator[str]:
    rows = [
        (stage, reached, lost, percent(lost, reached), reached - lost)
        for stage, reached, lost in stages(summary)
    ]
    total = summary.listed - summary.kept
    rows.append(("overall", summary.listed, total, percent(total, summary.listed), summary.kept))
    yield _table(("stage", "sounds in", "dropped", "share", "left"), rows)
    causes = [
        (stage, cause, sounds)
        for stage, reasons in summary.dropped.items()
        for cause, sounds in _first(_by_number(reasons), CAUSES_LISTED)
    ]
    if causes:
        yield _table(("dropped in", "why", "sounds"), causes, texts=2)
    for stage, _, lost in stages(summary):
        if lost and stage in summary.named_in:
            file = _escape(summary.named_in[stage])
            yield f"Those dropped in {_escape(stage)} are named in {file}."


def _splits(summary: Summary) -> Iterator[str]:
    rows = [
        (
            split,
            summary.sounds[split],
            percent(summary.sounds[split], summary.kept),
            summary.patches[split],
            summary.groups[split],
        )
        for split in ("train", "validation")
    ]
    patches, groups = sum(summary.patches.values()), sum(summary.groups.values())
    rows.append(("overall", summary.kept, percent(1), patches, groups))
    yield _table(("split", "sounds", "share", "patches", "groups"), rows)
    reached = percent(summary.sounds["validation"], summary.kept)
    yield (
        f"Validation was to have {percent(summary.wanted_fraction)} of the sounds, and has "
        f"{reached}. {_evenness(summary)}"
    )


def _evenness(summary: Summary) -> str:
    """How near the split comes to the wanted fraction of every tag."""
    counts = summary.tag_sounds.values()
    shares = {
        tag: validation / (train + validation)
        for tag, (train, validation) in summary.tag_sounds.items()
        if train + validation >= MEASURABLE
    }
    text = f"No tag has {MEASURABLE} sounds, enough to see how evenly the tags are split."
    if shares:
        worst = max(shares, key=lambda tag: abs(shares[tag] - summary.wanted_fraction))
        train, validation = summary.tag_sounds[worst]
        text = (
            f"Of a tag's sounds {percent(np.median(list(shares.values())))} are in validation in "
            f"the median over {number(len(shares), 'tag')} with {MEASURABLE} or more sounds, and "
            f"at worst {percent(shares[worst])} ({_escape(worst)}, {validation:,} of "
            f"{train + validation:,})."
        )
    return (
        f"{text} Tags without a validation sound: {sum(not v for _, v in counts):,}; tags with "
        f"fewer than 2 training sounds: {sum(t < 2 for t, _ in counts):,}."
    )


def _durations(summary: Summary) -> Iterator[str]:
    known = known_seconds(summary.seconds)
    if known.size:
        values = np.quantile(known, list(QUANTILES.values()))
        yield _table(("", *QUANTILES), [("seconds", *(f"{value:,.4g}" for value in values))])
        short = int((known < summary.patch_seconds).sum())
        long = int((known > summary.clip_seconds).sum())
        yield (
            f"{_length(summary.seconds)} in all. Shorter than one patch of "
            f"{summary.patch_seconds:.3g} s: {short:,} ({percent(short, known.size)}); longer "
            f"than {summary.clip_seconds:g} s: {long:,} ({percent(long, known.size)})."
        )
    if known.size < summary.kept:
        yield f"Sounds whose duration is not known: {summary.kept - known.size:,}."


def _tags(summary: Summary) -> Iterator[str]:
    values = np.quantile(summary.tags_per_sound, list(QUANTILES.values()))
    yield _table(("", *QUANTILES), [("tags of a sound", *(f"{value:g}" for value in values))])
    cut = f"; the {TAGS_LISTED} most frequent" if len(summary.tag_sounds) > TAGS_LISTED else ""
    yield f"The vocabulary has {number(len(summary.tag_sounds), 'tag')}{cut}:"
    rows = [
        (
            tag,
            train + validation,
            percent(train + validation, summary.kept),
            train,
            validation,
            percent(validation, train + validation),
        )
        for tag, (train, validation) in most_frequent(summary)[:TAGS_LISTED]
    ]
    header = ("tag", "sounds", "of all sounds", "train", "validation", "validation share")
    yield _table(header, rows)
    if any(summary.tags_left_out.values()):
        yield _table(("tags left out, because", "tags"), _by_number(summary.tags_left_out))


def _by_number(counts: dict[str, int]) -> list[tuple[str, int]]:
    some = [item for item in counts.items() if item[1]]
    return sorted(some, key=lambda item: (-item[1], item[0]))


def _first(counts: Sequence[tuple[str, int]], number: int) -> list[tuple[str, int]]:
    """The first `number`, and the sum of the rest."""
    rest = counts[number:]
    others = [(f"{len(rest):,} other causes", sum(sounds for _, sounds in rest))]
    return [*counts[:number], *(others if rest else [])]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (set, frozenset)):  # their order changes from run to run
            yield f"{prefix}{key}", str(sorted(value, key=str))
        else:
            yield f"{prefix}{key}", str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]], texts: int = 1) -> str:
    """A Markdown table; the first `texts` columns are text, the others numbers, to the right."""
    lines = [header, ["---"] * texts + ["---:"] * (len(header) - texts)]
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else _escape(str(cell)) for cell in row)
        lines.append(list(cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """A tag, name or cause as Markdown that shows it as it is; a_b needs no escape, _a_ does."""
    return re.sub(r"([\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", clean(text, 160))


def _names(tags: Sequence[str]) -> str:
    named = ", ".join(_escape(tag) for tag in tags[:NAMED])
    return f"{named} and {len(tags) - NAMED:,} more" if len(tags) > NAMED else named


def _length(seconds: Float64[np.ndarray, " sound"]) -> str:
    total = math.fsum(known_seconds(seconds))
    if total < 60:
        return f"{total:.1f} seconds"
    return f"{total / 60:.1f} minutes" if total < 3600 else f"{total / 3600:,.1f} hours"
