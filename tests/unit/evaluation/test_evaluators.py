"""Which evaluator each spec loads, and specs that are errors."""

import re

import numpy as np
import pytest

from coala_jax.embedding.embedder import load
from coala_jax.evaluation.baselines import Mfcc
from coala_jax.evaluation.evaluators import Evaluator, ModelEvaluator, load_evaluators
from coala_jax.evaluation.vector_table import VectorTable
from coala_jax.models.pretrained import ModelError
from tests.synthetic import tiny_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "dogs"
    tiny_model("ae_c").save_pretrained(folder / "model")
    return folder


def test_each_kind_of_model(run):
    specs = [f"{run}/model", "mfcc", "mfcc:released", f"untrained:{run}/model"]
    specs += [f"untrained:{run}/model:3", f"mine={run}/model"]
    found = load_evaluators(specs)
    assert [one.name for one in found] == [
        *("dogs", "MFCC", "MFCC released", "untrained dogs", "untrained dogs 3", "mine")
    ]
    assert [one.case for one in found] == ["ae_c", "mfcc", "mfcc", "", "", "ae_c"]
    assert all(isinstance(one, Evaluator) for one in found)
    kinds = [ModelEvaluator, Mfcc, Mfcc, ModelEvaluator, ModelEvaluator, ModelEvaluator]
    assert [type(one) for one in found] == kinds
    digests = [one.digest for one in found]
    assert digests[0] == digests[5] == load(run / "model").digest
    assert len(set(digests)) == 5  # what differs in seed or mode differs


def test_the_built_in_model_is_called_default(run, monkeypatch):
    monkeypatch.setattr("coala_jax.models.default._FOLDER", run / "model")
    specs = ["default", "mine=default", "untrained:default", "untrained:default:3"]
    found = load_evaluators(specs)
    named = load_evaluators(
        [f"{run}/model", f"a={run}/model", *(f"untrained:{run}/model{seed}" for seed in ("", ":3"))]
    )
    names = ["default", "mine", "untrained default", "untrained default 3"]
    assert [one.name for one in found] == names
    assert [one.digest for one in found] == [one.digest for one in named]
    assert [one.case for one in found] == ["ae_c", "ae_c", "", ""]


def test_each_pooling_is_a_row_of_each_model_but_not_of_mfccs(run, tmp_path):
    tiny_model("e_c", pooling="layers").save_pretrained(tmp_path / "cats" / "model")
    specs = [f"{run}/model", "mfcc", f"untrained:{tmp_path}/cats/model:3"]

    def found(*poolings):
        return [
            (one.name, one.embedder.pooling if isinstance(one, ModelEvaluator) else "", one.digest)
            for one in load_evaluators(specs, poolings)
        ]

    own, both = found(), found("mean", "layers")
    wanted = [("dogs", "mean"), ("MFCC", ""), ("untrained cats 3", "layers")]
    assert [one[:2] for one in own] == wanted
    assert [one[:2] for one in found("layers")] == [("dogs", "layers"), *wanted[1:]]
    assert [one[:2] for one in both] == [
        *(("dogs, mean", "mean"), ("dogs, layers", "layers"), ("MFCC", "")),
        *(("untrained cats 3, mean", "mean"), ("untrained cats 3, layers", "layers")),
    ]
    digests = [digest for _, _, digest in both]
    assert len(set(digests)) == 5  # so that no cache takes one for the other
    assert [digest for _, _, digest in own] == [digests[0], digests[2], digests[4]]
    with pytest.raises(ValueError, match="got max"):
        load_evaluators(specs, ["max"])


def test_the_name_is_before_the_first_equals_sign_unless_that_is_in_a_path(run, tmp_path):
    odd = tmp_path / "lr=0.1"
    tiny_model("e_c").save_pretrained(odd / "model")
    named, plain = load_evaluators([f"E-C={odd}/model", f"{odd}/model"])
    assert (named.name, plain.name) == ("E-C", "lr=0.1")
    assert named.case == plain.case == "e_c"


def test_vectors_of_a_file_have_its_name_or_a_given_one_and_no_pooling(run, tmp_path):
    np.savez(tmp_path / "theirs.npz", path=["a.wav"], vectors=np.ones((1, 2), np.float32))
    spec = f"vectors:{tmp_path}/theirs.npz"
    plain, named = load_evaluators([spec, f"peer={spec}"], ["mean", "layers"])
    assert (plain.name, named.name) == ("theirs", "peer")
    assert isinstance(plain, VectorTable) and plain.digest == named.digest


@pytest.mark.parametrize("spec", ["", "name=", "untrained:", "vectors:", "mffc"])
def test_an_invalid_spec_is_an_error_that_lists_the_valid_ones(spec):
    with pytest.raises(ValueError, match=rf"{spec!r}.* mfcc:released"):
        load_evaluators([spec])


def test_equal_names_and_folders_without_a_model_are_errors(run, tmp_path):
    with pytest.raises(ValueError, match="'dogs'"):
        load_evaluators([f"{run}/model", "mfcc", f"dogs={run}/model"])
    with pytest.raises(ValueError, match=f"{run}/model"):  # of a run it is a folder deeper
        load_evaluators([str(run)])
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
        load_evaluators([f"untrained:{tmp_path}/none"])
