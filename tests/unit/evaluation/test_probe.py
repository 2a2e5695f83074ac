"""The probe against scikit-learn's MLPClassifier, which draws the same numbers from a seed."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from coala_jax.evaluation import probe

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

DIMENSIONS = 16


def clips(count: int, classes: int, seed: int, spread: float = 3.0):
    """Clouds about the centre of each class; with little spread they overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    centres = spread * np.random.default_rng(99).normal(size=(classes, DIMENSIONS))
    features = 5 * (centres[labels] + rng.normal(size=(count, DIMENSIONS))) + 20
    return features.astype(np.float32), labels


def by_sklearn(train, labels, seed: int, epochs: int, **settings) -> MLPClassifier:
    model = MLPClassifier(256, random_state=seed, max_iter=epochs, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(StandardScaler().fit_transform(train), labels)


def fit(train, labels, seeds, epochs: int, **settings) -> list[probe.Trained]:
    standard, _ = probe.standardize(train, labels, train, int(labels.max()) + 1)
    return probe.fit(standard, labels, seeds, epochs, **settings)


def assert_equal_training(ours: probe.Trained, theirs: MLPClassifier) -> None:
    np.testing.assert_allclose(ours.losses, theirs.loss_curve_, rtol=1e-5)
    (hidden, output), (hidden_bias, output_bias) = theirs.coefs_, theirs.intercepts_
    wanted = probe.Weights(hidden.T, hidden_bias, output, output_bias)
    for found, weights in zip(ours.weights, wanted, strict=True):
        np.testing.assert_allclose(found, weights, atol=3e-5)


@pytest.mark.parametrize(
    ("count", "classes"),
    [
        pytest.param(430, 3, id="a short last batch"),
        pytest.param(400, 2, id="two classes"),
        pytest.param(150, 3, id="fewer clips than a batch"),
    ],
)
def test_losses_weights_and_predictions_are_scikit_learns(count, classes):
    train, labels = clips(count, classes, seed=0, spread=0.3)
    test, _ = clips(1000, classes, seed=1, spread=0.3)
    theirs = [by_sklearn(train, labels, seed, epochs=12) for seed in (5, 6)]
    for ours, model in zip(fit(train, labels, [5, 6], 12), theirs, strict=True):
        assert_equal_training(ours, model)
    predicted = probe.mlp(train, labels, test, classes, [5, 6], max_epochs=12)
    standard = StandardScaler().fit(train).transform(test)
    expected = np.stack([model.predict(standard) for model in theirs])
    assert predicted.shape == (2, 1000) and predicted.dtype == np.int32
    assert (predicted != expected).mean() < 0.002  # on the border between two classes
    assert (predicted[0] != predicted[1]).any()


def test_penalty_is_scikit_learns_in_both_layers(monkeypatch):
    monkeypatch.setattr(probe, "ALPHA", 20.0)  # enough to be seen beside the cross-entropy
    probe._train_epoch.clear_cache()
    train, labels = clips(205, 3, seed=0, spread=0.3)
    (ours,) = fit(train, labels, [5], 6)
    probe._train_epoch.clear_cache()
    assert_equal_training(ours, by_sklearn(train, labels, seed=5, epochs=6, alpha=20.0))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_hopeless_clip_has_scikit_learns_clipped_loss_and_the_whole_gradient(classes):
    draw = np.random.RandomState(0)
    weights = jax.tree.map(jnp.asarray, probe._initial_weights(draw, DIMENSIONS, classes))
    inputs = jnp.full((1, DIMENSIONS), 100, jnp.float32)
    shares = np.asarray(jax.nn.softmax(probe.logits(weights, inputs)))[0]
    assert shares.min() < np.finfo(np.float32).eps / 10
    target = np.eye(classes, dtype=np.float32)[[shares.argmin()]]
    train = jax.jit(jax.value_and_grad(probe.batch_loss))
    loss, gradient = train(weights, inputs, jnp.asarray(target))
    assert loss == pytest.approx(-np.log(np.finfo(np.float32).eps), abs=0.05)
    slope = (shares - target[0])[1 if classes == 2 else 0 :]
    np.testing.assert_allclose(gradient.output_bias, slope, atol=1e-6)


def test_training_ends_when_scikit_learns_does():
    train, labels = clips(150, 3, seed=0)
    theirs = by_sklearn(train, labels, seed=0, epochs=200)
    ours, _ = fit(train, labels, [0, 1], 200)
    assert theirs.n_iter_ < 200
    assert abs(len(ours.losses) - theirs.n_iter_) <= 2  # losses that differ by the tolerance


@pytest.mark.parametrize("patience", [0, 1, 10])
def test_stopping_rule_is_scikit_learns(patience):
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses = np.cumsum(rng.choice([-2e-4, -1e-4, -5e-5, 0, 1e-4], size=60))
        theirs = MLPClassifier(n_iter_no_change=patience)
        theirs.best_loss_, theirs._no_improvement_count, theirs.loss_curve_ = np.inf, 0, []
        rule = probe._StoppingRule(patience)
        for loss in losses.tolist():
            theirs.loss_curve_.append(loss)
            theirs._update_no_improvement_count(False, None, None, None)
            assert rule.ends(loss) == (theirs._no_improvement_count > patience)


def test_a_seed_is_trained_the_same_whatever_is_beside_it_and_whichever_ends_first():
    train, labels = clips(430, 3, seed=0)
    seeds, options = [3, 4, 5], {"epochs": 60, "patience": 1}
    together = fit(train, labels, seeds, **options)
    assert len({len(one.losses) for one in together}) > 1  # the last one goes on alone
    pairs = fit(train, labels, [4, 3], **options)[::-1] + fit(train, labels, [5, 5], **options)[:1]
    for one, other in zip(together, pairs, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)
        np.testing.assert_allclose(one.weights.hidden, other.weights.hidden, atol=1e-4)
    again = fit(train, labels, seeds, **options)
    assert [one.losses for one in again] == [one.losses for one in together]


def test_constant_features_are_only_centred():
    train, labels = clips(150, 3, seed=0, spread=0.3)
    train[:, 4] = 0.1
    standard, other = probe.standardize(train, labels, train[:5] + 1, 3)
    assert (standard[:, 4] == 0).all()
    assert np.isfinite(other).all()
    np.testing.assert_allclose(np.delete(standard, 4, axis=1).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(standard, 4, axis=1).std(axis=0), 1, atol=1e-6)


def test_a_class_without_training_clips_is_never_predicted():
    train, labels = clips(150, 3, seed=0)
    predicted = probe.mlp(train, labels * 2, train, 6, [0, 1], max_epochs=60)
    assert (predicted == labels * 2).all()


def test_bad_input_is_an_error():
    train, labels = clips(20, 2, seed=0)
    broken = train.copy()
    broken[3, 2] = np.inf
    for arguments in ((broken, labels, train), (train, labels, broken)):
        with pytest.raises(ValueError, match="number 3"):
            probe.mlp(*arguments, 2, [0])
    for wrong in (np.zeros_like(labels), labels + 1, labels - 1):
        with pytest.raises(ValueError, match="0 to 1"):
            probe.mlp(train, wrong, train, 2, [0])
    with pytest.raises(ValueError, match="epoch 1"):
        probe._StoppingRule(10).ends(float("nan"))
