"""The PyTorch reference itself: its names, its losses by hand, and its weights in Flax."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
import torch
from torch import nn

from coala_jax.models.coala import Coala, TagClassifier
from tests.pytorch_coala import (
    LossSettings,
    Outputs,
    TorchCoala,
    losses,
    train_step,
    train_step_as_released,
)
from tests.pytorch_weights import weights_from_flax, weights_to_flax
from tests.synthetic import random_batch

TAGS, FILTERS, HIDDEN, ROWS = 11, 2, 7, 4
RELEASED = {"dropout_placement": "released", "transform": "linear"}

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def narrow(case: str, **settings) -> TorchCoala:
    torch.manual_seed(0)
    return TorchCoala(case, TAGS, FILTERS, HIDDEN, **settings).double()


def random_inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    batch = random_batch(ROWS, ROWS, TAGS, seed)
    return torch.tensor(batch["patches"]), torch.tensor(batch["tags"])


# --- The networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("transform", "bias"), [("linear", 0), ("affine", 1152)])
def test_as_many_parameters_as_the_released_networks(transform, bias):
    """The affine transforms of the paper have 1,152 more each."""

    def counts(case: str) -> dict[str, int]:
        with torch.device("meta"):
            model = TorchCoala(case, tags=1000, transform=transform)
        return {name: sum(p.numel() for p in m.parameters()) for name, m in model.named_children()}

    found = counts("ae_c")
    encoders = {name: found[name] for name in found if not name.endswith("decoder")}
    assert found["audio_encoder"] + found["fc_audio"] == 2_379_648 + bias
    assert found["tag_encoder"] + found["fc_tag"] == 2_697_600 + bias
    assert (found["audio_decoder"], found["tag_decoder"]) == (1_052_163, 1_370_040)
    assert len(found) == 6
    assert counts("e_c") == encoders
    assert sum(counts("cnn").values()) == 3_533_800


def names(network: str, layers: tuple[int, ...]) -> set[str]:
    """Of layers with a bias, and of the batch norms that follow them."""
    return {f"{network}.{n}.{leaf}" for n in layers for leaf in ("weight", "bias")} | {
        f"{network}.{n + 1}.{leaf}" for n in layers for leaf in NORM
    }


ENCODERS = (
    names("audio_encoder", (0, 4, 8, 12, 16))
    | names("tag_encoder", (0, 4, 8))
    | {"fc_audio.0.weight", "fc_tag.0.weight"}
)
DECODERS = names("audio_decoder", (2, 6, 10, 14, 17)) | names("tag_decoder", (0, 4, 7))
CLASSIFIER = {f"fc.{n}.{leaf}" for n in (0, 2) for leaf in ("weight", "bias")}


@pytest.mark.parametrize(
    ("case", "transform", "wanted"),
    [
        ("ae_c", "linear", ENCODERS | DECODERS),
        ("ae_c", "affine", ENCODERS | DECODERS | {"fc_audio.0.bias", "fc_tag.0.bias"}),
        ("e_c", "linear", ENCODERS),
        ("cnn", "linear", names("encoder", (0, 4, 8, 12, 16)) | CLASSIFIER),
    ],
)
def test_names_are_the_released_ones_in_both_truths(case, transform, wanted):
    for placement in ("paper", "released"):
        model = narrow(case, dropout_placement=placement, transform=transform)
        assert model.state_dict().keys() == wanted


def zeroed(network: nn.Module, shape: tuple[int, ...]) -> set[str]:
    """Weighted layers whose input is all zeros, and "output", when every dropout drops all.

    Batch norm's bias of 1 lifts whatever it is given, so that zeros are dropout's alone.
    """
    found = set()

    def look(name: str, values: torch.Tensor) -> None:
        if not values.any():
            found.add(name)

    for name, module in network.named_modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.ones_(module.bias)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs[0]))
    look("output", network(torch.ones(shape, dtype=torch.float64)))
    return found


LATENT = (ROWS, 9 * FILTERS)
AFTER_EVERY_RELU = {
    "audio_encoder": ((ROWS, 1, 96, 96), {"4", "8", "12", "16", "output"}),
    "tag_encoder": ((ROWS, TAGS), {"4", "8", "output"}),
    "audio_decoder": (LATENT, {"6", "10", "14", "17"}),
    "tag_decoder": (LATENT, {"4", "7"}),
}
AS_RELEASED = AFTER_EVERY_RELU | {
    "audio_decoder": (LATENT, {"2", "6", "10", "14"}),
    "tag_decoder": (LATENT, {"4"}),
}
AFFINE = dict.fromkeys(("fc_audio", "fc_tag"), (LATENT, set()))
LINEAR = dict.fromkeys(("fc_audio", "fc_tag"), (LATENT, {"output"}))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        pytest.param({}, AFTER_EVERY_RELU | AFFINE, id="paper"),
        pytest.param(RELEASED, AS_RELEASED | LINEAR, id="released"),
    ],
)
def test_what_dropout_drops(settings, wanted):
    model = narrow("ae_c", dropout_rate=1.0, **settings).train()
    for name, network in model.named_children():
        shape, layers = wanted[name]
        assert zeroed(network, shape) == layers, name
        assert zeroed(network.eval(), shape) == set(), name


def test_dropout_keeps_the_rest_at_the_given_rate():
    """Of 4,608 units of the first ReLU; the standard deviation of the share is 0.006."""
    model = narrow("e_c", dropout_rate=0.25).train()
    nn.init.ones_(model.audio_encoder[1].bias)
    nn.init.zeros_(model.audio_encoder[1].weight)
    dropped = model.audio_encoder[:4](torch.ones(1, 1, 96, 96, dtype=torch.float64))
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3, rel=1e-12)]
    assert abs((dropped == 0).double().mean() - 0.25) < 0.03


# --- The same values as in Flax -------------------------------------------------------------------

MODELS = [("ae_c", "affine"), ("e_c", "linear"), ("cnn", "affine")]


def flax_model(case: str, transform: str) -> Coala | TagClassifier:
    if case == "cnn":
        return TagClassifier(TAGS, FILTERS, param_dtype=jnp.float64)
    return Coala(
        TAGS,
        FILTERS,
        HIDDEN,
        transform=transform,
        decoders=case == "ae_c",
        param_dtype=jnp.float64,
    )


def random_variables(model: Coala | TagClassifier):
    """Weights and statistics, all different from where training starts, that saturate nothing."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0), jnp.zeros((1, 96, 96)), jnp.zeros((1, TAGS), jnp.uint8)
        )
    )

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape)
        if path[-1].key == "kernel":
            return 2 * values / math.sqrt(math.prod(leaf.shape[:-1]))
        return {"var": 0.2 + values**2, "scale": 1 + 0.2 * values}.get(path[-1].key, 0.3 * values)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(("case", "transform"), MODELS)
