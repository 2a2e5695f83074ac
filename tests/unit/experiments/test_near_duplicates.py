"""Near-duplicates: what is compared at all."""

import numpy as np

from experiments import near_duplicates


def test_the_nearest_are_by_cosine_of_values_scaled_by_their_spread():
    # The second value has a spread a thousand times that of the first.
    sounds = np.array([[1, 0], [-1, 0], [0, 1000], [0, -1000]], np.float32)
    tests = np.array([[0.5, 100], [0.1, -900]], np.float32)
    assert near_duplicates.nearest(tests, sounds, 2).tolist() == [[0, 2], [3, 0]]
