"""Files as nobody would write them: each is read, or refused by the error that is documented.

A few examples, always the same; COALA_FUZZ_EXAMPLES=5000 tries other ones, so many of each, and
`benchmarks.fuzz` lets coverage choose them. What was found so is a test with a name where the thing
itself is tested.
"""

import contextlib
import copy
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz
from coala_jax import storage
from coala_jax.audio.decode import load
from coala_jax.audio.errors import DecodeError
from coala_jax.data.dataset import SplitReader
from coala_jax.data.schema import MANIFEST, SPLITS, Manifest
from coala_jax.data.tfrecord import DatasetError
from coala_jax.data.verify import verify
from coala_jax.models.pretrained import BANK, DESCRIPTION, ModelError, PretrainedModel
from coala_jax.preparation.table import Columns, TableError, read_table
from coala_jax.training import digests, steps
from coala_jax.training.checkpoint import Checkpoints, Progress
from tests.synthetic import tiny_model, write_random_dataset
from tests.unit.models.test_bank import random_bank

MANY = int(os.environ.get("COALA_FUZZ_EXAMPLES", "0"))
FEW = {"checkpoint": 8}  # which takes Orbax a while

# What there is to try, and what must hold of each.
Target = tuple[st.SearchStrategy, Callable[[Any], None]]


