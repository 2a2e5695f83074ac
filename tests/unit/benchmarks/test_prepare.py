"""`benchmarks.prepare`: its arithmetic, and that the script does what is released."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import prepare, released_script
from benchmarks.measure import ProgramRun
from coala_jax.audio.frontend import FrontEnd

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

RATE_HZ = 22_000
# librosa.load asks audioread, which imports modules that Python 3.11 and 3.12 still have.
audioread_is_old = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


class NoNoise:
    def random(self, size, dtype):
        return np.zeros(size, dtype)


@audioread_is_old
@pytest.mark.parametrize("loud_second", [0, 3])
def test_the_scripts_patch_is_that_of_the_released_front_end(tmp_path, loud_second):
    waveform = np.random.default_rng(0).uniform(-0.1, 0.1, 6 * RATE_HZ).astype(np.float32)
    waveform[loud_second * RATE_HZ : (loud_second + 2) * RATE_HZ] *= 5
    soundfile.write(tmp_path / "sound.wav", waveform, RATE_HZ, subtype="FLOAT")
    front_end = dataclasses.replace(FrontEnd.released(), noise=0.0, precision="float64")
    log_mel = front_end.log_mel(waveform)
    assert (front_end.patch_starts(log_mel)[0] > 0) == (loud_second > 0)
    patch = released_script.patch_of(tmp_path / "sound.wav", NoNoise())
    np.testing.assert_allclose(patch, front_end.loudest_patch(log_mel), atol=2e-5)


@audioread_is_old
def test_the_script_adds_noise_everywhere(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    patch = released_script.patch_of(tmp_path / "silence.wav", np.random.default_rng(0))
    assert patch.min() > np.log(np.finfo(np.float32).eps) + 3


def test_the_script_scales_each_time_column_by_itself():
    patches = np.array([[[0, 10], [2, 20]], [[4, 30], [1, 50]]], np.float32)
    expected = [[[0, 0], [0.5, 0.25]], [[1, 0.5], [0.25, 1]]]
    np.testing.assert_allclose(released_script.scale(patches), expected)


@pytest.fixture
def corpus(tmp_path):
    """24 sounds of 0.2 s, and one whose rate is none of mp3's."""
    (tmp_path / "mine/audio").mkdir(parents=True)
    rows = ["file,tags"]
    for number in range(25):
        rate_hz = 11_800 if number == 24 else 22_050
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, rate_hz // 5)
        soundfile.write(tmp_path / f"mine/audio/{number}.wav", noise, rate_hz)
        rows.append(f"{number}.wav,{('dog', 'cat')[number % 2]} loud")
    (tmp_path / "mine/sounds.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "mine"


def programs(kept):
    """As if ours took 2 s and 0.1 s a sound, and kept that share; the script 3 s and 0.5 s."""

    def measure(command, log):
        flags = dict(zip(command[3::2], map(Path, command[4::2]), strict=True))
        with flags["--tags"].open(encoding="utf-8") as file:
            rows = [*csv.DictReader(file)]
        for row in rows:
            info = soundfile.info(flags["--audio"] / row["file"])
            assert info.duration == pytest.approx(5.0 if "clips/" in row["file"] else 0.2, abs=0.1)
        if command[2] == prepare.SCRIPT:
            return ProgramRun(3 + 0.5 * len(rows), 1.0, 900.0)
        flags["--out"].mkdir()
        counts = {"train": round(kept * len(rows)) - 1, "validation": 1}
        (flags["--out"] / "manifest.json").write_text(json.dumps({"counts": counts}))
        return ProgramRun(2 + 0.1 * len(rows), 1.0, 300.0 + len(rows))

    return measure


def test_the_figures(corpus, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "measure", programs(kept=1.0))
    monkeypatch.setattr(prepare, "decode_seconds", lambda sounds, workers: 0.05 * len(sounds.rows))
    assert prepare.main([f"--corpus_folder={corpus}", "--rounds=2", "--clips=28"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    close = pytest.approx
    assert figures["sounds"] == 25 + 24 + 25  # as they are, mp3, flac
    assert figures["ratio_to_script"] == close((3 + 0.5 * 74) / (2 + 0.1 * 74))
    assert figures["ratio_without_start_up"] == close(5)
    assert figures["sounds_per_second"] == close(74 / 9.4)
    assert (figures["start_up_s"], figures["script_start_up_s"]) == close((2, 3))
    assert figures["hours_for_190000_sounds_of_5_s"] == close(19_000 / 3600)
    assert figures["share_of_decoding_alone"] == close(0.5)
    assert figures["programs"][prepare.OURS]["peak_memory_mb"] == 374


def test_fewer_sounds_than_the_script_prepares_are_refused(corpus, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "measure", programs(kept=0.9))
    assert prepare.main([f"--corpus_folder={corpus}", "--rounds=1", "--clips=28"]) == 1
    assert "18 of 20 sounds" in capsys.readouterr().err


def test_too_small_a_corpus_is_named(corpus, capsys):
    table = corpus / "sounds.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:21]))
    assert prepare.main([f"--corpus_folder={corpus}"]) == 1
    assert str(table) in capsys.readouterr().err
