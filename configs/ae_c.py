"""AE-C of the paper: both autoencoders and the contrastive loss, 200 epochs of plain SGD.

    coala train ae_c --data=dataset/mine --workdir=runs/ae_c

`ae_c:released` follows the authors' released code where it differs from their text.

A step of 128 patches takes 1.7 s on 2 CPU cores: the paper's 267,000 steps on 170,906 patches are
for an accelerator. To expect, from Table 1: UrbanSound8K 72.7 %, GTZAN 60.7 %, NSynth 73.1 %.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config(mode: str = "paper") -> ConfigDict:
    return get_default_config(mode)
