"""E-C of the paper: the two encoders and the contrastive loss, no decoders; 200 epochs.

    coala train e_c --data=dataset/mine --workdir=runs/e_c

`e_c:released` follows the authors' released code where it differs from their text.

A step of 128 patches takes 0.75 s on 2 CPU cores, not half of AE-C's. To expect, from Table 1:
UrbanSound8K 72.5 %, GTZAN 58.9 %, NSynth 69.5 %.
"""

from ml_collections import ConfigDict

from coala_jax.default_config import get_config as get_default_config


def get_config(mode: str = "paper") -> ConfigDict:
    config = get_default_config(mode)
    config.case = "e_c"
    return config
