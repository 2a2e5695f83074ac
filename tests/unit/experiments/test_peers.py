"""Peers: which programs run, what is done again, and the tables; no peer is installed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.evaluation import evaluators
from experiments import few_labels, own_speed, peer_embeddings, peer_environments, peers, programs
from tests.tiny_task import Deaf, Ears, write_task

MEASURED = {
    "dimensions": 2,
    "clips": 24,
    "seconds": 9.0,
    "cpu_seconds": 2.0,
    "audio_seconds": 30.0,
    "parameters": 1_234,
    "weights_bytes": 5_600_000,
}


class Named(Ears):
    def __init__(self, name):
        super().__init__()
        self.name = name


def nearest(train, classes, test, class_count):
    """The class of the nearest training clip: a thousand of these take no time."""
    return classes[np.square(test[:, None] - train).sum(axis=2).argmin(axis=1)][None]


@pytest.fixture
def calls(monkeypatch, commands, tmp_path):
    """Commands that are no programs of this project, faked as `commands` are."""
    found = []

    def call(*command):
        found.append(list(command))
        if "download" in command:
            wheels = Path(command[-2].removeprefix("--dest="))
            wheels.mkdir(exist_ok=True)
            (wheels / f"{command[-1].replace('==', '-')}-py3.whl").write_bytes(bytes(2_000_000))
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        if str(peer_environments.SCRIPT) in command:
            digests = list(json.loads(Path(command[3]).read_text()))
            vectors = np.arange(2 * len(digests), dtype=np.float32).reshape(-1, 2)
            np.savez(command[4], sha256=digests, vectors=vectors)
            Path(command[4]).with_suffix(".json").write_text(json.dumps(MEASURED))

    def load(specs, poolings=()):
        """What ours are is not read; vectors of peers are."""
        loaded = []
        for spec in specs:
            name, _, what = spec.partition("=")
            if what.startswith("vectors:"):
                loaded += evaluators.load_evaluators([spec])
            elif what.startswith("mfcc"):
                loaded.append(Deaf())
                loaded[-1].name = name
            else:
                loaded += [Named(f"{name}, {pooling}") for pooling in poolings]
        return loaded

    inner = programs.program

    def program(module, *flags):
        if not module.endswith("proxy_tasks"):
            return inner(module, *flags)
        commands.append(["proxy_tasks", *flags])
        first, second = (tmp_path / "tasks" / task for task in peers.TASKS)
        write_task(first, clips=24)
        shutil.copytree(first, second)  # written again, the clips would hold another time
        return None

    monkeypatch.setattr(programs, "program", program)
    monkeypatch.setattr(programs, "call", call)
    monkeypatch.setattr(peers, "load_evaluators", load)
    monkeypatch.setattr(own_speed, "measure", lambda spec, files: dict(MEASURED))
    monkeypatch.setattr(few_labels, "logistic_regression", nearest)
    return found


def flags(tmp_path, *more):
    models = [f"ours={tmp_path}/0", f"ours={tmp_path}/1", f"other={tmp_path}/2"]
    places = [f"--out={tmp_path}/out", f"--tasks={tmp_path}/tasks", "--python=python3"]
    return ["--model", *models, *places, "--draws=2", *more]


LINES = [
    *("ours, mean", "other, mean", "untrained, mean"),
    *("MFCC", "MFCC, peak", "aiSFX", "musicnn"),
    *("ours, layers", "other, layers", "untrained, layers"),
]


def test_all_stand_in_one_evaluation_and_get_the_same_labels(tmp_path, calls, commands, capsys):
    assert peers.main(flags(tmp_path)) == 0
    (evaluation,) = (command for command in commands if command[0] == "run")
    assert [flag for flag in evaluation if flag.startswith("--model=")] == [
        f"--model=ours #0={tmp_path}/0",
        f"--model=ours #1={tmp_path}/1",
        f"--model=other #0={tmp_path}/2",
        f"--model=untrained #0=untrained:{tmp_path}/0:1",
        "--model=MFCC=mfcc",
        "--model=MFCC, peak=mfcc:peak",
        f"--model=aiSFX=vectors:{tmp_path}/out/vectors/aisfx.npz",
        f"--model=musicnn=vectors:{tmp_path}/out/vectors/musicnn.npz",
    ]
    assert evaluation[-3:] == ["--head", "mlp", "logistic_regression"]
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert sorted(record["accuracies"]) == sorted(record["few_labels"]["events"]) == sorted(LINES)
    of_peer = record["accuracies"]["aiSFX"]["events"]["logistic_regression"]
    assert (of_peer["accuracy"], of_peer["over_reference"]["difference"]) == (0.5, 0)
    curves = record["few_labels"]["events"]
    assert [entry["accuracy"] for entry in curves["ours, layers"]] == [1, 1, 1, 1]  # it hears
    assert [entry["draws"] for entry in curves["musicnn"]] == [2, 2, 2, 1]
    assert list(record["sizes"]) == ["ours", "other", "MFCC", "MFCC, peak", "aiSFX", "musicnn"]
    assert record["sizes"]["musicnn"]["licence"] == "ISC"
    assert record["sizes"]["musicnn"]["package_bytes"] == 2_000_000
    table = (tmp_path / "out" / "results.md").read_text()
    assert table in capsys.readouterr().out
    assert "| ours, layers | 100.0 ± 0.0 |" in table
    assert "| aiSFX | 2 | 1,234 | 5.6 | 15.0 | CC BY 4.0 |" in table  # 30 s in 2 s of a core


def test_each_peer_has_an_environment_of_its_own_and_is_made_once(tmp_path, calls, commands):
    assert peers.main(flags(tmp_path)) == 0
    envs = tmp_path / "out" / "envs"
    aisfx, musicnn = (f"{envs}/{key}/bin/python" for key in ("aisfx", "musicnn"))
    pip = ["-m", "pip", "install"]
    assert calls[0] == ["python3", "-m", "venv", f"{envs}/aisfx"]
    assert [aisfx, *pip, "torch==2.13.0", "librosa==0.10.2", "tqdm"] in calls
    assert [musicnn, *pip, "tensorflow-cpu==2.15.1", "numpy<2", "librosa==0.10.2"] in calls
    for python, package in ((aisfx, "aisfx==0.1.2"), (musicnn, "musicnn==0.1.0")):
        local = ["--no-deps", "--no-index", f"--find-links={envs}/wheels"]
        assert [python, *pip, *local, package] in calls
    calls.clear()
    assert peers.main(flags(tmp_path)) == 0
    assert calls == []
    assert [command[0] for command in commands] == ["proxy_tasks", "run", "run"]
    (envs / "musicnn" / "done").write_text("of other packages")
    (tmp_path / "out" / "vectors" / "musicnn.json").unlink()  # as a kill leaves it
    assert peers.main(flags(tmp_path)) == 0
    assert {call[0] for call in calls} == {"python3", musicnn}


def test_other_clips_are_embedded_again(tmp_path, calls, commands):
    assert peers.main(flags(tmp_path)) == 0
    calls.clear()
    clip = tmp_path / "tasks" / "events" / "audio" / "0007.wav"
    clip.write_bytes(clip.read_bytes() + b"\0\0")
    assert peers.main(flags(tmp_path)) == 0
    assert [call[2] for call in calls] == ["aisfx", "musicnn"]
    listed = json.loads((tmp_path / "out" / "vectors" / "aisfx-clips.json").read_text())
    assert str(clip) in listed.values() and len(listed) == 25  # the tasks had equal clips


def test_a_peer_that_cannot_be_installed_ends_it(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="false -m venv x ended with exit code 1"):
        programs.call("false", "-m", "venv", "x")


def test_sounds_are_as_long_as_peers_take():
    short, long = np.arange(5.0), np.arange(40.0)
    assert peer_embeddings.padded(short, 10)[0].tolist() == [*short, *[0] * 7]
    assert peer_embeddings.tiled(short, 10)[0].tolist() == [*short] * 6
    for function in (peer_embeddings.padded, peer_embeddings.tiled):
        samples, rate_hz = function(long, 10)
        assert samples is long or samples.tolist() == long.tolist()
        assert rate_hz == 10


def test_parts_that_are_done_are_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(peer_embeddings, "PART_CLIPS", 2)
    paths = {}
    for place in range(3):
        soundfile.write(path := tmp_path / f"{place}.wav", np.zeros(800 * (place + 1)), 8_000)
        paths[f"digest {place}"] = path
    asked = []

    def embed(path):
        asked.append(path.stem)
        return np.array([float(path.stem), 1.0])

    peer = peer_embeddings.Peer(embed, "", 0, 0, ())
    for _ in range(2):
        found = peer_embeddings.embed_parts(peer, paths, tmp_path / "parts")
        assert found["vectors"].tolist() == [[0, 1], [1, 1], [2, 1]]
        assert found["audio_seconds"].tolist() == [0.1, 0.2, 0.3]
        assert found["sha256"].tolist() == list(paths)
    assert asked == ["0", "1", "2"]
    renamed = {f"{digest}!": path for digest, path in list(paths.items())[2:]} | paths
    peer_embeddings.embed_parts(peer, renamed, tmp_path / "parts")
    assert asked[3:] == ["2", "0", "1", "2"]  # other clips, other parts
