import numpy as np
import pytest

from coala_jax import storage
from coala_jax.evaluation import comparison
from coala_jax.evaluation.comparison import EvaluationSettings, evaluate_task, majority
from coala_jax.evaluation.tasks import TaskError, load_task
from tests.evaluation_record import nearest_mean
from tests.tiny_task import Deaf, Ears, write_task


@pytest.fixture(autouse=True)
def quick_head(monkeypatch):
    """The probe takes seconds to compile, and has its own tests."""
    monkeypatch.setitem(comparison.HEADS, "mlp", nearest_mean)


@pytest.fixture
def folder(tmp_path):
    return write_task(tmp_path / "mine", clips=45)


def evaluate(folder, evaluator, work, **settings):
    settings = EvaluationSettings(**{"seeds": (0, 2)} | settings)
    return evaluate_task(load_task(str(folder)), [evaluator], settings, work)


def outcome_of(*args, **settings):
    return evaluate(*args, **settings).outcomes[0].to_dict()


@pytest.mark.parametrize("head", comparison.HEADS)
def test_a_perfect_embedding_scores_1_and_a_random_one_chance(head, tmp_path):
    task = load_task(str(write_task(tmp_path / "mine", clips=90)))
    settings = EvaluationSettings((head,), (0,))
    perfect, random = evaluate_task(task, [Ears(), Deaf()], settings, tmp_path / "w").outcomes
    assert [(one.head, one.model) for one in (perfect, random)] == [(head, "ears"), (head, "deaf")]
    assert perfect.accuracies.tolist() == [1.0]
    assert perfect.confusion.tolist() == (np.eye(3, dtype=int) * 30).tolist()
    assert random.fold_accuracies.shape == (3, 1)
    # Four standard deviations of a guess.
    assert abs(random.mean - 1 / 3) < 4 * np.sqrt(1 / 3 * 2 / 3 / 90)


def test_every_clip_is_tested_once_by_a_classifier_that_did_not_see_it(folder, tmp_path):
    """An embedding that numbers the clips can be learned by heart, but does not tell classes."""

    class Names(Deaf):
        def _vector(self, waveform):
            return np.eye(45, dtype=np.float32)[round(float(waveform[-1]) * 45_000) - 1]

    outcome = evaluate(folder, Names(), tmp_path / "work", seeds=(0, 2, 4)).outcomes[0]
    assert outcome.confusion.sum(axis=1).tolist() == [45, 45, 45]  # 15 clips by 3 seeds
    assert outcome.mean < 0.6


def test_what_was_computed_is_not_computed_again(folder, tmp_path, monkeypatch):
    first = outcome_of(folder, deaf := Deaf(), tmp_path / "work")
    assert deaf.heard == 45
    assert outcome_of(folder, Deaf(), tmp_path / "work", seeds=(1, 3)) != first
    monkeypatch.setitem(comparison.HEADS, "mlp", None)
    assert outcome_of(folder, deaf := Deaf(), tmp_path / "work") == first
    assert deaf.heard == 0
    with monkeypatch.context() as patch, pytest.raises(TypeError):  # other source
        patch.setattr(storage, "source_digests", lambda modules: dict.fromkeys(modules, "0"))
        outcome_of(folder, Deaf(), tmp_path / "work")
    table = (folder / "clips.csv").read_text()
    (folder / "clips.csv").write_text(table.replace("dog", "saw", 1))  # another class
    with pytest.raises(TypeError):
        outcome_of(folder, Deaf(), tmp_path / "work")


def test_damaged_predictions_are_reported_and_computed_again(folder, tmp_path, caplog):
    first = outcome_of(folder, Deaf(), tmp_path / "work")
    kept = sorted((tmp_path / "work" / "predictions").iterdir())
    assert len(kept) == 3  # one a fold
    kept[1].write_bytes(kept[1].read_bytes()[:-30])
    assert outcome_of(folder, Deaf(), tmp_path / "work") == first
    assert str(kept[1]) in caplog.text
    assert sorted((tmp_path / "work" / "predictions").iterdir()) == kept


def test_clips_that_cannot_be_read_are_named_or_left_out(folder, tmp_path):
    (folder / "audio" / "0007.wav").write_bytes(b"RIFF, but not for long")  # 7 // 3 % 3: fold 2
    (folder / "audio" / "0008.wav").write_bytes(b"")
    with pytest.raises(TaskError) as error:
        evaluate(folder, Ears(), tmp_path / "work")
    for token in (str(folder), "2 of 45", "--allow_missing", "audio/0007.wav", "audio/0008.wav"):
        assert token in str(error.value)
    found = evaluate(folder, Ears(), tmp_path / "work", allow_missing=True)
    assert found.task.left_out == {"fold 2": ["audio/0007.wav", "audio/0008.wav"]}
    assert found.outcomes[0].confusion.sum() == 43 * 2
    assert found.outcomes[0].mean == 1.0  # vectors and classes still belong together
    assert len(found.vectors["ears"]) == 43


def test_test_clips_that_are_training_clips_under_another_name_are_remarked_on(folder, tmp_path):
    content = (folder / "audio" / "0000.wav").read_bytes()  # fold 0
    (folder / "audio" / "0003.wav").write_bytes(content)  # fold 1
    (remark,) = evaluate(folder, Ears(), tmp_path / "work").task.remarks
    assert remark.startswith("2 test clips")
    assert "audio/0000.wav, audio/0003.wav" in remark


def test_the_digest_of_the_data_is_of_bytes_classes_and_folds(folder, tmp_path):
    table = (folder / "clips.csv").read_text()
    digests = [evaluate(folder, Ears(), tmp_path / "work").data_digest for _ in range(2)]
    assert digests[0] == digests[1]
    for old, new in (("0.wav,dog,0", "0.wav,rain,0"), (",0\n", ",1\n")):
        (folder / "clips.csv").write_text(table.replace(old, new, 1))
        digests.append(evaluate(folder, Ears(), tmp_path / "work").data_digest)
    (folder / "clips.csv").write_text(table)
    (folder / "audio" / "0003.wav").write_bytes((folder / "audio" / "0000.wav").read_bytes())
    digests.append(evaluate(folder, Ears(), tmp_path / "work").data_digest)
    assert len(set(digests)) == 4


def test_majority_is_of_the_training_clips(tmp_path):
    folder = write_task(tmp_path / "mine", clips=9)
    labels = ["dog", "dog", "rain", "saw", "rain", "rain", "rain", "dog", "saw"]
    rows = [
        f"audio/{i:04}.wav,{one},{'train' if i < 4 else 'test'}" for i, one in enumerate(labels)
    ]
    (folder / "clips.csv").write_text("\n".join(["file,label,split", *rows]))
    assert majority(load_task(str(folder))) == 1 / 5  # dog; rain would be right more often
