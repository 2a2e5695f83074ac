"""Every setting of a training run, its unit and its source; `configs/` change lines of it.

"paper" is Favory et al. (2020); its hyper-parameters stand in the supplement.
"""

import difflib
import math

from ml_collections import ConfigDict

CASES = ("ae_c", "e_c", "cnn")
OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "float64")


def get_config() -> ConfigDict:
    """The paper's AE-C."""
    config = ConfigDict()
    config.case = "ae_c"  # ae_c: all losses; e_c: contrastive only; cnn: predict the tags (3.1)
    config.seed = 0  # of weights, dropout and the order of the data
    config.precision = "float32"  # float64 is for proofs, and slow

    config.data = ConfigDict()
    config.data.path = ""  # dataset folder, as data_prep/from_folder.py writes it

    config.model = ConfigDict()
    config.model.filters = 128  # of each convolution; the embedding has 9 times as many values
    config.model.tag_hidden = 512  # units of the tag networks' hidden layers
    config.model.dropout_rate = 0.25  # share of units dropped after each ReLU

    config.loss = ConfigDict()
    config.loss.audio_weight = 5.0  # lambda_a of Eq. 13
    config.loss.tag_weight = 5.0  # lambda_t
    config.loss.contrastive_weight = 10.0  # lambda_xi
    config.loss.temperature = 0.1  # tau of Eq. 11

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # sgd (paper) or adam
    config.optimizer.learning_rate = 0.005

    config.train = ConfigDict()
    config.train.batch_size = 128  # pairs over all devices together
    config.train.epochs = 200

    config.checkpoint = ConfigDict()
    config.checkpoint.every_epochs = 1
    config.checkpoint.keep = 2  # newest checkpoints that stay on disk

    config.report = ConfigDict()
    config.report.reconstructions = 6  # validation sounds pictured beside their reconstruction
    return config.lock()


def validate(config: ConfigDict) -> None:
    """Raises ValueError, naming key, value and what it must be, before anything is computed."""

    def require(holds: bool, key: str, value: object, wanted: str) -> None:
        if not holds:
            raise ValueError(f"config.{key} is {value!r}; it must be {wanted}")

    def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
        require(value in choices, key, value, "one of " + ", ".join(choices))

    def positive(section: str, *names: str) -> None:
        for name in names:
            value = config[section][name]
            require(0 < value < math.inf, f"{section}.{name}", value, "greater than 0 and finite")

    one_of("case", config.case, CASES)
    one_of("precision", config.precision, PRECISIONS)
    one_of("optimizer.name", config.optimizer.name, OPTIMIZERS)
    require(config.seed >= 0, "seed", config.seed, "0 or more")
    path = config.data.path
    require(bool(path), "data.path", path, "the folder of a dataset (--config.data.path=...)")
    rate = config.model.dropout_rate
    require(0.0 <= rate < 1.0, "model.dropout_rate", rate, "in [0, 1)")
    size = config.train.batch_size
    require(size >= 3, "train.batch_size", size, "at least 3, so that every batch has negatives")
    positive("model", "filters", "tag_hidden")
    positive("optimizer", "learning_rate")
    positive("loss", "temperature")
    positive("train", "epochs")
    positive("checkpoint", "every_epochs", "keep")
    for name in ("audio_weight", "tag_weight", "contrastive_weight"):
        value = config.loss[name]
        require(0 <= value < math.inf, f"loss.{name}", value, "0 or more and finite")
    count = config.report.reconstructions
    require(count >= 0, "report.reconstructions", count, "0 or more")


def unknown_keys(arguments: list[str]) -> list[str]:
    """What is wrong with each `--config.key=value` whose key does not exist, with the nearest."""
    known = list(get_config().to_dict().keys())
    for section, value in get_config().to_dict().items():
        if isinstance(value, dict):
            known += [f"{section}.{name}" for name in value]
    prefix = "--config."
    given = [a.removeprefix(prefix).split("=")[0] for a in arguments if a.startswith(prefix)]
    complaints = []
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"the nearest key is config.{near[0]}" if near else f"there are {', '.join(known)}"
            )
            complaints.append(f"config.{key} does not exist; {hint}")
    return complaints
