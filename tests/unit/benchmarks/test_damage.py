"""A few damages of each kind to a dataset, a model and records: none may be believed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import damage, damage_targets
from benchmarks.damage import run_trials, summary
from benchmarks.damage_targets import Target
from benchmarks.measure import BenchmarkError
from coala_jax import storage
from tests.synthetic import tiny_model, write_random_dataset
from tests.unit.models.test_bank import random_bank


def dataset(folder: Path) -> Target:
    write_random_dataset(folder / "dataset", 4, 2)
    return damage_targets.dataset(folder / "dataset")


def model(folder: Path) -> Target:
    tiny_model("e_c", bank=random_bank()).save_pretrained(folder / "model")
    return damage_targets.pretrained_model(folder / "model")


def records(folder: Path) -> Target:
    storage.write_record(folder / "results.json", {"kind": "training", "epochs": 1})
    entries = [{"kind": kind, "epoch": 1, "loss": 1.0} for kind in ("train", "validation")]
    (folder / "metrics.jsonl").write_text("".join(map(storage.json_line, entries)))
    return damage_targets.records(folder)


@pytest.mark.parametrize("make", [dataset, model, records])
def test_no_damage_is_believed_and_each_is_named(
    tmp_path: Path, make: Callable[[Path], Target]
) -> None:
    target = make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    figures = summary(run_trials([target], 60, 0, None, 1.0))
    assert figures["damages"] == 60
    found = figures["verdicts"][target.name]
    assert found["found"] + found["harmless"] == 60 and found["found"] > 40, found
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.fixture
def text(tmp_path: Path) -> Target:
    """A file of which the second half is read and not checked, and the first not read."""
    (tmp_path / "text").mkdir()
    file = tmp_path / "text" / "a.txt"
    file.write_bytes(b"a" * 100)

    def read() -> str:
        content = file.read_bytes()
        if len(content) < 100:
            raise ValueError("it is cut") if len(content) % 2 else ZeroDivisionError()
        return content[50:].hex()

    return Target("text", tmp_path / "text", read)


def test_every_verdict_is_given_and_a_second_start_goes_on(text: Target, tmp_path: Path) -> None:
    out = tmp_path / "damage.jsonl"
    first = run_trials([text], 25, 3, out, 1.0)
    with out.open("a") as lines:
        lines.write('{"number": 25, "se')  # what a kill leaves
    both = run_trials([text], 50, 3, out, 1.0)
    assert {number: both[number] for number in first} == first
    assert [json.loads(line) for line in out.read_text().splitlines()] == list(both.values())
    verdicts = summary(both)["verdicts"]["text"]
    assert verdicts.keys() == set(damage.VERDICTS)
    assert min(verdicts[name] for name in ("unnamed", "harmless", "silent", "traceback")) > 0
    assert verdicts["found"] > 0  # where it is deleted
    again = run_trials([text], 50, 3, None, 1.0)
    pairs = zip(both.values(), again.values(), strict=True)
    assert all(one["verdict"] == other["verdict"] for one, other in pairs)
    with pytest.raises(BenchmarkError, match="another seed"):
        run_trials([text], 50, 4, out, 1.0)
