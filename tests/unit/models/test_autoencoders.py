"""The four networks against the PyTorch reference's, with the same weights, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
import torch
from torch import nn

from coala_jax.models.autoencoders import AudioDecoder, AudioEncoder, TagDecoder, TagEncoder
from coala_jax.models.layers import BatchInfo, Dropout
from tests import pytorch_coala
from tests.pytorch_weights import weights_from_flax

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

torch.set_num_threads(1)  # two cost these narrow networks more than they bring
BATCH, FILTERS, TAGS, HIDDEN, LATENT, RATE = 4, 2, 11, 7, 18, 0.5

# Ours, the reference's, the shape of the input, and how many times it drops.
NETWORKS = {
    "audio_encoder": (
        partial(AudioEncoder, FILTERS),
        pytorch_coala.audio_encoder(FILTERS, RATE),
        (BATCH, 96, 96),
        5,
    ),
    "tag_encoder": (
        partial(TagEncoder, HIDDEN, LATENT),
        pytorch_coala.tag_encoder(TAGS, HIDDEN, LATENT, RATE),
        (BATCH, TAGS),
        3,
    ),
}
for mode, audio_drops, tag_drops in (("paper", 4, 2), ("released", 4, 1)):
    NETWORKS |= {
        f"audio_decoder-{mode}": (
            partial(AudioDecoder, FILTERS, dropout_placement=mode),
            pytorch_coala.audio_decoder(FILTERS, RATE, mode),
            (BATCH, 3, 3, FILTERS),
            audio_drops,
        ),
        f"tag_decoder-{mode}": (
            partial(TagDecoder, TAGS, HIDDEN, dropout_placement=mode),
            pytorch_coala.tag_decoder(LATENT, HIDDEN, TAGS, RATE, mode),
            (BATCH, LATENT),
            tag_drops,
        ),
    }


class Mask(nn.Module):
    """Dropout that is told what to drop; nothing when told nothing."""

    values = None

    def forward(self, x):
        return x if self.values is None else x * self.values.reshape(x.shape)


def replace_dropouts(network: nn.Module) -> list[Mask]:
    """The masks that are now in the places of the network's dropouts, in order."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                module._modules[name] = Mask()
    return [module for module in network.modules() if isinstance(module, Mask)]


def weights_like(shapes, seed: int = 0):
    """Random values for every weight and statistic, variances positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape)
        return jnp.asarray(values**2 + 0.5 if path[-1].key == "var" else values)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def channels_first(values) -> torch.Tensor:
    """[batch, h, w, c] as PyTorch has it, flat."""
    values = np.asarray(values)
    values = np.moveaxis(values, -1, 1) if values.ndim == 4 else values
    return torch.tensor(values.reshape(BATCH, -1))


def state_of(name: str, variables) -> dict[str, torch.Tensor]:
    network = name.partition("-")[0]
    state = weights_from_flax({kind: {network: tree} for kind, tree in variables.items()})
    return {key.partition(".")[2]: value for key, value in state.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_pytorch_in_inference_and_training(name):
    """In training the reference drops what ours dropped, in its own places."""
    make, reference, shape, drops = NETWORKS[name]
    inputs = np.random.default_rng(1).random(shape)
    with jax.enable_x64(True):
        x, network = jnp.asarray(inputs), make(dropout_rate=RATE, param_dtype=jnp.float64)
        variables = weights_like(jax.eval_shape(network.init, jax.random.key(0), x))
        info = BatchInfo(jnp.ones(BATCH, bool), jnp.arange(BATCH, dtype=jnp.int32))

        @jax.jit
        def apply(variables, x):
            return network.apply(variables, x), network.apply(
                variables,
                x,
                info,
                rngs={"dropout": jax.random.key(1)},
                mutable=["batch_stats", "intermediates"],
                capture_intermediates=lambda module, _: (
                    isinstance(module, Dropout) or getattr(module, "dropout_rate", 0) > 0
                ),
            )

        inference, (training, updates) = apply(variables, x)
    reference = reference.double()
    masks = replace_dropouts(reference)
    reference.load_state_dict(state_of(name, variables))
    decoder = "decoder" in name
    given = torch.tensor(inputs)
    if name == "audio_encoder":
        given = given[:, None]
    elif name.startswith("audio_decoder"):
        given = channels_first(inputs)

    def check(got):
        got = np.asarray(channels_first(got))
        wanted = reference(given).detach().reshape(BATCH, -1)
        got = scipy.special.expit(got) if decoder else got
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)

    reference.eval()
    check(inference)
    own = ("__call__", "layers")  # what the network itself returns
    dropped = {key: value for key, value in updates["intermediates"].items() if key not in own}
    assert len(dropped) == len(masks) == drops
    for mask, key in zip(masks, sorted(dropped), strict=True):  # dropout_input, norm_0, norm_1, …
        mask.values = channels_first(dropped[key]["__call__"][0]).ne(0) / (1 - RATE)
    reference.train()
    check(training)
    for key, value in state_of(name, variables | {"batch_stats": updates["batch_stats"]}).items():
        if "running" in key:
            np.testing.assert_allclose(value, reference.state_dict()[key], rtol=0, atol=1e-9)
