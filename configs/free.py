"""The recipe: E-C for sounds of all kinds, on the free corpus or on your own; chosen on
development data by `experiments.recipe`, see docs/results.md.

    coala prepare --audio=sounds --tags=tags.csv --out=dataset/mine --level=peak
    coala train free --data=dataset/mine --workdir=runs/mine

Against the paper's E-C: half its width, Adam with a rate that decays, 27 epochs, and a clip's
embedding from all layers.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config(mode: str = "paper") -> ConfigDict:
    config = get_default_config(mode)
    config.case = "e_c"  # in the time that AE-C takes, twice the width: better on each task
    config.model.filters = 64
    config.model.pooling = "layers"
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.002
    config.optimizer.schedule = "cosine"
    config.train.epochs = 27
    return config
