"""The built-in model: which programs make it, what is recorded, and its card."""

import json

import numpy as np
import pytest

from coala_jax.data.schema import Example
from coala_jax.models.pretrained import PretrainedModel
from experiments import default_model, heard, model_card, own_speed
from tests.synthetic import tiny_model

RETRIEVAL = {
    name: {"macro_auc": 0.8, "map": 0.5, "recall_at_10": 0.6}
    for name in ("vote", "untrained", "popularity")
}
HEARD = {
    "sounds": [{"file": "a.wav", "tags": ["dog", "bark"], "heard": [["dog", 0.5], ["cat", 0.1]]}],
    "best": [["dog", 0.93, 12]],
    "worst": [["cat", 0.11, 10]],
    "tags_counted": 2,
    "sounds_counted": 100,
}
MIXED_UP = {"right": {"organ": 0.7}, "mixed_up": [["organ", "reed", 0.25]]}
SPEED = {"parameters": 1234567, "audio_seconds": 300.0, "cpu_seconds": 2.0, "clips": 100}


@pytest.fixture
def made(monkeypatch, commands):
    """Runs the program; its training leaves a tiny model."""
    bank = {"entries": 3, "near_duplicates": 4}
    trained = {
        "sounds": {"train": 7000, "validation": 800},
        "epochs": 9,
        "device": "cpu",
        "versions": {"jax": "1.2.3"},
        "retrieval": RETRIEVAL,
        "bank": bank,
    }

    def train(workdir, dataset, config, settings):
        assert (config, settings["bank.entries"]) == ("free", 1500)
        tiny_model("e_c").save_pretrained(workdir / "model")
        (workdir / "results.json").write_text(json.dumps(trained))
        (workdir / "metrics.jsonl").write_text('{"kind": "train", "seconds": 720.0}\n')

    monkeypatch.setattr(default_model.programs, "train", train)
    monkeypatch.setattr(heard, "tags_of_sounds", lambda *folders: HEARD)
    monkeypatch.setattr(heard, "confused", lambda *_: MIXED_UP)
    monkeypatch.setattr(own_speed, "measure_all", lambda specs, *_: dict.fromkeys(specs, SPEED))
    return default_model.main


def test_it_makes_trains_evaluates_and_installs(tmp_path, made, commands, monkeypatch, capsys):
    monkeypatch.setattr(default_model, "INSTALLED", tmp_path / "weights")
    assert made([f"--out={tmp_path / 'out'}", "--install"]) == 0
    names = [command[0] for command in commands]
    assert names == ["sample_corpus", "from_folder", "proxy_tasks", "run"]
    assert "--level=peak" in commands[1]
    model = tmp_path / "out" / "model"
    specs = [flag.split("=", 2)[2] for flag in commands[3] if flag.startswith("--model=")]
    assert specs == [
        *(f"{model}", f"untrained:{model}:1", f"untrained:{model}:2", "mfcc", "mfcc:peak")
    ]
    slim = tiny_model("e_c").slim()
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["digest"] == slim.digest
    assert record["sources"]["minuet-data"] == {"sounds": 1, "licences": ["x"]}
    for folder in (model, tmp_path / "weights"):
        assert PretrainedModel.load(folder).digest == slim.digest
        assert slim.digest in (folder / "README.md").read_text()
    printed = capsys.readouterr().out
    assert "| `a.wav` | dog, bark | **dog** 0.50, cat 0.10 |" in printed
    assert "| organ | 70 % |" in printed and "| organ | reed | 25 % |" in printed
    # A second time nothing is evaluated again.
    commands.clear()
    assert made([f"--out={tmp_path / 'out'}"]) == 0
    assert not commands
    assert json.loads((tmp_path / "out" / "results.json").read_text())["heard"] == record["heard"]


