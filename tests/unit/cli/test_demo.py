"""coala demo: its steps, and that it stops at one that fails."""

from coala_jax.data_prep import from_folder
from coala_jax.data_prep.sample_corpus import __main__ as sample_corpus

from coala_jax.cli import demo, train


def test_the_demo_stops_at_the_step_that_fails(monkeypatch, caplog):
    done = []

    def step(name, code):
        return lambda given: done.append((name, given)) or code

    monkeypatch.setattr(sample_corpus, "main", step("corpus", 0))
    monkeypatch.setattr(from_folder, "main", step("prepare", 0))
    monkeypatch.setattr(train, "main", step("train", 3))
    with caplog.at_level("INFO", logger="absl"):
        assert demo.main(["--corpus=synthetic", "--workdir=w"]) == 3
    tables = ["--audio=corpus/synthetic/audio", "--tags=corpus/synthetic/sounds.csv"]
    assert done == [
        ("corpus", ["--corpus=synthetic", "--out=corpus/synthetic"]),
        ("prepare", [*tables, "--out=dataset/synthetic", "--validation_fraction=0.2"]),
        ("train", ["quickstart", "--data=dataset/synthetic", "--workdir=w"]),
    ]
    assert "coala train quickstart --data=dataset/synthetic --workdir=w" in caplog.text
    done.clear()
    monkeypatch.setattr(from_folder, "main", step("prepare", 1))
    assert demo.main(["--corpus=synthetic"]) == 1
    assert [name for name, _ in done] == ["corpus", "prepare"]
