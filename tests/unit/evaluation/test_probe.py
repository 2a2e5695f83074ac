"""The probe against scikit-learn's MLPClassifier, which draws the same numbers from a seed."""

import warnings

import jax
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from coala_jax.evaluation import probe, probe_epoch

DIMENSIONS = 16


def _clips(count: int, classes: int, seed: int, spread: float = 3.0):
    """Clouds about centres of one's own; with little spread they overlap."""
    rng = np.random.default_rng(seed)
    places = rng.integers(classes, size=count)
    centres = spread * np.random.default_rng(99).normal(size=(classes, DIMENSIONS))
    features = 5 * (centres[places] + rng.normal(size=(count, DIMENSIONS))) + 20
    return features.astype(np.float32), places


def _sklearn(train, places, seed: int, epochs: int, **settings) -> MLPClassifier:
    model = MLPClassifier(256, random_state=seed, max_iter=epochs, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(StandardScaler().fit_transform(train), places)


def _fit(train, places, classes: int, seeds, epochs: int, **settings) -> list[probe.Trained]:
    standard, _ = probe.standardize(train, places, train, classes)
    return probe.fit(standard, probe._targets(places, classes), seeds, epochs, **settings)


# 430: two whole batches and a short one; 400: whole ones alone; 150: fewer clips than a batch.
@pytest.mark.parametrize(("count", "classes"), [(430, 3), (430, 2), (400, 3), (150, 3)])
def test_losses_and_weights_are_those_of_scikit_learn(count, classes):
    train, places = _clips(count, classes, seed=0, spread=0.3)
    theirs = _sklearn(train, places, seed=5, epochs=12)
    (ours,) = _fit(train, places, classes, [5], 12)

    np.testing.assert_allclose(ours.losses, theirs.loss_curve_, rtol=2e-6)
    hidden, output = theirs.coefs_
    np.testing.assert_allclose(ours.weights.hidden.T, hidden, atol=2e-5)
    np.testing.assert_allclose(ours.weights.output, output, atol=2e-5)
    np.testing.assert_allclose(ours.weights.hidden_bias, theirs.intercepts_[0], atol=2e-5)
    np.testing.assert_allclose(ours.weights.output_bias, theirs.intercepts_[1], atol=2e-5)


def test_penalty_is_that_of_scikit_learn_in_both_layers(monkeypatch):
    monkeypatch.setattr(probe_epoch, "ALPHA", 20.0)  # enough to be seen beside the cross-entropy
    probe_epoch.compiled_epoch.cache_clear()
    train, places = _clips(205, 3, seed=0, spread=0.3)
    theirs = _sklearn(train, places, seed=5, epochs=6, alpha=20.0)
    (ours,) = _fit(train, places, 3, [5], 6)
    probe_epoch.compiled_epoch.cache_clear()
    np.testing.assert_allclose(ours.losses, theirs.loss_curve_, rtol=2e-6)
    np.testing.assert_allclose(ours.weights.output, theirs.coefs_[1], atol=2e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_predicted_classes_are_those_of_scikit_learn(classes):
    train, places = _clips(430, classes, seed=0, spread=0.3)
    test, _ = _clips(1000, classes, seed=1, spread=0.3)
    ours = probe.mlp(train, places, test, classes, [0, 1], max_epochs=12)
    standard = StandardScaler().fit(train).transform(test)
    theirs = [_sklearn(train, places, seed, 12).predict(standard) for seed in (0, 1)]
    assert ours.shape == (2, 1000) and ours.dtype == np.int32
    assert (ours != np.stack(theirs)).mean() < 0.002  # those that lie on the border
    assert (ours[0] != ours[1]).any()


def test_training_ends_when_scikit_learn_s_does():
    train, places = _clips(150, 3, seed=0)
    theirs = _sklearn(train, places, seed=0, epochs=200)
    (ours,) = _fit(train, places, 3, [0], 200)
    assert theirs.n_iter_ < 200
    assert abs(len(ours.losses) - theirs.n_iter_) <= 2  # losses that differ by the tolerance


@pytest.mark.parametrize("patience", [0, 1, 10])
def test_stopping_rule_is_that_of_scikit_learn(patience):
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


def test_seeds_in_one_program_are_the_seeds_in_threads():
    train, places = _clips(430, 3, seed=0)  # they end in different epochs
    apart = _fit(train, places, 3, [3, 4, 5], 60, patience=1, together=False)
    together = _fit(train, places, 3, [3, 4, 5], 60, patience=1, together=True)
    assert len({len(one.losses) for one in apart}) > 1
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)
        np.testing.assert_allclose(one.weights.hidden, other.weights.hidden, atol=1e-4)


def test_the_same_seeds_give_the_same_figures_whatever_is_beside_them():
    train, places = _clips(430, 3, seed=0)
    several = _fit(train, places, 3, [3, 4, 5], 5)
    again = _fit(train, places, 3, [5, 3], 5)
    for one, other in ((several[0], again[1]), (several[2], again[0])):
        assert one.losses == other.losses
        jax.tree.map(np.testing.assert_array_equal, one.weights, other.weights)
    assert several[0].losses != several[1].losses


@pytest.mark.parametrize("classes", [2, 5])
def test_a_perfect_embedding_scores_one(classes):
    train, places = _clips(150, classes, seed=0)
    test, wanted = _clips(300, classes, seed=1)
    assert (probe.mlp(train, places, test, classes, [0, 1]) == wanted).all()


def test_a_random_embedding_scores_chance():
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(count, DIMENSIONS)) for count in (150, 2000))
    places = rng.integers(5, size=150)
    train, test = train.astype(np.float32), test.astype(np.float32)
    predicted = probe.mlp(train, places, test, 5, [0, 1], max_epochs=40)
    assert np.mean(predicted == rng.integers(5, size=2000)) == pytest.approx(0.2, abs=0.02)


def test_constant_features_change_nothing():
    train, places = _clips(150, 3, seed=0, spread=0.3)
    train[:, 4] = 0.1
    standard, other = probe.standardize(train, places, train[:5] + 1, 3)
    assert (standard[:, 4] == 0).all()
    assert np.isfinite(other).all()
    np.testing.assert_allclose(np.delete(standard, 4, axis=1).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(standard, 4, axis=1).std(axis=0), 1, atol=1e-6)


def test_a_class_without_training_clips_is_never_predicted():
    train, places = _clips(150, 3, seed=0)
    predicted = probe.mlp(train, places * 2, train, 6, [0], max_epochs=60)
    assert (predicted == places * 2).all()


def test_bad_input_is_told():
    train, places = _clips(20, 2, seed=0)
    broken = train.copy()
    broken[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"1 training clips .* number 3"):
        probe.mlp(broken, places, train, 2, [0])
    with pytest.raises(ValueError, match=r"1 test clips .* number 3"):
        probe.mlp(train, places, broken, 2, [0])
    for wrong in (np.zeros_like(places), places + 1, places - 1):
        with pytest.raises(ValueError, match="two or more of 0 to 1"):
            probe.mlp(train, wrong, train, 2, [0])


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(ValueError, match="loss is nan in epoch 1"):
        probe._StoppingRule(10).ends(float("nan"))
