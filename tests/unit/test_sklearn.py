import numpy as np
import pytest
import soundfile
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coala_jax.embedding.embedder import load
from coala_jax.sklearn import Embedder
from tests.synthetic import tiny_model
from tests.unit.embedding.test_embedder import noise

pytestmark = pytest.mark.integration  # compiles a whole network


def test_a_classifier_of_files_in_one_pipeline(tmp_path, monkeypatch):
    tiny_model("ae_c").save_pretrained(tmp_path / "model")
    files, labels = [], []
    for place in range(12):
        files.append(str(tmp_path / f"{place}.wav"))
        labels.append(["noise", "hum"][place % 2])
        hum = 0.5 * np.sin(np.arange(9_000) * 0.01)
        soundfile.write(files[-1], noise(9_000, place) if place % 2 == 0 else hum, 22_000)
    embedder = Embedder(tmp_path / "model")
    pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression())
    pipeline.fit(files, labels)
    assert pipeline.score(files, labels) == 1
    vectors = load(tmp_path / "model").embed(files[:2])
    np.testing.assert_array_equal(embedder.transform(np.array(files[:2])), vectors)
    names = pipeline[:2].get_feature_names_out()
    assert len(names) == 18 and names[0] == "coala0"
    copy = clone(embedder)
    assert copy.get_params() == embedder.get_params() and not hasattr(copy, "embedder_")
    monkeypatch.setattr("coala_jax.models.default._FOLDER", tmp_path / "model")
    built_in = clone(Embedder())
    assert built_in.get_params()["model"] is None
    np.testing.assert_array_equal(built_in.fit_transform(files[:2]), vectors)
    samples = Embedder(load(tmp_path / "model"), sample_rate_hz=22_000).fit_transform(
        [noise(9_000)]
    )
    assert samples.shape == (1, 18)
    layers = Embedder(tmp_path / "model", pooling="layers").fit(files)
    assert len(layers.get_feature_names_out()) == 60 and clone(layers).pooling == "layers"
    with pytest.raises(ValueError, match="layers, and the loaded model's is mean"):
        Embedder(load(tmp_path / "model"), pooling="layers").fit(files)
