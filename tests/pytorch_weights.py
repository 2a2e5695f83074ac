"""Weights between PyTorch's COALA and the Flax models: the names differ, and kernels' layouts."""

from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch import Tensor

# PyTorch's network, the Flax one, what its layers are called there, and their places in PyTorch.
_NETWORKS = (
    ("audio_encoder", "audio_encoder", "convolution", (0, 4, 8, 12, 16)),
    ("encoder", "audio_encoder", "convolution", (0, 4, 8, 12, 16)),
    ("audio_decoder", "audio_decoder", "convolution", (2, 6, 10, 14, 17)),
    ("tag_encoder", "tag_encoder", "dense", (0, 4, 8)),
    ("tag_decoder", "tag_decoder", "dense", (0, 4, 7)),
)
_SINGLE_LAYERS = {
    "fc_audio.0": ("audio_transform",),
    "fc_tag.0": ("tag_transform",),
    "fc.0": ("hidden_layer",),
    "fc.2": ("output_layer",),
}
# What batch norm has in PyTorch, and the Flax collection and name of it.
_NORM_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
_LAYER_LEAVES = {"weight": ("params", "kernel"), "bias": ("params", "bias")}


def weights_from_flax(variables: dict[str, Any]) -> dict[str, Tensor]:
    """`params` and `batch_stats` of a Flax model as the state dict of its case."""
    flat = flatten_dict(variables)
    classifier = "hidden_layer" in variables["params"]
    state = {}
    for name, path in _flax_paths().items():
        other_case = name.startswith("encoder." if not classifier else "audio_encoder.")
        if path not in flat or other_case:
            continue
        values = np.array(flat.pop(path))
        if path[-1] == "kernel":
            values = values.transpose((3, 2, 0, 1) if values.ndim == 4 else (1, 0))
        state[name] = torch.tensor(values)
        if path[-1] == "var":
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    if flat:
        raise ValueError(f"no place in PyTorch for {', '.join(map('.'.join, flat))}")
    return state


def weights_to_flax(state: dict[str, Tensor]) -> dict[str, Any]:
    """A state dict as `params` and `batch_stats`, nested dictionaries of NumPy arrays."""
    paths = _flax_paths()
    flat = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue  # PyTorch counts batches for a momentum of None, which COALA has not
        path, values = paths[name], tensor.detach().cpu().numpy()
        if path[-1] == "kernel":
            values = values.transpose((2, 3, 1, 0) if values.ndim == 4 else (1, 0))
        flat[path] = values.copy()
    return unflatten_dict(flat)


def _flax_paths() -> dict[str, tuple[str, ...]]:
    """For each name in a state dict of any case, where its values are in the Flax variables."""
    layers, norms = dict(_SINGLE_LAYERS), {}
    for network, flax_network, kind, places in _NETWORKS:
        for number, place in enumerate(places):
            layers[f"{network}.{place}"] = (flax_network, f"{kind}_{number}")
            norms[f"{network}.{place + 1}"] = (flax_network, f"norm_{number}")
    return {
        f"{name}.{leaf}": (collection, *module, flax_leaf)
        for modules, leaves in ((layers, _LAYER_LEAVES), (norms, _NORM_LEAVES))
        for name, module in modules.items()
        for leaf, (collection, flax_leaf) in leaves.items()
    }
