"""The benchmark of preparation: its arithmetic, its memory meter, and the script beside it."""

import argparse
import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import measure as measuring
from benchmarks import prepare, released_script, sounds
from benchmarks.measure import BenchmarkError, Run, measure
from benchmarks.prepare import Programs, in_turn
from benchmarks.sounds import Form, make_form
from coala_jax.audio.frontend import FrontEnd

RATE_HZ = 22_000
# librosa.load asks audioread, which imports modules that Python 3.11 and 3.12 still have.
audioread_is_old = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """24 sounds of 0.2 s with two tags in turn, and one whose rate is none of mp3's."""
    (tmp_path / "mine/audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file,tags,group,licence"]
    for number in range(25):
        rate_hz = 11_800 if number == 24 else 22_050
        path = tmp_path / f"mine/audio/{number}.wav"
        soundfile.write(path, rng.uniform(-0.5, 0.5, rate_hz // 5), rate_hz)
        rows.append(f"{number}.wav,{('dog', 'cat')[number % 2]} loud,g,CC0-1.0")
    (tmp_path / "mine/sounds.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "mine"


def rows_of(table: str) -> list[dict[str, str]]:
    with Path(table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class NoNoise:
    def random(self, size: int, dtype: type) -> np.ndarray:
        return np.zeros(size, dtype)


@audioread_is_old
@pytest.mark.parametrize("loud_second", [0, 3])
def test_the_scripts_patch_is_that_of_the_released_front_end(
    tmp_path: Path, loud_second: int
) -> None:
    waveform = np.random.default_rng(0).uniform(-0.1, 0.1, 6 * RATE_HZ).astype(np.float32)
    waveform[loud_second * RATE_HZ : (loud_second + 2) * RATE_HZ] *= 5
    soundfile.write(tmp_path / "sound.wav", waveform, RATE_HZ, subtype="FLOAT")
    front_end = dataclasses.replace(FrontEnd.released(), noise=0.0, precision="float64")
    log_mel = front_end.log_mel(waveform)
    assert (front_end.patch_starts(log_mel)[0] > 0) == (loud_second > 0)
    patch = released_script.patch_of(tmp_path / "sound.wav", NoNoise())
    np.testing.assert_allclose(patch, front_end.loudest_patch(log_mel), atol=2e-5)


@audioread_is_old
def test_the_script_adds_noise_everywhere(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    patch = released_script.patch_of(tmp_path / "silence.wav", np.random.default_rng(0))
    assert patch.min() > np.log(np.finfo(np.float32).eps) + 3


def test_the_script_scales_each_time_column_by_itself() -> None:
    patches = np.array([[[0, 10], [2, 20]], [[4, 30], [1, 50]]], np.float32)
    expected = [[[0, 0], [0.5, 0.25]], [[1, 0.5], [0.25, 1]]]
    np.testing.assert_allclose(released_script.scale(patches), expected)


def test_every_second_round_begins_with_the_other_program(tmp_path: Path) -> None:
    begun: list[str] = []

    def first(form: Form) -> tuple[Run, int]:
        begun.append("first")
        return Run(1.0 * len(begun), 1.0, [], 1.0), 7

    def second(form: Form) -> tuple[Run, int]:
        begun.append("second")
        return Run(10.0, 1.0, [], 1.0), 8

    results = in_turn(make_form("one", tmp_path, [("a.wav", "tag")]), 3, first, second)
    assert begun == ["first", "second", "second", "first", "first", "second"]
    assert [(r.seconds, r.sounds, r.in_dataset) for r in results] == [(4, 1, 7), (10, 1, 8)]


def test_memory_of_children_is_seen() -> None:
    child = "held = b'x' * 200_000_000; print('held', flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        megabytes = measuring.session_mb(process.pid)
        process.communicate(b"\n")
    assert 200 < megabytes < 260
    assert measuring.session_mb(process.pid) == 0


def test_a_run_is_watched_while_it_lasts(tmp_path: Path, monkeypatch) -> None:
    def seen(session: int) -> float:
        (tmp_path / "seen").write_text(str(session))
        return 123.0

    monkeypatch.setattr(measuring, "session_mb", seen)
    waiting = f"""
import pathlib, time
for _ in range(2000):
    time.sleep(0.01)
    if pathlib.Path({str(tmp_path / "seen")!r}).exists():
        break
"""
    run = measure([sys.executable, "-c", waiting], tmp_path / "log")
    assert run.peak_mb == 123
    assert 0 < run.memory_mb[0][0] < run.seconds
    assert run.cpu_seconds > 0


def test_a_program_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="ended with 3: first the cause"):
        code = "import sys; print('first'); print('the cause', file=sys.stderr); sys.exit(3)"
        measure([sys.executable, "-uc", code], tmp_path / "log")


def test_both_programs_run_on_a_form(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    rows = [(row["file"], row["tags"]) for row in rows_of(str(corpus / "sounds.csv"))]
    form = make_form("as they are", corpus / "audio", rows[:24])
    programs = Programs(tmp_path / "work", 2)
    run, in_dataset = programs.from_folder(form)
    assert in_dataset == 24 and run.peak_mb > 50
    run, in_dataset = programs.script(form)
    assert in_dataset == 24 and run.peak_mb > 50
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["log.txt"]


def fake_measure(command: list[str], log: Path) -> Run:
    """As if a program took 2 s and 0.1 s a sound, the script 3 s and 0.5 s, in known memory."""
    flags = argparse.Namespace(**dict(zip(*[(w.strip("-") for w in command[3:])] * 2, strict=True)))
    rows = rows_of(flags.tags)
    for row in rows:
        assert soundfile.info(Path(flags.audio) / row["file"]).frames > 0
    out = Path(flags.out)
    if command[2] == "benchmarks.released_script":
        out.touch()
        return Run(3 + 0.5 * len(rows), 1.0, [(0.0, 900.0)], 901.0)
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"counts": {"train": len(rows) - 1, "v": 1}}))
    seconds = 2 + 0.1 * len(rows)
    peaks = [(0.0, 50.0), (0.55 * seconds, 300.0 + len(rows)), (seconds, 40.0)]
    return Run(seconds, 1.0, peaks, 901.0)


def test_the_figures(corpus: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(prepare, "measure", fake_measure)
    monkeypatch.setattr(prepare, "decode_seconds", lambda form, workers: 0.05 * len(form.rows))
    flags = f"--corpus={corpus} --work={tmp_path / 'work'} --rounds=2 --clips=28 --memory_sounds=60"
    assert prepare.main(flags.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mp3: 1 of 25 sounds are left out: ") for line in lines)
    figures = json.loads(lines[-1])
    together = figures["forms"]["together"]
    assert together["sounds"] == 74 and list(figures["forms"]) == [
        "as they are",
        "mp3",
        "flac",
        "together",
    ]
    close = pytest.approx
    assert figures["ratio_to_script"] == close((3 + 0.5 * 74) / (2 + 0.1 * 74))
    assert figures["ratio_without_start_up"] == close(5)
    assert figures["sounds_per_second"] == close(74 / 9.4)
    assert (figures["start_up_seconds"], figures["script_start_up_seconds"]) == close((2, 3))
    assert figures["hours_for_190000_sounds_of_5_s"] == close((2 + 19_000) / 3600)
    assert figures["peak_memory_mb"] == 374
    assert together["share_of_decoding_alone"] == close(0.5)
    assert figures["forms"]["mp3"]["ratio_to_script"] == close((3 + 0.5 * 24) / (2 + 0.1 * 24))
    assert figures["memory_run"]["in_dataset"] == 60
    assert figures["memory_run"]["peak_memory_mb"] == 360
    tenths = figures["memory_run"]["peak_memory_mb_by_tenth_of_time"]
    assert tenths == [50, 0, 0, 0, 0, 360, 0, 0, 0, 40]
    assert figures["command"] == f"python -m benchmarks.prepare {flags}"
    assert {"cores", "device", "versions", "load_before"} <= figures.keys()
    assert list((tmp_path / "work").iterdir()) == []


def test_clips_are_repeated_to_their_length(corpus: Path, tmp_path: Path) -> None:
    assert sounds.encode(corpus / "audio/0.wav", tmp_path / "long.wav", 5.0) is None
    once, rate_hz = soundfile.read(corpus / "audio/0.wav")
    long, _ = soundfile.read(tmp_path / "long.wav")
    assert long.size == 5 * rate_hz
    np.testing.assert_allclose(long, np.tile(once, 25), atol=1e-4)


def test_many_sounds_are_all_different(corpus: Path, tmp_path: Path) -> None:
    form = sounds.make_many(corpus, [("0.wav", ""), ("1.wav", "")], tmp_path, 300)
    waveforms = {soundfile.read(tmp_path / file)[0].tobytes() for file, _ in form.rows}
    assert len(form.rows) == len(waveforms) == 300
    assert len({tags for _, tags in form.rows}) > 290


def no_corpus(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (corpus / "sounds.csv").unlink()


def too_few(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (corpus / "sounds.csv").read_text(encoding="utf-8")
    (corpus / "sounds.csv").write_text("\n".join(text.splitlines()[:21]), encoding="utf-8")


def no_resampy(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resampy", None)


def no_disk(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: argparse.Namespace(free=1e9))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_corpus, "sounds.csv; run ./run.sh first, or give --corpus"),
        (too_few, "more than 20 rows"),
        (no_resampy, "needs resampy, which requirements.txt has"),
        (no_disk, "60 sounds need 1 GB of disk and 1 GB are free; give a --work with more"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    corpus: Path, tmp_path: Path, monkeypatch, capsys, change, said: str
) -> None:
    change(corpus, monkeypatch)
    flags = [f"--corpus={corpus}", f"--work={tmp_path}", "--memory_sounds=60"]
    assert prepare.main(flags) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("prepare: ") and captured.err.count("\n") == 1
    assert said in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