def test_equals_flax_in_inference(case, transform):
    patches, tags = random_inputs()
    with jax.enable_x64(True):
        model = flax_model(case, transform)
        variables = random_variables(model)
        reference = narrow(case, transform=transform)
        reference.load_state_dict(weights_from_flax(variables))
        latent, wanted = jax.jit(
            lambda patches, tags: (
                model.apply(variables, patches, method="encode_audio"),
                model.apply(variables, patches, tags),
            )
        )(jnp.asarray(patches.numpy(), jnp.float64), jnp.asarray(tags.numpy()))
    with torch.no_grad():
        got = reference.eval()(patches, tags)

    pairs = {
        "audio_latent": (got.audio_latent, latent),
        "audio_aligned": (got.audio_aligned, wanted.audio_aligned),
        "tag_aligned": (got.tag_aligned, wanted.tag_aligned),
        "reconstruction": (got.reconstruction, sigmoid(wanted.audio_logits)),
        "tag_probability": (got.tag_probability, sigmoid(wanted.tag_logits)),
    }
    found = {name for name, value in vars(got).items() if value is not None}
    assert found - {"tag_latent"} == {name for name, (_, flax) in pairs.items() if flax is not None}
    for name in found & pairs.keys():
        ours, flax = pairs[name][0], np.asarray(pairs[name][1])
        assert ours.dtype == torch.float64
        # Neither dead nor saturated, or the comparison would be of constants.
        assert np.ptp(flax) > 0.5, name
        np.testing.assert_allclose(ours, flax, rtol=0, atol=1e-9 * np.abs(flax).max(), err_msg=name)


