"""The four networks against PyTorch twins written from the paper, with the same weights."""

from collections import OrderedDict
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from coala_jax.models.autoencoders import AudioDecoder, AudioEncoder, TagDecoder, TagEncoder
from coala_jax.models.layers import BatchInfo, Dropout

BATCH, FILTERS, TAGS, HIDDEN, LATENT = 4, 2, 11, 7, 6


class Mask(torch.nn.Module):
    """Dropout that is told what to drop; nothing when told nothing."""

    values = None

    def forward(self, x):
        return x if self.values is None else x * self.values


def twin(
    layers: list[torch.nn.Module], end_in_relu: bool, dropouts: set[str]
) -> torch.nn.Sequential:
    """Each layer with batch norm and ReLU, or the last without; then `dropouts` says after which.

    `dropout_input` stands before the first layer.
    """
    parts = OrderedDict()
    if "dropout_input" in dropouts:
        parts["dropout_input"] = Mask()
    for number, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Linear):
            parts[f"dense_{number}"] = layer
            parts[f"norm_{number}"] = torch.nn.BatchNorm1d(layer.out_features)
        else:
            parts[f"convolution_{number}"] = layer
            parts[f"norm_{number}"] = torch.nn.BatchNorm2d(layer.out_channels)
        if end_in_relu or number < len(layers) - 1:
            parts[f"relu_{number}"] = torch.nn.ReLU()
        if f"dropout_{number}" in dropouts:
            parts[f"dropout_{number}"] = Mask()
    return torch.nn.Sequential(parts).double()


def audio_encoder_twin(dropouts):
    channels = [1] + [FILTERS] * 5
    return twin([torch.nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(channels)], True, dropouts)


def audio_decoder_twin(dropouts):
    channels = [FILTERS] * 5 + [1]
    layers = [torch.nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(channels)]
    return twin(layers, False, dropouts)


def tag_encoder_twin(dropouts):
    sizes = [TAGS, HIDDEN, HIDDEN, LATENT]
    return twin([torch.nn.Linear(a, b) for a, b in pairwise(sizes)], True, dropouts)


def tag_decoder_twin(dropouts):
    sizes = [LATENT, HIDDEN, HIDDEN, TAGS]
    return twin([torch.nn.Linear(a, b) for a, b in pairwise(sizes)], False, dropouts)


def after(*blocks) -> set[str]:
    return {f"dropout_{block}" for block in blocks}


NETWORKS = [
    pytest.param(
        lambda rate: AudioEncoder(FILTERS, rate, param_dtype=jnp.float64),
        audio_encoder_twin,
        (BATCH, 96, 96),
        after(0, 1, 2, 3, 4),
        id="audio-encoder",
    ),
    pytest.param(
        lambda rate: AudioDecoder(FILTERS, rate, param_dtype=jnp.float64),
        audio_decoder_twin,
        (BATCH, 3, 3, FILTERS),
        after(0, 1, 2, 3),
        id="audio-decoder",
    ),
    pytest.param(
        lambda rate: AudioDecoder(FILTERS, rate, "released", param_dtype=jnp.float64),
        audio_decoder_twin,
        (BATCH, 3, 3, FILTERS),
        after("input", 0, 1, 2),
        id="audio-decoder-released",
    ),
    pytest.param(
        lambda rate: TagEncoder(HIDDEN, LATENT, rate, param_dtype=jnp.float64),
        tag_encoder_twin,
        (BATCH, TAGS),
        after(0, 1, 2),
        id="tag-encoder",
    ),
    pytest.param(
        lambda rate: TagDecoder(TAGS, HIDDEN, rate, param_dtype=jnp.float64),
        tag_decoder_twin,
        (BATCH, LATENT),
        after(0, 1),
        id="tag-decoder",
    ),
    pytest.param(
        lambda rate: TagDecoder(TAGS, HIDDEN, rate, "released", param_dtype=jnp.float64),
        tag_decoder_twin,
        (BATCH, LATENT),
        after(0),
        id="tag-decoder-released",
    ),
]


def weights_like(shapes, seed: int = 0):
    """Random values for every weight and statistic, variances positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape)
        return jnp.asarray(values**2 + 0.5 if path[-1].key == "var" else values)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def to_channels_first(values) -> torch.Tensor:
    """[batch, h, w, c] as PyTorch has it; a batch of patches gains its one channel."""
    values = np.array(values)
    if values.shape[1:] == (96, 96):
        values = values[..., None]
    return torch.tensor(np.moveaxis(values, -1, 1).copy())


def copy_weights(variables, torch_twin: torch.nn.Sequential) -> None:
    for name, params in variables["params"].items():
        params = {key: torch.tensor(np.array(value)) for key, value in params.items()}
        if "norm" in name:
            stats = variables["batch_stats"][name]
            state = {
                "weight": params["scale"],
                "bias": params["bias"],
                "running_mean": torch.tensor(np.array(stats["mean"])),
                "running_var": torch.tensor(np.array(stats["var"])),
                "num_batches_tracked": torch.tensor(0),
            }
        else:
            kernel = params["kernel"]
            order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
            state = {"weight": kernel.permute(order), "bias": params["bias"]}
        getattr(torch_twin, name).load_state_dict(state)


@pytest.mark.parametrize(("make", "make_twin", "shape", "dropouts"), NETWORKS)
def test_equals_pytorch_in_inference_and_training(make, make_twin, shape, dropouts):
    """In training the twin drops what ours dropped, in its own places.

    Paper: after every ReLU. Released: not after a decoder's last, but on the sounds' before all.
    """
    rng = np.random.default_rng(1)
    inputs = rng.random(shape)
    torch_twin = make_twin(dropouts)
    with jax.enable_x64(True):
        x, network = jnp.asarray(inputs), make(0.5)
        variables = weights_like(jax.eval_shape(network.init, jax.random.key(0), x))
        copy_weights(variables, torch_twin)
        rows = BatchInfo(jnp.ones(BATCH, bool), jnp.arange(BATCH, dtype=jnp.int32))

        @jax.jit
        def apply(variables, x):
            return network.apply(variables, x), network.apply(
                variables,
                x,
                rows,
                rngs={"dropout": jax.random.key(1)},
                mutable=["batch_stats", "intermediates"],
                capture_intermediates=lambda module, _: (
                    isinstance(module, Dropout) or getattr(module, "dropout_rate", 0) > 0
                ),
            )

        inference, (training, updates) = apply(variables, x)

    def check(got):
        wanted = torch_twin(to_channels_first(inputs))
        np.testing.assert_allclose(
            to_channels_first(got), wanted.detach().numpy(), rtol=0, atol=1e-9
        )

    torch_twin.eval()
    check(inference)

    torch_twin.train()
    masks = {
        name.replace("norm", "dropout"): to_channels_first(outputs["__call__"][0]).ne(0) * 2.0
        for name, outputs in updates["intermediates"].items()
        if name != "__call__"  # of the network itself
    }
    assert masks.keys() == dropouts
    for name, values in masks.items():
        getattr(torch_twin, name).values = values
    check(training)
    for name, stats in updates["batch_stats"].items():
        norm = getattr(torch_twin, name)
        np.testing.assert_allclose(stats["mean"], norm.running_mean, rtol=0, atol=1e-9)
        np.testing.assert_allclose(stats["var"], norm.running_var, rtol=0, atol=1e-9)
