"""AE-C of the paper: both autoencoders and the contrastive loss, 200 epochs of plain SGD.

    python -m coala_jax.main --config=configs/ae_c.py --workdir=W --config.data.path=DATASET

One step of 128 patches takes some 4 s on 2 CPU cores: the whole schedule, 267,000 steps on the
paper's 170,906 training patches, is for an accelerator.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config() -> ConfigDict:
    return get_default_config()
