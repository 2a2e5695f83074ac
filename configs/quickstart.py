"""The paper's AE-C, narrower, trained with Adam: a minute or two on a laptop, training alone.

    coala train quickstart --data=dataset/mine --workdir=runs/quickstart

`quickstart:released` follows the authors' code where it differs from their text.

`./run.sh` calls it on the small corpus of 565 real sounds, and takes 3 to 5 minutes in all.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config(mode: str = "paper") -> ConfigDict:
    config = get_default_config(mode)
    config.model.filters = 32  # a quarter of the paper's: a tenth of the time
    config.optimizer.name = "adam"  # the paper's SGD needs its 267,000 steps
    config.optimizer.learning_rate = 0.003
    config.train.batch_size = 32
    config.train.epochs = 20
    config.eval.every_epochs = 1
    return config
