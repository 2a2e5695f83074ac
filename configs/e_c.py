"""E-C of the paper: the two encoders and the contrastive loss, no decoders; 200 epochs.

    python -m coala_jax.main --config=configs/e_c.py --workdir=W --config.data.path=DATASET

A step takes about half as long as one of AE-C.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config() -> ConfigDict:
    config = get_default_config()
    config.case = "e_c"
    return config
