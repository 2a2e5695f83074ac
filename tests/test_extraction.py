"""Patches in parts on disk: what they hold, and what a run that was stopped leaves to the next."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio.decode import load
from coala_jax.audio.frontend import FrontEnd
from coala_jax.preparation import extraction
from coala_jax.preparation.extraction import Extracted, extract

FRONT_END = FrontEnd(clip_seconds=3.0)  # 130 frames: candidates start at 0, 12 and 24
SOUNDS = 70  # two parts of 32 and one of 6


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy noises of 0.05 s, each at a loudness of its own."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number in range(SOUNDS):
        waveform = rng.uniform(-0.5, 0.5, 1100) / (1 + number)
        soundfile.write(folder / f"{number:02d}.wav", waveform, 22_000)
    return folder


def files() -> list[str]:
    return [f"{number:02d}.wav" for number in range(SOUNDS)]


def run(audio: Path, folder: Path, names: list[str] | None = None, **options: object) -> Extracted:
    folder.mkdir(exist_ok=True)
    return extract(names or files(), audio, FRONT_END, folder, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def counted(path: Path, *args: object, **kwargs: object) -> np.ndarray:
        names.append(path.name)
        return load(path, *args, **kwargs)

    monkeypatch.setattr(extraction, "load", counted)
    return names


def test_each_sound_has_its_own_patch(audio: Path, tmp_path: Path) -> None:
    extracted = run(audio, tmp_path / "work", workers=3)
    assert len(extracted.outcomes) == SOUNDS
    for place in (0, 31, 32, 63, 64, 69):
        waveform = load(audio / f"{place:02d}.wav", 22_000)
        expected = FRONT_END.log_mel(waveform)[:, :96]  # all of the sound is in the first frames
        np.testing.assert_array_equal(extracted.patch(place, 0), expected)
        outcome = extracted.outcomes[place]
        assert (outcome.frames, outcome.seconds, outcome.error) == ((0,), 0.05, "")
    assert len({outcome.digest for outcome in extracted.outcomes}) == SOUNDS


def test_a_sound_fails_alone_and_rows_stay_in_step(audio: Path, tmp_path: Path) -> None:
    names = files()
    names[5], names[40] = "none.wav", "gone.wav"
    extracted = run(audio, tmp_path / "work", names)
    failed = {place: o for place, o in enumerate(extracted.outcomes) if o.error}
    assert {place: o.error for place, o in failed.items()} == {5: "MissingFile", 40: "MissingFile"}
    assert failed[5].cause.startswith("there is no such file")
    whole = run(audio, tmp_path / "whole")
    for place in (4, 6, 31, 39, 41, 63):
        np.testing.assert_array_equal(extracted.patch(place, 0), whole.patch(place, 0))


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        pytest.param(1, (72,), id="loudest"),
        pytest.param(2, (60, 72), id="two"),
        pytest.param(0, tuple(range(0, 84, 12)), id="all"),  # of 172 frames
    ],
)
def test_how_many_patches(tmp_path: Path, count: int, frames: tuple[int, ...]) -> None:
    """Of 4 s, noise from frame 66 on: the later of the 7 candidates hold more and more of it."""
    waveform = np.zeros(4 * 22_000)
    waveform[66 * 512 :] = np.random.default_rng(0).uniform(-0.5, 0.5, 88_000 - 66 * 512)
    soundfile.write(tmp_path / "a.wav", waveform, 22_000)
    extracted = run(tmp_path, tmp_path / "work", ["a.wav"], patches_per_sound=count)
    assert extracted.outcomes[0].frames == frames
    log_mel = FRONT_END.log_mel(load(tmp_path / "a.wav", 22_000))
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(
            extracted.patch(0, number), log_mel[:, frame : frame + 96], strict=True
        )


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(1, [0]), (5631, [0]), (5632, [0]), (5633, [0, 12]), (6145, [0, 12]), (12000, [0, 12, 24])],
)
def test_no_patch_is_padding_alone(tmp_path: Path, samples: int, frames: list[int]) -> None:
    """Frame f hears samples 512 f - 512 to 512 f + 511: frame 12 the sample 5632 first."""
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), 22_000)
    extracted = run(tmp_path, tmp_path / "work", ["a.wav"], patches_per_sound=0)
    assert list(extracted.outcomes[0].frames) == frames
    for number in range(len(frames)):
        assert extracted.patch(0, number).max() > FRONT_END.silence


@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.1])
def test_longer_sounds_are_left_out(tmp_path: Path, seconds: float) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(int(seconds * 22_000), 0.5), 22_000)
    outcome = run(tmp_path, tmp_path / "work", ["a.wav"], max_seconds=1.0).outcomes[0]
    assert outcome.error == ("TooLong" if seconds > 1 else "")


def test_killed_and_run_again_only_the_rest_is_done(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(audio, tmp_path / "whole")
    # The process is killed by the system in the middle of the second part.
    code = f"""
import os, signal
from pathlib import Path
from coala_jax.audio.frontend import FrontEnd
from coala_jax.preparation import extraction
load, calls = extraction.load, []
def killed(path, *args, **kwargs):
    calls.append(path)
    if len(calls) == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(path, *args, **kwargs)
extraction.load = killed
Path({str(tmp_path / "work")!r}).mkdir()
extraction.extract({files()!r}, Path({str(audio)!r}), FrontEnd(clip_seconds=3.0),
                   Path({str(tmp_path / "work")!r}), workers=1)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == -9, process.stderr
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert left == {"part-000000.patches", "part-000000.json", "part-000001.patches"}

    decoded = loads(monkeypatch)
    extracted = run(audio, tmp_path / "work")
    assert sorted(decoded) == files()[32:]
    assert contents(tmp_path / "work") == contents(tmp_path / "whole")
    assert len(extracted.outcomes) == SOUNDS


@pytest.mark.parametrize("name", ["part-000001.patches", "part-000001.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_part_is_made_again(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    run(audio, tmp_path / "work")
    whole = contents(tmp_path / "work")
    data = whole[name]
    if damage == "gone":
        (tmp_path / "work" / name).unlink()
    else:
        flipped = bytes([data[0] ^ 64]) + data[1:]
        (tmp_path / "work" / name).write_bytes(data[:-7] if damage == "cut" else flipped)
    decoded = loads(monkeypatch)
    run(audio, tmp_path / "work")
    assert sorted(decoded) == files()[32:64]
    assert contents(tmp_path / "work") == whole


def test_only_what_failed_is_tried_again(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = files()
    names[5], names[40] = "none.wav", "gone.wav"
    run(audio, tmp_path / "work", names)
    before = contents(tmp_path / "work")
    decoded = loads(monkeypatch)
    extracted = run(audio, tmp_path / "work", names)
    assert sorted(decoded) == ["gone.wav", "none.wav"]
    assert contents(tmp_path / "work") == before
    whole = run(audio, tmp_path / "whole")
    for place in (0, 4, 6, 31, 39, 41, 63, 69):
        np.testing.assert_array_equal(extracted.patch(place, 0), whole.patch(place, 0))


def test_what_failed_is_tried_again(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing program may have been installed since."""
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "load", lambda path, *a, **k: load(path / "x", *a, **k))
        assert all(o.error for o in run(audio, tmp_path / "work", files()[:3]).outcomes)
    assert not any(o.error for o in run(audio, tmp_path / "work", files()[:3]).outcomes)


def test_an_error_of_our_own_is_not_a_failed_sound(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(extraction, "load", broken)
    with pytest.raises(ZeroDivisionError):
        run(audio, tmp_path / "work")
