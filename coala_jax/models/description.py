"""The JSON of a pretrained model: read, and checked before anything of its size is allocated.

A model may come from a stranger. Every field has a type and a range here, so that what is built by
it (arrays, windows of the analysis, a vocabulary) is of a size that a model can have.
"""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from coala_jax import storage
from coala_jax.models.autoencoders import PATCH_SIZE
from coala_jax.models.coala import CASES

FORMAT = 3
DESCRIPTION = "model.json"
DTYPES = ("float32", "float16")  # of arrays in the file; computation is in float32
KNOWN = {"pooling": ("mean", "layers"), "level": ("recorded", "peak")}

_MOST_JSON_BYTES = 2**24  # a thousand tags take 20 kB
_MOST_TAGS, _MOST_TAG_CHARS = 100_000, 1_000
_MOST_DEPTH = 8  # of the config, which has two levels
_DIGEST = re.compile("[0-9a-f]{64}")
# name -> type, least and most. `FrontEnd` says more; it is not known down here.
_FRONT_END = {
    "sample_rate_hz": (int, 1_000, 1_000_000),
    "window_samples": (int, 2, 2**16),
    "hop_samples": (int, 1, 2**16),
    "mel_bands": (int, PATCH_SIZE, PATCH_SIZE),
    "clip_seconds": (float, 0, 3_600),
    "noise": (float, 0, 1),
    "patch_frames": (int, PATCH_SIZE, PATCH_SIZE),
    "patch_step_frames": (int, 1, 2**16),
    "log_offset": (float, 1e-30, 1),
    "power": (float, 1, 2),
}
_FRONT_END_WORDS = {
    "window": ("hamming", "hann"),
    "edges": ("zeros", "reflect"),
    "precision": ("float32", "float64"),
}
_MODEL = {
    "filters": (int, 1, 1_024),
    "tag_hidden": (int, 1, 2**16),
    "dropout_rate": (float, 0, 1 - 1e-9),
}
_MODEL_WORDS = {"dropout_placement": ("paper", "released"), "transform": ("affine", "linear")}


class ModelError(ValueError):
    """A folder has no pretrained model, or an invalid one; the message names file and cause."""


def read_description(file: storage.PathLike) -> dict[str, Any]:
    """The JSON without its format and its digest, once both and every field are checked."""
    file = storage.path(file)
    try:
        size = file.stat().length
        if size > _MOST_JSON_BYTES:
            raise ValueError(f"{size / 1e6:,.0f} MB, too much for a description")
        text = storage.read_bytes(file).decode()
        description = json.loads(text, parse_constant=_refuse_constant)
        found, digest = description.pop("format", None), description.pop("digest", None)
    except (AttributeError, OSError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file}: invalid description of a model ({error}). Fix: copy it again"
        ) from error
    if found != FORMAT:
        raise ModelError(
            f"{file}: format {found!s:.50}: this version reads format {FORMAT}. Fix: use the "
            "version of coala_jax that wrote it, or train again"
        )
    if not storage.is_sealed(text, digest):
        raise ModelError(
            f"{file}: damaged or edited: its digest is not that of its content. Fix: copy it again"
        )
    for name, known in KNOWN.items():
        if (value := description.get(name, known[0])) not in known:
            raise ModelError(
                f"{file}: unknown {name} {value!s:.50}: a newer version wrote this model. "
                "Fix: update coala_jax"
            )
    try:
        _check(description)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ModelError(
            f"{file}: invalid pretrained model ({cause!s:.300}). Fix: copy it again, or ask its "
            "author"
        ) from error
    return description


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check(fields: Mapping[str, Any]) -> None:
    """Raises ValueError or KeyError for the first field that no model can have."""
    known = {
        *("case", "vocabulary", "tag_counts", "tag_processing", "front_end", "level", "scaler"),
        *("pooling", "config", "dataset_digest", "variables", "bank"),
    }
    _check_keys("fields", fields, known)
    _check_word("case", fields["case"], CASES)
    for name in ("tag_processing", "dataset_digest"):
        if not isinstance(fields[name], str) or len(fields[name]) > _MOST_TAG_CHARS:
            raise ValueError(f"{name} is {fields[name]!r:.50}, not a short text")
    _check_vocabulary(fields["vocabulary"], fields["tag_counts"])
    _check_keys("front_end", fields["front_end"], {*_FRONT_END, *_FRONT_END_WORDS})
    _check_table("front_end", fields["front_end"], _FRONT_END, _FRONT_END_WORDS)
    if fields["front_end"]["window_samples"] % 2:
        raise ValueError("front_end.window_samples is odd")
    _check_scaler(fields["scaler"])
    _check_config(fields["config"])
    variables, bank = fields["variables"], fields["bank"]
    _check_keys("variables", variables, {"sha256", "dtypes"})
    _check_digest("variables.sha256", variables["sha256"])
    if not isinstance(variables["dtypes"], dict) or len(variables["dtypes"]) > 1_000:
        raise ValueError("variables.dtypes is no table of the arrays")
    for dtype in variables["dtypes"].values():
        _check_word("a type of variables.dtypes", dtype, DTYPES)
    if bank is not None:
        _check_keys("bank", bank, {"sha256", "temperature", "best_for_search"})
        _check_digest("bank.sha256", bank["sha256"])
        _check_number("bank.temperature", bank["temperature"], float, 1e-9, 1e9)
        _check_word("bank.best_for_search", bank["best_for_search"], ("vote", "cosine"))


