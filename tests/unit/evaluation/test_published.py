"""What the paper prints follows from the runs that its authors released."""

import numpy as np
import pytest

from coala_jax.evaluation import published


@pytest.mark.parametrize("case", published.CASES)
@pytest.mark.parametrize("task", published.TASKS)
def test_the_papers_accuracy_is_the_mean_of_the_ten_released_runs(task, case):
    runs = published.RELEASED_ACCURACIES[task][case]
    assert len(runs) == 10
    assert round(100 * np.mean(runs), 1) == published.ACCURACIES_PERCENT[task][case]


# First and last of the file's figures, read off it by eye; the rest hangs on the means above.
@pytest.mark.parametrize(
    ("task", "case", "first", "last"),
    [
        ("nsynth", "e_c", 0.697509765625, 0.6982421875),
        ("nsynth", "ae_c", 0.72900390625, 0.734375),
        ("nsynth", "mfcc", 0.631103515625, 0.611572265625),
        ("nsynth", "cnn", 0.564453125, 0.5537109375),
        ("gtzan", "e_c", 0.6089965397923875, 0.5813148788927336),
        ("gtzan", "ae_c", 0.6020761245674741, 0.615916955017301),
        ("gtzan", "mfcc", 0.5121107266435986, 0.5051903114186851),
        ("gtzan", "cnn", 0.47058823529411764, 0.4532871972318339),
        ("urbansound8k", "ae_c", 0.7242825639977657, 0.7244296820721031),
    ],
)
def test_counts_over_the_number_of_clips_are_the_released_figures(task, case, first, last):
    runs = published.RELEASED_ACCURACIES[task][case]
    assert (runs[0], runs[-1]) == (first, last)


def test_the_correlations_rank_the_models_as_the_papers_text_says():
    """Section 4: autoencoders raise the correlation with the mean of MFCCs most; little else."""
    gains = {
        (descriptor, statistic): table["ae_c"][place] - table["e_c"][place]
        for descriptor, table in published.CORRELATIONS.items()
        for place, statistic in enumerate(published.STATISTICS)
    }
    assert min(gains.values()) > 0
    assert max(gains, key=gains.get) == ("mfcc", "mean")
    assert gains["mfcc", "mean"] == pytest.approx(0.26)
    assert all(
        len(row) == len(published.STATISTICS)
        for table in published.CORRELATIONS.values()
        for row in table.values()
    )
