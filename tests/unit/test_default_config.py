import ast
import importlib
import math
import operator
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from coala_jax.default_config import MODES, get_config, result_settings, validate
from tests.synthetic import tiny_config

ROOT = Path(__file__).parents[2]


def keys_of(config, prefix=""):
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_key_is_used():
    """As an attribute somewhere in the package outside of its definition and its validation."""
    used = set()
    for path in (ROOT / "coala_jax").rglob("*.py"):
        if path.name == "default_config.py":
            continue
        nodes = ast.walk(ast.parse(path.read_text()))
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    unused = [key for key in keys_of(get_config()) if key.split(".")[-1] not in used]
    assert unused == []


def test_no_key_is_read_with_a_default():
    for path in [*(ROOT / "coala_jax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]:
        assert "config.get(" not in path.read_text(), path


@pytest.mark.parametrize(
    ("name", "case", "epochs"), [("ae_c", "ae_c", 200), ("e_c", "e_c", 200), ("cnn", "cnn", 20)]
)
def test_the_configs_of_the_paper(name, case, epochs):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert (config.case, config.train.epochs) == (case, epochs)
    # Supplement: batch 128, SGD at 0.005, 128 filters, 512 units, dropout 25 %, weights 5, 5, 10,
    # temperature 0.1.
    assert config.train.batch_size == 128
    constant = {"name": "sgd", "learning_rate": 0.005, "schedule": "constant"}
    assert config.optimizer.to_dict() == constant
    assert config.model.to_dict() == {
        "filters": 128,
        "tag_hidden": 512,
        "dropout_rate": 0.25,
        "dropout_placement": "paper",
        "transform": "affine",
        "pooling": "mean",
    }
    if case != "cnn":
        assert config.loss.audio_weight == config.loss.tag_weight == 5.0
        assert config.loss.contrastive_weight == 10.0
        assert config.loss.temperature == 0.1


# What the released code does otherwise than the text, and how.
RELEASED = {
    "model.dropout_placement": ("paper", "released"),
    "model.transform": ("affine", "linear"),
    "loss.contrastive": ("cross_modal", "nt_xent"),
    "loss.kl_offset": (0.0, 1e-5),
    "train.last_batch": ("keep", "drop"),
    "train.keep_epoch": ("best", "last"),
}


def flat(config) -> dict:
    return {key: operator.attrgetter(key)(config) for key in keys_of(config)}


@pytest.mark.parametrize("name", ["ae_c", "e_c", "cnn", "quickstart", "free"])
def test_the_released_mode_changes_these_keys_and_no_other(name):
    make = importlib.import_module(f"configs.{name}").get_config
    paper, released = make(), make("released")
    assert flat(make("paper")) == flat(paper)
    other = flat(released)
    changed = {key: (old, other[key]) for key, old in flat(paper).items() if old != other[key]}
    assert changed == RELEASED
    released.data.path = "somewhere"
    validate(released)


@pytest.mark.parametrize("make", [get_config, importlib.import_module("configs.e_c").get_config])
def test_an_unknown_mode_is_refused(make):
    with pytest.raises(ValueError, match="'text'"):
        make("text")


@pytest.mark.filterwarnings("ignore:the load_module")  # ml_collections calls it
@pytest.mark.parametrize("name", ["ae_c", "e_c", "cnn"])
@pytest.mark.parametrize("mode", MODES)
def test_the_mode_follows_the_config_s_name_on_the_command_line(name, mode, monkeypatch):
    """And a key after it still has the last word."""
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    path = ROOT / "configs" / f"{name}.py"
    arguments = ["program", f"--config={path}:{mode}", "--config.loss.kl_offset=0.5"]
    monkeypatch.setattr("sys.argv", arguments)  # where ml_collections looks for the keys
    values(arguments)
    wanted = flat(importlib.import_module(f"configs.{name}").get_config(mode))
    assert flat(config.value) == wanted | {"loss.kl_offset": 0.5}
    assert wanted["loss.contrastive"] == RELEASED["loss.contrastive"][MODES.index(mode)]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_every_config_says_its_command_and_is_valid(path):
    config = importlib.import_module(f"configs.{path.stem}").get_config()
    assert f"    coala train {path.stem} --data=" in path.read_text()
    config.data.path = "somewhere"
    validate(config)


OUT_OF_RANGE = {
    "case": "vae", "seed": -1, "precision": "float16",
    "data.path": "", "data.placement": "gpu", "data.patch_dtype": "int8",
    "data.source_weights": "here=-1",
    "model.filters": 0, "model.tag_hidden": 0, "model.dropout_rate": 1.0,
    "model.dropout_placement": "none", "model.transform": "none",
    "model.pooling": "max",
    "loss.audio_weight": -1.0, "loss.tag_weight": -1.0, "loss.contrastive_weight": -1.0,
    "loss.temperature": 0.0, "loss.contrastive": "clip", "loss.equal_tags_are_negatives": None,
    "loss.kl_offset": -1e-5, "loss.reduction": "none",
    "init.model": None, "init.freeze_audio_epochs": -1,
    "optimizer.name": "lion", "optimizer.learning_rate": 0.0,
    "optimizer.schedule": "linear",
    "train.batch_size": 2, "train.epochs": 0, "train.steps_per_call": -1, "train.last_batch": "pad",
    "train.keep_epoch": "first", "train.patience": -1,
    "checkpoint.every_epochs": 0, "checkpoint.keep": 0, "eval.every_epochs": -1,
    "bank.temperature": 0.0, "bank.entries": 0,
    "report.reconstructions": -1, "report.samples": -1,
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [*OUT_OF_RANGE.items(), ("loss.kl_offset", math.inf)])
def test_a_value_out_of_range_is_refused_by_name(key, value):
    changes = {"data__path": "somewhere", key.replace(".", "__"): value}
    with pytest.raises(ValueError, match=rf"config\.{key} is {value!r}"):
        validate(tiny_config(**changes))


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"train__keep_epoch": "last", "train__patience": 3}, "train.patience", "keep_epoch"),
        ({"init__freeze_audio_epochs": 2}, "init.freeze_audio_epochs", "init.model"),
    ],
)
def test_a_key_that_needs_another_says_which(changes, key, reason):
    with pytest.raises(ValueError, match=rf"config\.{key} is [23]; it must be 0 w.*{reason}"):
        validate(tiny_config(data__path="somewhere", **changes))


def test_the_cadence_of_evaluations_is_a_result_where_the_best_epoch_is_kept():
    for kept, counts in (("best", True), ("last", False)):
        settings = result_settings(tiny_config(train__keep_epoch=kept).to_dict())
        assert ("eval.every_epochs" in settings) == counts
        assert not settings.keys() & {"report.samples", "init.model", "model.pooling"}


def test_every_key_has_a_range():
    """So that no key is added without a check."""
    assert OUT_OF_RANGE.keys() == set(keys_of(get_config()))