def test_a_model_that_is_too_large_is_an_error(tmp_path, made, monkeypatch, capsys):
    monkeypatch.setattr(default_model, "MOST_BYTES", 1000)
    assert made([f"--out={tmp_path}"]) == 1
    assert "more than the package's 1,000. Fix: fewer entries" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


def test_the_card_has_the_figures(tmp_path, made):
    assert made([f"--out={tmp_path}"]) == 0
    record = json.loads((tmp_path / "results.json").read_text())
    below = {"difference": 0.102, "low": 0.05, "high": 0.15, "p_value": 0.0004}
    record["accuracies"]["MFCC"]["events"]["layers"] = {
        "accuracy": 0.263,
        "standard_error": 0.017,
        "below": below,
    }
    card = " ".join(model_card.markdown(record).split())
    for part in (
        "It is an E-C with 2 filters",
        "4 free sounds of 4 Debian packages: 7,000 for training and 800 for validation",
        "The tags of the 2 rendered notes",
        "26.3 ± 1.7 (+10.2, +5.0 to +15.0, p < .001)",
        "| this model | 0.800 | 0.500 | 0.600 |",
        "best (average precision): dog 0.93. Of these it finds them worst: cat 0.11.",
        "1,234,567 parameters. A sound becomes 60 values (`layers`) or 18 (`mean`)",
        "clips of 3.0 s 150 times as fast as real time",
        "Training took 12 minutes",
        "| `chuck-data` | 1 | x |",
    ):
        assert part in card
    assert "{" not in card


def test_what_is_heard_of_sounds_is_counted_by_hand(tmp_path, monkeypatch):
    """Twelve sounds of two tags, of which one tag is always found and the other never first."""
    scores = np.zeros((12, 2), np.float32)
    scores[:, 0] = np.linspace(0.9, 0.2, 12)
    scores[:, 1] = np.linspace(0.1, 0.8, 12)
    patch = np.zeros((96, 96), np.float32)
    tags = [[0]] * 10 + [[0, 1]] * 2
    sounds = [
        Example(patch, np.array(t), f"{n:02}.wav", 0, "minuet-data" if n % 2 else "chuck-data")
        for n, t in enumerate(tags)
    ]

    class Embedder:
        vocabulary = type("V", (), {"readable": "ab".__getitem__, "__len__": lambda self: 2})()

        def tag_scores(self, files):
            assert files == [tmp_path / "audio" / one.id for one in sounds]
            return scores

    monkeypatch.setattr(heard, "load", lambda folder: Embedder())
    # Two patches of a sound are one sound.
    monkeypatch.setattr(heard, "SplitReader", lambda *_: [sounds[3], *sounds[::-1]])
    monkeypatch.setattr(heard, "FEWEST_SOUNDS", 2)
    monkeypatch.setattr(heard, "SHOWN_NOTES", 2)
    found = heard.tags_of_sounds(tmp_path, tmp_path, tmp_path)
    assert found["best"] == [["a", 1.0, 12], ["b", 1.0, 2]]
    assert found["sounds_counted"] == 12
    assert [one["file"] for one in found["sounds"]] == [
        *("00.wav", "01.wav", "02.wav", "04.wav", "06.wav", "08.wav", "10.wav", "11.wav")
    ]
    assert found["sounds"][-1]["heard"] == [["b", 0.8], ["a", 0.2]]


def test_mix_ups_are_shares_of_a_label(monkeypatch):
    monkeypatch.setattr(heard, "SHOWN_MIX_UPS", 2)
    evaluation = {
        "tasks": [{"name": "t", "labels": ["x", "y", "z"]}],
        "outcomes": [
            {"task": "t", "model": "m", "confusion": [[8, 2, 0], [10, 10, 0], [1, 9, 90]]},
            {"task": "t", "model": "other", "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
        ],
    }
    assert heard.confused(evaluation, "t", "m") == {
        "right": {"x": 0.8, "y": 0.5, "z": 0.9},
        "mixed_up": [["y", "x", 0.5], ["x", "y", 0.2]],
    }
