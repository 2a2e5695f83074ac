"""What random draws are held to."""

import numpy as np

RATES = [0.25, 0.5, 0.1, 1 / 3]  # of dropout


def assert_share(hits: np.ndarray, share: float) -> None:
    """The share of True, within five standard deviations of independent draws."""
    deviation = np.sqrt(share * (1 - share) / hits.size)
    assert abs(hits.mean() - share) < 5 * deviation