def sigmoid(logits):
    return None if logits is None else scipy.special.expit(np.asarray(logits))


@pytest.mark.parametrize(("case", "transform"), MODELS)
def test_weights_go_to_flax_and_back(case, transform):
    """Nothing is lost, in either direction, and the names of both sides are all there."""
    with jax.enable_x64(True):
        variables = jax.tree.map(np.asarray, random_variables(flax_model(case, transform)))
    state = weights_from_flax(variables)
    model = narrow(case, transform=transform)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }
    jax.tree.map(np.testing.assert_array_equal, weights_to_flax(state), variables)

    own = {name: value.float() for name, value in model.state_dict().items()}
    there_and_back = weights_from_flax(weights_to_flax(own))
    assert there_and_back.keys() == own.keys()
    for name, value in there_and_back.items():
        assert value.dtype == (torch.int64 if "num_batches" in name else torch.float32)
        assert torch.equal(value, own[name]), name


# --- The losses, by hand --------------------------------------------------------------------------


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


PATCHES = tensor([[[0, 1], [0.5, 0.5]], [[1, 1], [0, 0]]])
RECONSTRUCTION = tensor([[[0.5, 0.5], [0.5, 0.25]], [[0.25, 0.75], [0.5, 0.5]]])
LOG2, LOG3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("offset", "logarithms"),
    [
        pytest.param(0.0, LOG2 + 0.5 * LOG2 + 2 * LOG2 + (2 * LOG2 - LOG3), id="paper"),
        # (1.5 / 1), (1 / 0.75), (1.5 / 0.75), (1.5 / 1.25); a half shows what 1e-5 would hide.
        pytest.param(
            0.5,
            math.log(1.5) + 0.5 * math.log(4 / 3) + LOG2 + math.log(1.2),
            id="offset",
        ),
    ],
)
@pytest.mark.parametrize(("reduction", "cells"), [("mean", 2 * 2), ("sum", 1)])
def test_audio_loss(offset, logarithms, reduction, cells):
    """Summed over two frames, averaged over two mel bands and two rows, or not; 0 log 0 is 0."""
    settings = LossSettings(kl_offset=offset, reduction=reduction)
    outputs = Outputs(None, reconstruction=RECONSTRUCTION)
    got = losses(outputs, PATCHES, tensor([[1], [0]]), settings)
    value = (logarithms - 4 + 3.75) / cells
    assert got["audio_loss"].item() == pytest.approx(value, rel=1e-14)
    assert got["loss"].item() == pytest.approx(5 * value, rel=1e-14)
    assert got.keys() == {"audio_loss", "loss"}


@pytest.mark.parametrize(("reduction", "cells"), [("mean", 6), ("sum", 1)])
def test_tag_loss(reduction, cells):
    probability = tensor([[0.5, 0.25, 0.75], [0.125, 0.5, 0.25]])
    tags = torch.tensor([[1, 0, 1], [1, 0, 0]], dtype=torch.uint8)
    settings = LossSettings(tag_weight=3.0, reduction=reduction)
    got = losses(Outputs(None, tag_probability=probability), tensor([]), tags, settings)
    value = (LOG2 + 2 * (2 * LOG2 - LOG3) + 3 * LOG2 + LOG2 + (2 * LOG2 - LOG3)) / cells
    assert got["tag_loss"].item() == pytest.approx(value, rel=1e-14)
    assert got["loss"].item() == pytest.approx(3 * value, rel=1e-14)
    assert got.keys() == {"tag_loss", "loss"}


# Cosines: a b 0.8, p q 0; with the own tags a p 0.6, b q 1; with the other's a q 0.8, b p 0.
TWO_SOUNDS, TWO_TAG_SETS = tensor([[3, 4], [0, 2]]), tensor([[1, 0], [0, 5]])
A_B, A_P, A_Q, B_P, B_Q, P_Q = (math.exp(2 * cosine) for cosine in (0.8, 0.6, 0.8, 0, 1, 0))
DIFFERENT, EQUAL = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1, 0], [1, 0]])


def surprise(numerator: float, *denominator: float) -> float:
    return -math.log(numerator / sum(denominator) + 1e-5)


