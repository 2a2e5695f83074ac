"""Every setting of a training run, its unit and its source; each of `configs/` changes a few lines.

"paper" is Favory et al. (2020), with the hyper-parameters of its supplement. "released" is its
authors' code, which differs in a few places: `--config=configs/ae_c.py:released`.
"""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

CASES = ("ae_c", "e_c", "cnn")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "float64", "bfloat16")
PLACEMENTS = ("auto", "device", "host")
PATCH_DTYPES = ("float32", "float16", "bfloat16", "uint8")
MODES = ("paper", "released")
KEPT_EPOCHS = ("best", "last")
POOLINGS = ("mean", "layers")

# Settings that change neither weights nor losses, by section or dotted key: where data and model to
# start from lie, how data reach the device, what is saved, reported and made beside the weights.
# A run may resume with other values. So is `eval` where the last epoch is kept; else it says which
# epochs can be.
NO_RESULT = (
    "data.path",
    "data.placement",
    "init.model",
    "model.pooling",
    "train.steps_per_call",
    "checkpoint",
    "report",
    "bank",
)


def get_config(mode: str = "paper") -> ConfigDict:
    """AE-C as the paper has it, or as the released code does."""
    if mode not in MODES:
        raise ValueError(f"the config's mode is {mode!r}; it must be {' or '.join(MODES)}")
    config = ConfigDict()
    config.case = "ae_c"  # ae_c: all losses; e_c: contrastive only; cnn: predict the tags (3.1)
    config.seed = 0  # of weights, dropout and the order of the data
    # bfloat16: of the products only; float64: for proofs, slow. With float32 an accelerator uses
    # JAX's default for products (TF32 or bfloat16 passes); similarities are always exact.
    config.precision = "float32"  # float32, float64 or bfloat16

    config.data = ConfigDict()
    config.data.path = ""  # dataset folder, as `coala prepare` writes it
    # device: all training patches lie there; host: they are read from disk ahead of use; auto: on
    # the device if they take at most half of its memory (a quarter of a CPU's).
    config.data.placement = "auto"  # auto, device or host
    # Training patches are rounded to this; in [0, 1] they change by up to 1/4096 (float16), 1/512
    # (bfloat16), 1/510 (uint8). Validation patches are never rounded.
    config.data.patch_dtype = "float32"  # float32, float16, bfloat16 or uint8

    # So often an epoch draws each training sound of a source: 0.5 is half of them, another half in
    # the next epoch, and 0 none. A source that is not named has weight 1.
    config.data.source_weights = ""  # SOURCE=WEIGHT,SOURCE=WEIGHT; empty: every sound once

    config.init = ConfigDict()
    # A model to start from: its weights, and its tags by name. Its front end, level and widths must
    # be those of dataset and config; its scaler is used in place of the dataset's.
    config.init.model = ""  # folder of a pretrained model; default: the built-in one; empty: fresh
    config.init.freeze_audio_epochs = 0  # first epochs in which the audio encoder stays as it is

    config.model = ConfigDict()
    config.model.filters = 128  # of each convolution; the embedding has 9 times as many values
    config.model.tag_hidden = 512  # units of the tag networks' hidden layers
    config.model.dropout_rate = 0.25  # share of units dropped
    config.model.dropout_placement = "paper"  # after every ReLU; released: see autoencoders.py
    config.model.transform = "affine"  # of alignment; linear: no bias, then dropout (released)
    config.model.pooling = "mean"  # of patches to a clip's embedding: mean (paper, 3.2) or layers

    config.loss = ConfigDict()
    config.loss.audio_weight = 5.0  # lambda_a of Eq. 13
    config.loss.tag_weight = 5.0  # lambda_t
    config.loss.contrastive_weight = 10.0  # lambda_xi
    config.loss.temperature = 0.1  # tau of Eq. 11
    config.loss.contrastive = "cross_modal"  # Eq. 10, may be negative; nt_xent: as released
    config.loss.equal_tags_are_negatives = True  # False: not those with exactly the row's tags
    config.loss.kl_offset = 0.0  # added within the logarithms of Eq. 4; 1e-5 in the released code
    config.loss.reduction = "mean"  # as released, for the rates above; sum: the text's literal sums

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # sgd (paper) or adam
    config.optimizer.learning_rate = 0.005  # paper
    # cosine: falls from learning_rate to 0 over the steps of train.epochs, which are fixed then.
    config.optimizer.schedule = "constant"  # of the learning rate: constant (paper) or cosine

    config.train = ConfigDict()
    config.train.batch_size = 128  # pairs over all devices together
    config.train.epochs = 200  # paper; 20 for CNN
    config.train.steps_per_call = 0  # of the device; 0: 4 on a CPU, 64 on accelerators
    config.train.last_batch = "keep"  # a partial one is masked; drop: left out (released)
    # best: by macro AUC on half of the validation sounds, of the epochs that are evaluated; the
    # table of the report is then of the other half. The paper does not choose an epoch.
    config.train.keep_epoch = "best"  # the epoch whose model is kept: best, or last (released)
    # Evaluations without a better macro AUC after which training ends; needs keep_epoch=best.
    config.train.patience = 0  # evaluations; 0: all epochs are trained

    config.checkpoint = ConfigDict()
    config.checkpoint.every_epochs = 1  # epochs between checkpoints
    config.checkpoint.keep = 2  # newest checkpoints kept on disk

    config.eval = ConfigDict()
    # Epochs between evaluations (tag retrieval on validation, samples); 0: only after the last,
    # when there always is one. Losses are validated each epoch. In the paper's schedule ranking
    # 18,990 sounds takes seconds on the host, and an accelerator's epoch not many more.
    config.eval.every_epochs = 10

    config.bank = ConfigDict()
    config.bank.temperature = 0.1  # of the vote of training sounds for a sound's tags
    config.bank.entries = 10_000  # at most; more training patches than that become clusters

    config.report = ConfigDict()
    config.report.reconstructions = 6  # validation sounds plotted beside their reconstruction
    config.report.samples = 4  # validation sounds decoded at each evaluation, for TensorBoard
    if mode == "released":
        config.model.dropout_placement = "released"
        config.model.transform = "linear"
        config.loss.contrastive = "nt_xent"
        config.loss.kl_offset = 1e-5
        config.train.last_batch = "drop"
        config.train.keep_epoch = "last"
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
    one_of("optimizer.schedule", config.optimizer.schedule, SCHEDULES)
    one_of("model.dropout_placement", config.model.dropout_placement, MODES)
    one_of("model.transform", config.model.transform, ("affine", "linear"))
    one_of("model.pooling", config.model.pooling, POOLINGS)
    one_of("loss.contrastive", config.loss.contrastive, ("cross_modal", "nt_xent"))
    one_of("loss.reduction", config.loss.reduction, ("mean", "sum"))
    one_of("train.last_batch", config.train.last_batch, ("keep", "drop"))
    one_of("train.keep_epoch", config.train.keep_epoch, KEPT_EPOCHS)
    one_of("data.placement", config.data.placement, PLACEMENTS)
    one_of("data.patch_dtype", config.data.patch_dtype, PATCH_DTYPES)
    equal = config.loss.equal_tags_are_negatives
    require(isinstance(equal, bool), "loss.equal_tags_are_negatives", equal, "True or False")
    require(config.seed >= 0, "seed", config.seed, "0 or more")
    path = config.data.path
    require(bool(path), "data.path", path, "the folder of a dataset (--config.data.path=...)")
    weights = config.data.source_weights
    wanted = (
        "SOURCE=WEIGHT,SOURCE=WEIGHT: each source once, each weight 0 or more and finite, or ''"
    )
    require(_are_weights(weights), "data.source_weights", weights, wanted)
    rate = config.model.dropout_rate
    require(0.0 <= rate < 1.0, "model.dropout_rate", rate, "in [0, 1)")
    size = config.train.batch_size
    require(size >= 3, "train.batch_size", size, "at least 3, so that every batch has negatives")
    steps = config.train.steps_per_call
    require(steps >= 0, "train.steps_per_call", steps, "0 (by device) or more")
    patience = config.train.patience
    chooses = config.train.keep_epoch == "best"
    require(patience >= 0, "train.patience", patience, "0 (all epochs) or more")
    wanted = "0 where config.train.keep_epoch is 'last', which looks at no evaluation"
    require(chooses or not patience, "train.patience", patience, wanted)
    model, frozen = config.init.model, config.init.freeze_audio_epochs
    require(isinstance(model, str), "init.model", model, "the folder of a pretrained model, or ''")
    require(frozen >= 0, "init.freeze_audio_epochs", frozen, "0 or more")
    wanted = "0 without config.init.model, since fresh weights must be trained"
    require(bool(model) or not frozen, "init.freeze_audio_epochs", frozen, wanted)
    positive("model", "filters", "tag_hidden")
    positive("optimizer", "learning_rate")
    positive("loss", "temperature")
    positive("train", "epochs")
    positive("checkpoint", "every_epochs", "keep")
    positive("bank", "temperature", "entries")
    every = config.eval.every_epochs
    require(every >= 0, "eval.every_epochs", every, "0 (after the last epoch) or more")
    for name in ("audio_weight", "tag_weight", "contrastive_weight", "kl_offset"):
        value = config.loss[name]
        require(0 <= value < math.inf, f"loss.{name}", value, "0 or more and finite")
    for name in ("reconstructions", "samples"):
        count = config.report[name]
        require(count >= 0, f"report.{name}", count, "0 or more")


def _are_weights(text: object) -> bool:
    from coala_jax.data import source_weights  # NumPy takes a third of a second to import

    try:
        return isinstance(text, str) and source_weights.parse(text) is not None
    except ValueError:
        return False


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings by dotted key."""
    found = {}
    for section, value in config.items():
        if isinstance(value, Mapping):
            found |= {f"{section}.{name}": item for name, item in value.items()}
        else:
            found[section] = value
    return found


def result_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that shape a run's result, by dotted key: all but `NO_RESULT`, and `eval` where
    the last epoch is kept."""
    settings = flat(config)
    free = (*NO_RESULT, "eval") if settings.get("train.keep_epoch") == "last" else NO_RESULT
    return {k: v for k, v in settings.items() if not (k in free or k.split(".")[0] in free)}
