"""The folder of a stand-in set whose sounds are rendered, and how a stopped run goes on.

    SET/audio/...       the sounds, mono 16 bit wav
    SET/about.json      what the set is made of, what it is not, what had to be done to its sounds
    SET/details.csv     how each clip was made
    SET/clips.csv       file (relative to SET), label, split, group

`clips.csv` is written last: where it stands, the set is whole. Until then `SET/.parts` holds a
note of every part of the set that is done.
"""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError
from jaxtyping import Float32

from coala_jax.storage import write_text

COLUMNS = ("file", "label", "split", "group")
FULL_SCALE = 0.99  # a louder clip is turned down to it; 16 bit would cut its peaks off
SILENT_PEAK = 1e-3  # -60 dB: a quieter clip counts as silent


@dataclass(frozen=True)
class RenderedClip:
    """A clip of a set.

    Attributes:
        file: path below `SET/audio`.
        label: its class.
        split: "train" or "test".
        group: clips of one group are on one side of the split.
        details: how it was made, for `details.csv`; equal keys in all clips.
    """

    file: str
    label: str
    split: str
    group: str
    details: dict[str, str | int | float]


@dataclass
class Part:
    """Clips that are made in one go.

    Attributes:
        clips: the clips.
        remarks: what was not as drawn, and why: one line a case.
    """

    clips: list[RenderedClip]
    remarks: list[str]


class RenderedSet:
    """A set that is being made in `folder`, or is there."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """Looks at what is there.

        Args:
            folder: the set's folder.
            recipe: what of the program determines the set (seed, counts).

        Raises:
            CorpusError: the folder holds a set of another recipe.
        """
        self.folder = folder
        self._recipe = json.loads(json.dumps(recipe))
        self._made_from: dict[str, Any] = {}
        self._check_same_set("recipe", self._recipe)

    @property
    def is_whole(self) -> bool:
        return (self.folder / "clips.csv").is_file()

    def begin(self, sources: Mapping[str, Any]) -> None:
        """Notes what the set is made of besides its recipe: packages and programs, with versions.

        Raises:
            CorpusError: what is there of the set was made from others.
        """
        self._check_same_set("sources", dict(sources))
        self._made_from = {"recipe": self._recipe, "sources": dict(sources)}
        (self.folder / ".parts").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "about.json").exists():
            write_text(self.folder / "about.json", _json({"made_from": self._made_from}))

    def part(self, name: str) -> Part | None:
        """The part of this name, if an earlier run made it."""
        note = self.folder / ".parts" / f"{name}.json"
        if not note.exists():
            return None
        found = json.loads(note.read_text(encoding="utf-8"))
        return Part([RenderedClip(**clip) for clip in found["clips"]], found["remarks"])

    def keep_sound(
        self, file: str, waveform: Float32[np.ndarray, " sample"], sample_rate_hz: int
    ) -> None:
        """Writes a sound below `SET/audio`; it counts once its part is kept."""
        path = self.folder / "audio" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, waveform, sample_rate_hz, format="WAV", subtype="PCM_16")

    def keep_part(self, name: str, part: Part) -> None:
        """Notes that a part is done and its sounds are written."""
        clips = [clip.__dict__ for clip in part.clips]
        write_text(
            self.folder / f".parts/{name}.json", _json({"clips": clips, "remarks": part.remarks})
        )

    def finish(self, parts: Sequence[Part], limits: str) -> int:
        """Writes what tells of the set; gives its number of clips."""
        clips = [clip for part in parts for clip in part.clips]
        sizes = Counter((clip.split, clip.label) for clip in clips)
        about = {
            "limits": limits,
            "made_from": self._made_from,
            "clips": dict(Counter(clip.split for clip in clips)),
            "labels": {
                label: {split: sizes[split, label] for split in ("train", "test")}
                for label in sorted({clip.label for clip in clips})
            },
            "not_as_drawn": [remark for part in parts for remark in part.remarks],
        }
        write_text(self.folder / "about.json", _json(about))
        rows = [(f"audio/{clip.file}", clip.label, clip.split, clip.group) for clip in clips]
        details = [("file", *clips[0].details)]
        details += [(f"audio/{clip.file}", *clip.details.values()) for clip in clips]
        write_text(self.folder / "details.csv", _csv(details))
        write_text(self.folder / "clips.csv", _csv([COLUMNS, *rows]))
        shutil.rmtree(self.folder / ".parts")
        return len(clips)

    def _check_same_set(self, key: str, wanted: Mapping[str, Any]) -> None:
        about = self.folder / "about.json"
        if not about.exists():
            return
        try:
            found = json.loads(about.read_text(encoding="utf-8"))["made_from"][key]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CorpusError(
                f"{about} describes no such set ({error!r}); "
                f"delete {self.folder}, or choose another folder with --out"
            ) from error
        if found != wanted:
            raise CorpusError(
                f"{self.folder} was made from another {key} ({found}, now {wanted}); "
                "delete it, or choose another folder with --out"
            )


def fit_level(
    waveform: Float32[np.ndarray, " sample"],
) -> tuple[Float32[np.ndarray, " sample"] | None, str]:
    """The sound as it can be written, and a remark if that is not as it came.

    Returns:
        (None, why) for a sound that is silent; (the sound turned down, why) for one that would
        clip; else (the sound, "").
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENT_PEAK:
        return None, f"silent, its peak is {peak:.1g}"
    if peak > FULL_SCALE:
        return waveform * np.float32(FULL_SCALE / peak), f"turned down, its peak was {peak:.2f}"
    return waveform, ""


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
