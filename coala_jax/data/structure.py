"""Whether a manifest is one: a stranger's may claim anything, and be sealed all the same."""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

_TEXTS = ("name", "fingerprint", "tag_processing")
_TABLES = ("settings", "front_end", "scaler", "counts", "shards", "side_files", "preparation")
_ENTRY = {"file": str, "records": int, "bytes": int, "crc32c": int, "sha256": str}


def check_structure(
    fields: Mapping[str, Any],
    splits: Collection[str],
    needed_settings: Collection[str],
    manifest: str,
) -> None:
    """Raises ValueError for a field of another type, a name outside the folder, or a contradiction.

    fields: of the manifest.
    splits: that it must have.
    needed_settings: those that it must name.
    manifest: its own file name, which no other file may have.
    """
    for names, kind, what in ((_TEXTS, str, "text"), (_TABLES, dict, "table")):
        for name in names:
            if not isinstance(fields[name], kind):
                raise ValueError(f"{name} is no {what}")
    if not set(fields["shards"]) == set(fields["counts"]) == set(splits):
        raise ValueError(f"the splits are not {' and '.join(splits)}")
    if not fields["settings"].keys() >= set(needed_settings):
        raise ValueError(f"the settings lack one of {', '.join(sorted(needed_settings))}")
    _check_vocabulary(fields["vocabulary"], fields["tag_counts"])
    for count in fields["counts"].values():
        _check_count(count, "a number of examples")
    for entries in fields["shards"].values():
        if not isinstance(entries, list):
            raise ValueError("the shards of a split are no list")
    entries = list(itertools.chain(*fields["shards"].values()))
    for entry in entries:
        _check_entry(entry)
    if len({entry["file"] for entry in entries}) < len(entries):
        raise ValueError("duplicate shard")
    for name, digest in fields["side_files"].items():
        if not isinstance(digest, str):
            raise ValueError(f"the digest of {name:.100} is no text")
    for name in [*(entry["file"] for entry in entries), *fields["side_files"]]:
        if name in (manifest, "", "..") or PurePosixPath(name).name != name or "\0" in name:
            raise ValueError(f"{name!r:.100} cannot be a file of a dataset")
        name.encode()  # surrogates name no file


def _check_vocabulary(vocabulary: Any, counts: Any) -> None:
    for name, value, kind in (("vocabulary", vocabulary, str), ("tag_counts", counts, int)):
        if not isinstance(value, list) or not all(type(entry) is kind for entry in value):
            raise ValueError(f"{name} is no list of {kind.__name__}")
    if not vocabulary:
        raise ValueError("the vocabulary is empty")
    if repeated := [tag for tag, times in Counter(vocabulary).items() if times > 1 or not tag]:
        raise ValueError(f"a tag of the vocabulary is empty or twice there: {repeated[0]!r:.100}")
    for count in counts:
        _check_count(count, "a count of a tag")


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY.keys():
        raise ValueError(f"a shard is {entry!r:.100}, not {', '.join(_ENTRY)}")
    for name, kind in _ENTRY.items():
        if kind is int:
            _check_count(entry[name], f"{name} of a shard")
        elif not isinstance(entry[name], kind):
            raise ValueError(f"{name} of a shard is no text")


def _check_count(value: Any, what: str) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{what} is {value!r:.50}, no whole number")
