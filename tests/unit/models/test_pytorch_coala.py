"""The PyTorch reference itself: its names, its losses by hand, and its weights in Flax."""

import math

import jax
import numpy as np
import pytest
import torch

from coala_jax.models.coala import build_model, initial_variables
from tests.pytorch_coala import (
    LossSettings,
    Outputs,
    TorchCoala,
    losses,
    train_step,
    train_step_as_released,
)
from tests.pytorch_weights import weights_from_flax, weights_to_flax
from tests.synthetic import random_batch, tiny_config

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

torch.set_num_threads(1)  # two cost these narrow networks more than they bring
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


@pytest.mark.parametrize(
    ("case", "transform"), [("ae_c", "affine"), ("e_c", "linear"), ("cnn", "affine")]
)
def test_weights_go_to_flax_and_back(case, transform):
    """To where a Flax model has them, and nothing is lost; test_parity.py shows that they fit."""
    state = narrow(case, transform=transform).float().state_dict()
    variables = weights_to_flax(state)
    settings = tiny_config(
        model__filters=FILTERS, model__tag_hidden=HIDDEN, model__transform=transform
    ).model
    model = build_model(case, settings, TAGS)
    wanted = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0)))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted)
    back = weights_from_flax(variables)
    assert back.keys() == state.keys()
    for name, value in back.items():
        assert value.dtype == state[name].dtype and torch.equal(value, state[name]), name


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
        pytest.param(0.5, math.log(1.5 * 1.2) + 0.5 * math.log(4 / 3) + LOG2, id="offset"),
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
                *(surprise(A_P, A_B, A_P, A_Q), surprise(B_Q, A_B, B_P, B_Q)),
                *(surprise(A_P, A_P, B_P, P_Q), surprise(B_Q, A_Q, B_Q, P_Q)),
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
                *(surprise(1, 1, 1, 1), surprise(E, 1, 1, E, E, 1), surprise(E, 1, 1, E)),
                *(surprise(1, 1, E, E), surprise(E, 1, E, 1, E, 1), surprise(E, 1, E, 1)),
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