def contrastive(audio, tag, tags, **settings) -> float:
    outputs = Outputs(None, audio_aligned=audio, tag_aligned=tag)
    got = losses(outputs, tensor([]), tags, LossSettings(**settings))
    assert got.keys() == {"contrastive_loss", "loss"}
    assert got["loss"].item() == pytest.approx(10 * got["contrastive_loss"].item(), rel=1e-14)
    return got["contrastive_loss"].item()


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("cross_modal", [(0.8 - 0.6) / 0.5, (0 - 1) / 0.5]),
        (
            "nt_xent",
            [
                surprise(A_P, A_B, A_P, A_Q),
                surprise(B_Q, A_B, B_P, B_Q),
                surprise(A_P, A_P, B_P, P_Q),
                surprise(B_Q, A_Q, B_Q, P_Q),
            ],
        ),
    ],
)
def test_contrastive_loss_of_two_pairs(form, values):
    """Whatever their tags are; averaged over rows, and over 2N vectors."""
    for tags in (DIFFERENT, EQUAL):
        arguments = (TWO_SOUNDS, TWO_TAG_SETS, tags)
        got = contrastive(*arguments, contrastive=form, temperature=0.5)
        assert got == pytest.approx(sum(values) / len(values), rel=1e-13)
        got = contrastive(*arguments, contrastive=form, temperature=0.5, reduction="sum")
        assert got == pytest.approx(sum(values), rel=1e-13)


E = math.e


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("cross_modal", [-math.log(1 / 1), -math.log(E / (E + 1)), -math.log(E / 1)]),
        (
            "nt_xent",
            [
                surprise(1, 1, 1, 1),
                surprise(E, 1, 1, E, E, 1),
                surprise(E, 1, 1, E),
                surprise(1, 1, E, E),
                surprise(E, 1, E, 1, E, 1),
                surprise(E, 1, E, 1),
            ],
        ),
    ],
)
def test_contrastive_loss_with_equal_tags_left_out(form, values):
    """Rows 0 and 2 have the same tags. All vectors lie on an axis: exp(cosine) is 1 or e."""
    x, y = [2.0, 0.0], [0.0, 3.0]
    tags = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 0, 1]])
    got = contrastive(
        tensor([x, y, x]),
        tensor([y, y, x]),
        tags,
        contrastive=form,
        temperature=1.0,
        reduction="sum",
        equal_tags_are_negatives=False,
    )
    assert got == pytest.approx(sum(values), rel=1e-13)


def test_only_a_row_without_negatives_is_its_own():
    """Rows 0 and 1 share their tags; the only row of a batch has no negative."""
    audio, tag = tensor([[1, 0], [0, 1], [1, 0]]), tensor([[1, 0], [0, 1], [0, 1]])
    tags = torch.tensor([[1, 0], [1, 0], [0, 1]])
    settings = {"equal_tags_are_negatives": False, "temperature": 1.0, "reduction": "sum"}
    # Row 0: own 1, other 0; row 1: own 1, other 1; row 2: own 0, others 1 and 0.
    values = [-1, 0, math.log(E + 1)]
    assert contrastive(audio, tag, tags, **settings) == pytest.approx(sum(values), rel=1e-13)
    assert contrastive(audio[:1], tag[:1], tags[:1]) == 0


# --- The steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["ae_c", "cnn"])
def test_a_step_is_the_same_in_one_backward_pass_and_in_three(case):
    patches, tags = random_inputs()
    settings = LossSettings(contrastive="nt_xent", kl_offset=1e-5)
    results = []
    for step in (train_step, train_step_as_released):
        model = narrow(case, **RELEASED).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
        torch.manual_seed(1)
        values = [step(model, optimizer, patches, tags, settings) for _ in range(2)]
        results.append((values, model.state_dict()))
        weights = [name for name in before if name.endswith("weight")]
        assert not any(torch.equal(model.state_dict()[name], before[name]) for name in weights)
    (one, one_state), (three, three_state) = results
    for a, b in zip(one, three, strict=True):
        assert a.keys() == b.keys()
        assert all(isinstance(value, float) for value in b.values())
        assert all(value.requires_grad is False for value in a.values())
        assert {name: value.item() for name, value in a.items()} == pytest.approx(b, rel=1e-12)
    for name, value in one_state.items():
        torch.testing.assert_close(value, three_state[name], rtol=0, atol=1e-12)