def _check_vocabulary(vocabulary: Any, counts: Any) -> None:
    for name, value in (("vocabulary", vocabulary), ("tag_counts", counts)):
        if not isinstance(value, list) or not 0 < len(value) <= _MOST_TAGS:
            raise ValueError(f"{name} is no list of 1 to {_MOST_TAGS} entries")
    if len(counts) != len(vocabulary):
        raise ValueError(f"{len(counts)} tag_counts for {len(vocabulary)} tags")
    for tag, count in zip(vocabulary, counts, strict=True):
        if not isinstance(tag, str) or not 0 < len(tag) <= _MOST_TAG_CHARS:
            raise ValueError(f"the tag {tag!r:.50} is no text of 1 to {_MOST_TAG_CHARS} characters")
        tag.encode()  # surrogates, which no file or terminal takes
        _check_number(f"the count of {tag:.50}", count, int, 0, 2**53)
    if repeated := [tag for tag, times in Counter(vocabulary).items() if times > 1]:
        raise ValueError(f"tags that are twice in the vocabulary: {repeated[0]:.50}")


def _check_scaler(scaler: Any) -> None:
    if isinstance(scaler, dict):
        scaler = {"clip_above": True} | scaler
    _check_keys("scaler", scaler, {"minimum", "maximum", "clip_above"})
    if not isinstance(scaler["clip_above"], bool):
        raise ValueError(f"scaler.clip_above is {scaler['clip_above']!r:.50}, not true or false")
    low, high = scaler["minimum"], scaler["maximum"]
    if not isinstance(low, list) and not isinstance(high, list):
        low, high = [low], [high]
    elif not (isinstance(low, list) and isinstance(high, list) and len(low) == len(high)):
        raise ValueError("scaler.minimum and scaler.maximum are not equally many numbers")
    elif len(low) != PATCH_SIZE:
        raise ValueError(f"the scaler has {len(low)} frames, a patch {PATCH_SIZE}")
    for name, value in itertools.chain(
        (("minimum", value) for value in low), (("maximum", value) for value in high)
    ):
        _check_number(f"scaler.{name}", value, float, -1e30, 1e30)
    odd = next(((a, b) for a, b in zip(low, high, strict=True) if a > b), None)
    if odd or low == high:
        odd = odd or (low[0], high[0])
        raise ValueError(f"the scaler's range is {odd[0]} to {odd[1]}: the smaller must come first")


def _check_config(config: Any) -> None:
    if not isinstance(config, dict) or not isinstance(config["model"], dict):
        raise ValueError("config.model is no table of the network's settings")
    _check_table("config.model", config["model"], _MODEL, _MODEL_WORDS)
    level = [config]
    for _ in range(_MOST_DEPTH):
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
    if level:
        raise ValueError(f"config has tables within tables, more than {_MOST_DEPTH}")


def _check_table(
    name: str,
    table: Mapping[str, Any],
    numbers: Mapping[str, tuple[type, int | float, int | float]],
    words: Mapping[str, tuple[str, ...]],
) -> None:
    for key, (kind, least, most) in numbers.items():
        _check_number(f"{name}.{key}", table[key], kind, least, most)
    for key, choices in words.items():
        _check_word(f"{name}.{key}", table[key], choices)


def _check_keys(name: str, table: Any, known: set[str]) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{name} is {table!r:.50}, not a table")
    if odd := known ^ table.keys():
        raise ValueError(f"{name}: missing or unknown: {', '.join(sorted(odd))}")


def _check_number(name: str, value: Any, kind: type, least: int | float, most: int | float) -> None:
    kinds = (int,) if kind is int else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not least <= value <= most or not math.isfinite(value):
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {value!r:.50}; it must be {what} from {least:g} to {most:g}")


def _check_word(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r:.50}; it must be {' or '.join(choices)}")


def _check_digest(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{name} is no SHA-256 in hex")
