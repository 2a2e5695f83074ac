"""Alternatives to the MLP probe: scikit-learn's logistic regression and SVM.

Both take the arguments of `probe.mlp` and standardise as it does. Neither is random: they return
one row, whatever the seeds.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int32, Int64
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from coala_jax.evaluation.probe import standardize

_ITERATIONS = 1000  # of L-BFGS at most; scikit-learn's 100 are too few for 1152 features
_KERNEL_CACHE_MB = 1000


def logistic_regression(
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
    seeds: Sequence[int] = (),
) -> Int32[np.ndarray, "1 test_clip"]:
    """Predicted classes of the test clips; multinomial, L2 penalty with C = 1."""
    return _predict(LogisticRegression(max_iter=_ITERATIONS), train, classes, test, class_count)


def svm(
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
    seeds: Sequence[int] = (),
) -> Int32[np.ndarray, "1 test_clip"]:
    """Predicted classes of the test clips; Gaussian kernel, C = 1, one class against one."""
    return _predict(SVC(cache_size=_KERNEL_CACHE_MB), train, classes, test, class_count)


def _predict(
    classifier: ClassifierMixin,
    train: Float32[np.ndarray, "clip dim"],
    classes: Int64[np.ndarray, " clip"],
    test: Float32[np.ndarray, "test_clip dim"],
    class_count: int,
) -> Int32[np.ndarray, "1 test_clip"]:
    train, test = standardize(train, classes, test, class_count)
    return classifier.fit(train, classes).predict(test)[None].astype(np.int32)