def sound(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    tone = 0.5 * np.sin(np.arange(600) / 5)
    soundfile.write(file, np.stack([tone, tone], axis=1), 16_000, subtype, format=kind)
    return file.getvalue()


SOUNDS = [
    sound(*kind.split())
    for kind in ("WAV PCM_16", "WAV FLOAT", "WAV MS_ADPCM", "FLAC PCM_16", "OGG VORBIS",
                 "MP3 MPEG_LAYER_III", "AIFF PCM_24", "CAF PCM_16", "W64 PCM_16", "AU PCM_16")
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """A file with some bytes replaced, cut at the end, and a part of it repeated or dropped."""
    content = bytearray(draw(st.sampled_from(wholes)))
    places = st.integers(0, min(len(content) - 1, draw(st.sampled_from([60, 10**6]))))
    for place, byte in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = byte
    if draw(st.booleans()):
        start, length = draw(places), draw(st.integers(0, 64))
        part = content[start : start + length]
        content[start : start + length * draw(st.integers(0, 1))] = part * draw(st.integers(0, 3))
    return bytes(content[: draw(st.one_of(st.just(None), places))])


def sounds(folder: Path) -> Target:
    def check(content: bytes) -> None:
        (folder / "sound").write_bytes(content)
        try:
            waveform = load(folder / "sound", 22_000, max_seconds=60.0)
        except DecodeError as error:
            assert str(folder / "sound") in str(error)
        else:
            assert waveform.size and np.isfinite(waveform).all()

    return mutated(SOUNDS), check


CELLS = st.sampled_from(["a.wav", "dog", "dog, cat", "", '"', "é", "../x", "/x", "\0", "x" * 9])
LINES = st.lists(CELLS, max_size=4).map(",".join)
TABLES = st.one_of(
    st.lists(LINES, max_size=5).map(lambda lines: "\n".join(["file,tags", *lines]).encode()),
    mutated([b'file,tags,group\na.wav,"dog, cat",g\nb.wav,bird,\n', b"file;tags\na;b\r\nc;d"]),
    st.binary(max_size=40),
)


def tables(folder: Path) -> Target:
    def check(content: bytes) -> None:
        (folder / "tags.csv").write_bytes(content)
        try:
            sounds = read_table(folder / "tags.csv", Columns())
        except TableError as error:
            assert str(error).startswith(str(folder / "tags.csv"))
        else:
            assert len({sound.file for sound in sounds}) == len(sounds) > 0

    return TABLES, check


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from([0, 1, -1, 2**31, 0.5, -1e300, "", "a", "../a", "96", "float32", "5" * 64]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


def places_of(content: Any) -> list[tuple]:
    """The keys that lead to each value of a JSON."""
    if not isinstance(content, dict | list):
        return []
    items = content.items() if isinstance(content, dict) else list(enumerate(content))[:3]
    return [(key, *rest) for key, value in items for rest in [(), *places_of(value)]]


def reseal(file: Path, content: dict[str, Any], data: st.DataObject) -> None:
    """Replaces or removes values of a sealed JSON, whose seal is right again."""
    content = copy.deepcopy(content)
    form = content.pop("format")
    content.pop("digest")
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, key = data.draw(st.sampled_from(places_of(content)))
        value = content
        for parent in parents:
            value = value[parent]
        if data.draw(st.integers(0, 4)):
            value[key] = data.draw(VALUES)
        else:
            del value[key]
    storage.write_text(file, storage.seal(form, content)[0])


def manifests(folder: Path) -> Target:
    write_random_dataset(folder / "dataset", 3, 2)
    folder = folder / "dataset"
    content = json.loads((folder / MANIFEST).read_text())

    def check(data: st.DataObject) -> None:
        reseal(folder / MANIFEST, content, data)
        for use in (
            verify,
            *(lambda of, split=split: list(SplitReader(of, split)) for split in SPLITS),
        ):
            try:
                use(folder)
            except DatasetError as error:
                assert str(folder) in str(error)
        with contextlib.suppress(DatasetError):
            assert len(Manifest.load(folder).digest) == 64

    return st.data(), check


def models(folder: Path) -> Target:
    folder = folder / "model"
    tiny_model("e_c", bank=random_bank()).save_pretrained(folder)
    assert (folder / BANK).is_file()
    content = json.loads((folder / DESCRIPTION).read_text())

    def check(data: st.DataObject) -> None:
        reseal(folder / DESCRIPTION, content, data)
        try:
            found = PretrainedModel.load(folder)
        except ModelError as error:
            assert str(folder) in str(error)
        else:
            assert len(found.digest) == 64

    return st.data(), check


def checkpoints(folder: Path) -> Target:
    """One file of a checkpoint is another, and its checksum with it or not."""
    ones = {"kernel": jnp.ones((2, 3))}
    start = Progress(steps.TrainState(jnp.int32(0), ones, ones, {}, jnp.zeros(2, jnp.uint32)))
    with closing(Checkpoints(folder, keep=1)) as saving:
        saving.save(start._replace(state=start.state.replace(step=jnp.int32(1))))
    place = folder / "checkpoints"
    wholes = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}

    def check(data: st.DataObject) -> None:
        shutil.rmtree(place)
        shutil.rmtree(folder / "damaged-1", ignore_errors=True)
        for path, content in wholes.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        path = data.draw(st.sampled_from(list(wholes)))
        path.write_bytes(data.draw(mutated([wholes[path]])))
        if is_resealed := path.parent != place and data.draw(st.booleans()):
            digests.write_digests(place / "1")
        try:
            with closing(Checkpoints(folder, keep=1)) as reading:
                found = reading.restore_latest(start)
        except ValueError as error:
            assert str(place) in str(error)
        else:
            assert is_resealed or path.read_bytes() == wholes[path]
            assert found.state.params["kernel"].shape == (2, 3)

    return st.data(), check


TARGETS: dict[str, Callable[[Path], Target]] = {
    "sound": sounds,
    "table": tables,
    "manifest": manifests,
    "model": models,
    "checkpoint": checkpoints,
}


def fuzz_test(name: str, folder: Path) -> Callable[[], None]:
    """Tries many examples of a target; has what Hypothesis gives to fuzzers, too."""
    strategy, check = TARGETS[name](folder)
    configured = settings(
        max_examples=MANY or FEW.get(name, 40),
        derandomize=not MANY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return configured(given(strategy)(check))


def test_each_can_be_fuzzed_by_coverage() -> None:
    assert tuple(TARGETS) == fuzz.TARGETS


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_it_is_read_or_refused_by_the_error_that_is_documented(name: str, tmp_path: Path) -> None:
    fuzz_test(name, tmp_path)()
