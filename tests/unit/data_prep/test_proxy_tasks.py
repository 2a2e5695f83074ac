"""The program that makes proxy tasks: which it makes, and what it says is missing."""

import pytest
from coala_jax.data_prep.proxy_tasks import __main__ as program
from coala_jax.data_prep.proxy_tasks.instruments import REQUIRED_BY
from coala_jax.data_prep.sample_corpus import soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError

from tests.fake_synth import FakeSynth


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """The names of the tasks that were made, instead of their sounds."""
    names = []

    def make_instruments(out, packages):
        soundfonts.check_requirements(*REQUIRED_BY)
        (packages / "a-font").mkdir(parents=True)
        names.append("instruments")
        return out / "instruments"

    def make_events(out):
        names.append("events")
        return out / "events"

    monkeypatch.setattr(program, "make_instruments", make_instruments)
    monkeypatch.setattr(program, "make_events", make_events)
    return names


def test_all_tasks_are_made_and_the_packages_go(tmp_path, made, monkeypatch, capsys):
    FakeSynth(tmp_path / "synth", monkeypatch)
    out = tmp_path / "out"
    assert program.main(["--out", str(out)]) == 0
    assert made == ["instruments", "events"] and list(out.iterdir()) == []
    tables = [str(out / task / "clips.csv") for task in made]
    assert capsys.readouterr().out.split() == tables


def test_only_some_tasks_are_made_and_an_unknown_one_is_refused(tmp_path, made, capsys):
    assert program.main(["--out", str(tmp_path), "--only", "events"]) == 0
    with pytest.raises(SystemExit, match="2"):
        program.main(["--out", str(tmp_path), "--only", "events,gtzan"])
    assert "--only is 'events,gtzan'; it must be one or both" in capsys.readouterr().err
    assert made == ["events"]


@pytest.mark.parametrize("missing", ["fluidsynth", "apt-get", "mido"])
def test_what_notes_need_is_checked_before_anything_is_made(
    tmp_path, made, monkeypatch, capsys, missing
):
    synth = FakeSynth(tmp_path / "synth", monkeypatch)
    if missing == "mido":
        monkeypatch.setattr(soundfonts, "find_spec", {}.get)
    else:
        synth.remove(missing)
    assert program.main(["--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert missing in error and "--only events" in error
    assert len(error.splitlines()) == 1
    assert made == [] and not (tmp_path / "out").exists()


def test_a_failure_keeps_the_packages(tmp_path, monkeypatch, capsys):
    def fail(out, packages):
        (packages / "a-font").mkdir(parents=True)
        raise CorpusError("fluidsynth failed")

    monkeypatch.setattr(program, "make_instruments", fail)
    assert program.main(["--out", str(tmp_path), "--only=instruments"]) == 1
    assert capsys.readouterr().err == "coala_jax.data_prep.proxy_tasks: fluidsynth failed\n"
    assert (tmp_path / program.PACKAGES / "a-font").exists()
