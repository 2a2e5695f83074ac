import csv
import dataclasses

import numpy as np
import pytest

from coala_jax import storage
from coala_jax.evaluation import comparison
from coala_jax.evaluation.comparison import Settings, compare, majority
from coala_jax.evaluation.tasks import TaskError, load_task
from tests.tiny_task import LABELS, Deaf, Ears, write_task

QUICK = Settings(seeds=(0, 1, 2))


@pytest.fixture
def folder(tmp_path):
    return write_task(tmp_path / "mine", clips=45)


def outcome_of(folder, evaluator, work, settings=QUICK):
    return compare(load_task(str(folder)), [evaluator], settings, work).outcomes[0]


def test_a_perfect_embedding_scores_1_and_a_random_one_chance(tmp_path):
    folder = write_task(tmp_path / "mine", clips=360)
    evaluators = [Ears(), Deaf()]
    settings = dataclasses.replace(QUICK, heads=("mlp", "logistic_regression", "svm"))
    found = compare(load_task(str(folder)), evaluators, settings, tmp_path / "work")
    assert [(one.head, one.model) for one in found.outcomes] == [
        (head, name) for head in settings.heads for name in ("ears", "deaf")
    ]
    for outcome in found.outcomes:
        assert outcome.labels == LABELS
        seeds = 3 if outcome.head == "mlp" else 1
        assert outcome.confusion.sum() == 360 * seeds
        assert outcome.fold_accuracies.shape == (3, seeds)
        if outcome.model == "ears":
            assert outcome.accuracies.tolist() == [1.0] * seeds
            assert outcome.confusion.tolist() == (np.eye(3, dtype=int) * 120 * seeds).tolist()
        else:  # four standard deviations of a guess
            assert abs(outcome.mean - 1 / 3) < 4 * np.sqrt(1 / 3 * 2 / 3 / 360)


def test_every_clip_is_tested_once_by_a_classifier_that_did_not_see_it(folder, tmp_path):
    """An embedding that is a number of its own for each clip can be learned by heart, not told."""

    class Names(Deaf):
        def _vector(self, waveform):
            return np.eye(45, dtype=np.float32)[round(float(waveform[-1]) * 45_000) - 1]

    outcome = outcome_of(folder, Names(), tmp_path / "work")
    assert outcome.confusion.sum(axis=1).tolist() == [45, 45, 45]  # 15 clips by 3 seeds
    assert outcome.mean < 0.6


def test_the_same_seeds_give_the_same_figures_and_others_do_not(folder, tmp_path):
    first, again = (outcome_of(folder, Deaf(), tmp_path / name) for name in "ab")
    assert first.to_dict() == again.to_dict()
    others = dataclasses.replace(QUICK, seeds=(3, 4, 5))
    assert outcome_of(folder, Deaf(), tmp_path / "a", others).to_dict() != first.to_dict()


def test_what_was_computed_is_not_computed_again(folder, tmp_path, monkeypatch):
    first = outcome_of(folder, deaf := Deaf(), tmp_path / "work")
    assert deaf.heard == 45
    monkeypatch.setitem(comparison.HEADS, "mlp", None)
    again = outcome_of(folder, deaf := Deaf(), tmp_path / "work")
    assert deaf.heard == 0
    assert again.to_dict() == first.to_dict()
    with (folder / "clips.csv").open() as file:
        rows = list(csv.reader(file))
    rows[1][1] = "saw"  # another class: other predictions
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(TypeError, match="NoneType"):
        outcome_of(folder, Deaf(), tmp_path / "work")


def test_predictions_of_other_source_are_made_anew(folder, tmp_path, monkeypatch):
    outcome_of(folder, Ears(), tmp_path / "work")
    monkeypatch.setattr(storage, "source_digests", lambda modules: {name: "0" for name in modules})
    monkeypatch.setitem(comparison.HEADS, "mlp", None)
    with pytest.raises(TypeError, match="NoneType"):
        outcome_of(folder, Ears(), tmp_path / "work")


def test_damaged_predictions_are_told_and_made_anew(folder, tmp_path, caplog):
    first = outcome_of(folder, Deaf(), tmp_path / "work")
    kept = sorted((tmp_path / "work" / "predictions").iterdir())
    assert len(kept) == 3  # one a round
    kept[1].write_bytes(kept[1].read_bytes()[:-30])
    assert outcome_of(folder, Deaf(), tmp_path / "work").to_dict() == first.to_dict()
    assert f"{kept[1]}: the cached arrays are damaged" in caplog.text
    assert sorted((tmp_path / "work" / "predictions").iterdir()) == kept


def test_a_clip_that_cannot_be_read_is_an_error_that_names_it(folder, tmp_path):
    (folder / "audio" / "0007.wav").write_bytes(b"RIFF, but not for long")
    (folder / "audio" / "0008.wav").write_bytes(b"")
    with pytest.raises(TaskError) as error:
        outcome_of(folder, Ears(), tmp_path / "work")
    assert f"{folder}: 2 of 45 clips cannot be read" in str(error.value)
    assert "--allow-missing" in str(error.value)
    for name in ("0007", "0008"):
        assert f"\n  audio/{name}.wav: " in str(error.value)


def test_allow_missing_goes_on_and_says_what_was_left_out_of_which_split(folder, tmp_path):
    (folder / "audio" / "0007.wav").write_bytes(b"RIFF, but not for long")  # 7 // 3 % 3: fold 2
    settings = dataclasses.replace(QUICK, allow_missing=True)
    found = compare(load_task(str(folder)), [Ears()], settings, tmp_path / "work")
    assert found.task.left_out == {"fold 2": ["audio/0007.wav"]}
    assert found.outcomes[0].confusion.sum() == 44 * 3
    assert found.outcomes[0].mean == 1.0  # vectors and classes still belong together
    assert len(found.vectors["ears"]) == 44


def test_copies_of_training_clips_among_test_clips_are_told(folder, tmp_path):
    content = (folder / "audio" / "0000.wav").read_bytes()  # fold 0
    (folder / "audio" / "0003.wav").write_bytes(content)  # fold 1
    found = compare(load_task(str(folder)), [Ears()], QUICK, tmp_path / "work")
    (remark,) = found.task.remarks
    assert remark.startswith("2 test clips are, byte for byte, training clips")
    assert "audio/0000.wav" in remark


def test_majority_is_of_the_training_clips(tmp_path):
    folder = tmp_path / "mine"
    write_task(folder, clips=9)
    rows = ["file,label,split"]
    labels = ["dog", "dog", "rain", "saw", "rain", "rain", "rain", "dog", "saw"]
    for number, label in enumerate(labels):
        rows.append(f"audio/{number:04}.wav,{label},{'train' if number < 4 else 'test'}")
    (folder / "clips.csv").write_text("\n".join(rows))
    assert majority(load_task(str(folder))) == 1 / 5  # dog; rain would be right more often


def test_the_digest_of_the_data_is_of_bytes_classes_and_rounds(folder, tmp_path):
    def digest() -> str:
        return compare(load_task(str(folder)), [Ears()], QUICK, tmp_path / "work").data_digest

    first = digest()
    assert digest() == first
    table = (folder / "clips.csv").read_text()
    for changed in (
        table.replace("0.wav,dog,0", "0.wav,rain,0", 1),
        table.replace(",0\n", ",1\n", 1),
    ):
        (folder / "clips.csv").write_text(changed)
        assert digest() != first
    (folder / "clips.csv").write_text(table)
    (folder / "audio" / "0003.wav").write_bytes((folder / "audio" / "0000.wav").read_bytes())
    assert digest() != first
