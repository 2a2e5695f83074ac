"""Starts a run from the weights of a pretrained model, whose tags are matched by name."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from ml_collections import ConfigDict

from coala_jax.data.scaler import Scaler
from coala_jax.data.schema import Manifest
from coala_jax.models.default import DEFAULT, default_model_folder
from coala_jax.models.pretrained import PretrainedModel

# The axis of the tags in the arrays that have one, by the beginning of their path.
_TAG_AXIS = {
    ("tag_encoder", "dense_0", "kernel"): 0,
    ("tag_decoder", "dense_2", "kernel"): 1,
    ("tag_decoder", "dense_2", "bias"): 0,
    ("tag_decoder", "norm_2"): 0,
    ("output_layer", "kernel"): 1,
    ("output_layer", "bias"): 0,
}
# Settings of the front end that are flags of data_prep.from_folder; the others are its constants.
FLAGS = ("window", "power", "edges", "noise", "precision")


def load(config: ConfigDict) -> PretrainedModel | None:
    """The model that the config starts from, if it names one; "default" is the built-in model.

    Raises:
        ModelError: there is none in that folder, or it is damaged.
        ValueError: this installation lacks the built-in model.
    """
    if not (name := config.init.model):
        return None
    return PretrainedModel.load(default_model_folder() if name == DEFAULT else name)


def with_scaler(manifest: Manifest, model: PretrainedModel | None) -> Manifest:
    """The manifest with the scaler that the model's weights are used to, which patches then get."""
    return manifest if model is None else dataclasses.replace(manifest, scaler=model.scaler)


def check(config: ConfigDict, manifest: Manifest, model: PretrainedModel) -> None:
    """Raises ValueError where the model cannot go on with these networks or these patches."""
    _check_networks(config, model)
    folder, dataset = config.init.model, config.data.path
    found = manifest.front_end | {"level": manifest.settings["level"]}
    wanted = model.front_end | {"level": model.level}
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            fix = f"a front end with {name} = {wanted.get(name)!r}"
            if name == "level" or name in FLAGS:
                fix = f"--{name}={wanted.get(name)} of coala_jax.data_prep.from_folder"
            raise ValueError(
                f"{dataset}: its {name} is {found.get(name)!r}, and that of the model {folder} is "
                f"{wanted.get(name)!r}: the model would hear other patches than it has learned "
                f"from. Fix: prepare the sounds again with {fix}"
            )
    is_scaled = manifest.settings["scaling"] == "none"
    if is_scaled != (Scaler.from_dict(model.scaler) == Scaler.none()):
        stored, heard = ("scaled", "log-mel") if is_scaled else ("log-mel", "scaled")
        raise ValueError(
            f"{dataset}: its shards hold {stored} patches, and the model {folder} takes {heard} "
            "ones: its scaler cannot be used. Fix: prepare the sounds with "
            "coala_jax.data_prep.from_folder, or start from a model that was"
        )


def _check_networks(config: ConfigDict, model: PretrainedModel) -> None:
    names = ["filters"]
    if "cnn" not in (config.case, model.case):
        names += ["tag_hidden", "transform"]
    for name in names:
        found, wanted = config.model[name], model.config["model"][name]
        if found != wanted:
            raise ValueError(
                f"config.model.{name} is {found!r}, and the model {config.init.model} has "
                f"{wanted!r}: its weights do not fit. Fix: --config.model.{name}={wanted}"
            )


def transferred(fresh: PyTree, model: PretrainedModel, vocabulary: Sequence[str]) -> PyTree:
    """Fresh variables with the model's in their place, where both have the module.

    Rows and columns of tags go to the tag of the same name; a new tag keeps its fresh ones.

    Args:
        fresh: `params` and `batch_stats` of the run's networks.
        vocabulary: of the run's dataset.
    """
    own = {tag: place for place, tag in enumerate(model.vocabulary)}
    known = [place for place, tag in enumerate(vocabulary) if tag in own]
    source = [own[vocabulary[place]] for place in known]
    given, result = flatten_dict(model.variables), {}
    for path, leaf in flatten_dict(fresh).items():
        result[path] = leaf
        if path not in given:
            continue
        axis = _tag_axis(path[1:])
        if axis is None:
            result[path] = np.asarray(given[path], leaf.dtype)
        else:
            columns, result[path] = (slice(None),) * axis, np.array(leaf)
            result[path][(*columns, known)] = given[path][(*columns, source)]
    return unflatten_dict(result)


def _tag_axis(path: tuple[str, ...]) -> int | None:
    axes = [axis for start, axis in _TAG_AXIS.items() if path[: len(start)] == start]
    return axes[0] if axes else None


def describe(
    config: ConfigDict, model: PretrainedModel, vocabulary: Sequence[str], modules: Iterable[str]
) -> str:
    """What a run with these networks takes from the model, for its log."""
    known = len(set(vocabulary) & set(model.vocabulary))
    fresh = sorted(set(modules) - model.variables["params"].keys())
    return (
        f"initialised from {config.init.model}: {known} of {len(vocabulary)} tags known, "
        f"{len(vocabulary) - known} new" + (f"; {', '.join(fresh)} fresh" if fresh else "")
    )
