"""The benchmark of a step: its counts and arithmetic, and that its arms train the same model."""

import contextlib
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, PartitionSpec

from benchmarks import (
    comparison,
    jax_arm,
    machine_limits,
    one_arm,
    pytorch_arms,
    step_shapes,
    train_step,
)
from benchmarks.comparison import arm_figures, disagreement, fastest, in_turn, ratios
from benchmarks.measure import BenchmarkError, Run
from benchmarks.pytorch_arms import Form, PytorchArm, choose_best
from benchmarks.workload import NARROW, Sizes, make_workload
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps
from tests.pytorch_weights import weights_from_flax

CASES = train_step.CASES
QUICK = train_step.make_plan(train_step.parse(["--quick"]), on_cpu=True)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of PyTorch's threads cost these narrow networks more than they bring."""
    monkeypatch.setattr(pytorch_arms, "cores", lambda: 1)


# --- What a step computes and moves ---------------------------------------------------------------

# Millions of multiply-adds of a convolution's products for one patch, without those with padding:
# along a side of n outputs 4 n - 2 taps are real.
ENCODER_M = [190**2 * 128 / 1e6] + [(4 * n - 2) ** 2 * 128 * 128 / 1e6 for n in (24, 12, 6, 3)]
TAG_NETWORK_M = (1000 * 512 + 512 * 512 + 512 * 1152) / 1e6
TRANSFORM_M = 1152 * 1152 / 1e6


def test_the_products_of_a_step_at_the_papers_sizes():
    flop = {case: step_shapes.step_flop(make_workload(case, SHAPES).config, 1000) for case in CASES}
    first_m = ENCODER_M[0] + 1000 * 512 / 1e6  # whose input has no gradient
    one_side_m = sum(ENCODER_M) + TAG_NETWORK_M + TRANSFORM_M
    assert flop["ae_c"] == pytest.approx(2e6 * (6 * one_side_m - first_m), rel=1e-12)
    assert flop["ae_c"] == pytest.approx(2.35e9, rel=2e-3)
    decoders_m = sum(ENCODER_M) + TAG_NETWORK_M
    assert flop["e_c"] == pytest.approx(flop["ae_c"] - 6e6 * decoders_m, rel=1e-12)
    classifier_m = TRANSFORM_M + 1152 * 1000 / 1e6
    cnn_m = 3 * (sum(ENCODER_M) + classifier_m) - ENCODER_M[0]
    assert flop["cnn"] == pytest.approx(2e6 * cnn_m, rel=1e-12)


SHAPES = Sizes(batch=3)


@pytest.mark.parametrize("case", ["ae_c", "cnn"])
def test_xla_counts_the_same_products(case):
    """In the real step as an accelerator gets it; what lies between the products adds 2 %."""
    workload = make_workload(case, SHAPES)
    config = workload.config
    model = build_model(case, config.model, SHAPES.tags, parallel.AXIS)
    optimizer = steps.make_optimizer(config.optimizer)
    rows, everywhere = PartitionSpec(parallel.AXIS), PartitionSpec()
    step = jax.shard_map(
        lambda *given: steps.train_step(*given, model=model, optimizer=optimizer, loss=config.loss),
        mesh=Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,)),
        in_specs=(everywhere, rows),
        out_specs=everywhere,
        check_vma=False,
    )
    batch = {
        "patches": jax.ShapeDtypeStruct((SHAPES.batch, 96, 96), jnp.float32),
        "tags": jax.ShapeDtypeStruct((SHAPES.batch, SHAPES.tags), jnp.uint8),
        "valid": jax.ShapeDtypeStruct((SHAPES.batch,), jnp.bool_),
    }
    state = jax.eval_shape(lambda: steps.initial_state(model, optimizer, seed=0))
    lowered = jax.jit(step).trace(state, batch).lower(lowering_platforms=("cuda",))
    counted = lowered.cost_analysis()["flops"] / SHAPES.batch
    assert 1.0 < counted / step_shapes.step_flop(config, SHAPES.tags) < 1.04


def test_what_a_step_moves_at_the_papers_sizes():
    encoder = 128 * (48 * 48 + 24 * 24 + 12 * 12 + 6 * 6 + 3 * 3)
    decoder = 128 * (6 * 6 + 12 * 12 + 24 * 24 + 48 * 48) + 96 * 96
    config = make_workload("ae_c", SHAPES).config
    assert step_shapes.step_bytes(config, 2) == 14 * 2 * (encoder + decoder)
    config = make_workload("e_c", SHAPES).config
    assert step_shapes.step_bytes(config, 4) == 14 * 4 * encoder


# --- Arithmetic -----------------------------------------------------------------------------------


class Clock:
    """Time that passes only while a fake arm works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        for module in (comparison, pytorch_arms):
            monkeypatch.setattr(module.time, "perf_counter", lambda: self.now_s)


class FakeArm:
    def __init__(self, clock: Clock, name: str, step_s: float, log: list[str]) -> None:
        self.clock, self.name, self.step_s, self.log = clock, name, step_s, log

    def take(self, count: int) -> dict[str, float]:
        self.log.append(self.name)
        self.clock.now_s += count * self.step_s
        self.step_s += 1.0
        return {}


def test_arms_take_turns_and_every_second_round_begins_with_the_last(monkeypatch):
    clock, log = Clock(monkeypatch), []
    arms = {name: FakeArm(clock, name, start, log) for name, start in (("a", 2.0), ("b", 5.0))}
    assert in_turn(arms, 3, 4) == {"a": [2, 3, 4], "b": [5, 6, 7]}
    assert log == ["a", "b", "b", "a", "a", "b"]


def test_figures_are_those_of_the_median_round():
    limits = {"gflop_per_s": 400.0, "gigabytes_per_s": 50.0}
    figures = arm_figures([2.0, 8.0, 4.0], 128, flop=2.5e9, moved=40e6, limits=limits)
    assert figures == {
        "patches_per_second": 32,
        "patches_per_second_lowest": 16,
        "patches_per_second_highest": 64,
        "step_s": [2.0, 8.0, 4.0],
        "gflop_per_s": 80,
        "share_of_product_rate": 0.2,
        "share_of_memory_rate": pytest.approx(32 * 0.04 / 50),
    }


def test_ratios_are_those_of_our_fastest_arm():
    rates = {"ours_float32": 60, "ours_bfloat16": 90, "pytorch_as_released": 20, "pytorch_best": 45}
    arms = {name: {"patches_per_second": rate} for name, rate in rates.items()}
    assert fastest(arms, "ours") == "ours_bfloat16"
    assert ratios(arms) == {"ratio_to_pytorch_as_released": 4.5, "ratio_to_pytorch_best": 2}


# --- The same model -------------------------------------------------------------------------------


class Losses:
    """An arm whose first two steps have these losses."""

    def __init__(self, *losses: dict[str, float]) -> None:
        self.left = list(losses)

    def take(self, count: int) -> dict[str, float]:
        assert count == 1
        return self.left.pop(0)


def test_disagreement_by_hand():
    ours = Losses({"loss": 8.0, "tag_loss": 0.5}, {"loss": 6.0, "tag_loss": 0.4})
    theirs = Losses({"loss": 8.0 + 2**-18, "tag_loss": 0.5}, {"loss": 6.01, "tag_loss": 0.4})
    off = disagreement({"ours": ours, "theirs": theirs})
    assert off == {"losses": 2**-21, "update": pytest.approx(0.01 / 2)}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"loss": 8.0002}, {"loss": 6.0}, "loss before the first step is 8.0002 in theirs"),
        ({"loss": 8.0}, {"loss": 6.03}, "loss after the first step is 6.03 in theirs"),
        ({"loss": 8.0}, {"loss": 8.0}, "loss after the first step is 8.0 in theirs"),
        ({"loss": float("nan")}, {"loss": 6.0}, "loss before the first step is nan in theirs"),
        ({"tag_loss": 8.0}, {"tag_loss": 6.0}, "theirs has the losses tag_loss, and ours loss"),
    ],
)
def test_arms_that_train_other_models_are_refused(before, after, said):
    arms = {"ours": Losses({"loss": 8.0}, {"loss": 6.0}), "theirs": Losses(before, after)}
    with pytest.raises(BenchmarkError, match=said):
        disagreement(arms)


@pytest.fixture(scope="module")
def ours() -> tuple[dict, list[dict[str, float]]]:
    """Weights and the losses of four steps of AE-C, two in a call."""
    workload = make_workload("ae_c", NARROW, dropout_rate=0.0)
    arm = jax_arm.JaxArm(workload, "float32", steps_per_call=2)
    second, fourth = arm.take(2), arm.take(2)
    return weights_from_flax(arm.initial_variables), [second, fourth]


RELEASED, PLAIN, LAST = Form(released=True), Form(), Form(channels_last=True)


def pytorch_arm(ours, form: Form = PLAIN, **loss: float) -> PytorchArm:
    workload = make_workload("ae_c", NARROW, dropout_rate=0.0)
    workload.config.loss.update(loss)
    return PytorchArm(workload, form, ours[0])


@pytest.mark.parametrize("form", [RELEASED, PLAIN, LAST], ids=str)
def test_the_arms_train_the_same_model_on_the_same_batches(ours, form):
    arm = pytorch_arm(ours, form)
    for count, wanted in zip((2, 2), ours[1], strict=True):
        assert arm.take(count) == pytest.approx(wanted, rel=1e-3)


def test_a_slightly_different_arm_is_noticed(ours):
    same = disagreement({"one": pytorch_arm(ours), "other": pytorch_arm(ours, RELEASED)})
    assert same["losses"] < 1e-6 and same["update"] < 1e-4
    with pytest.raises(BenchmarkError, match="do not train the same model"):
        disagreement({"one": pytorch_arm(ours), "other": pytorch_arm(ours, tag_weight=5.2)})


def test_autocast_computes_the_same_losses_roughly(ours):
    wanted = pytorch_arm(ours).take(2)
    fast = pytorch_arm(ours, Form(channels_last=True, autocast=True)).take(2)
    assert fast == pytest.approx(wanted, rel=0.03) and fast != pytest.approx(wanted, rel=1e-5)
    # But no loss has bfloat16's 8 bits only.
    assert all(torch.tensor(loss).bfloat16().item() != loss for loss in fast.values())


# --- PyTorch at its best --------------------------------------------------------------------------


def fake_arms(monkeypatch: pytest.MonkeyPatch, step_s: dict[Form, float | Exception]) -> None:
    clock = Clock(monkeypatch)

    def make(_workload, form, _weights):
        if isinstance(step_s[form], Exception):
            raise step_s[form]
        return FakeArm(clock, str(form), step_s[form], [])

    monkeypatch.setattr(pytorch_arms, "PytorchArm", make)


COMPILED = Form(channels_last=True, compiled="default")


@pytest.mark.parametrize(
    ("compiled", "best"),
    [
        (0.5, COMPILED),
        (3.5, Form(channels_last=True)),
        (RuntimeError("no compiler\nthen 40 lines"), Form(channels_last=True)),
    ],
)
def test_the_fastest_form_is_chosen(monkeypatch, compiled, best):
    fake_arms(monkeypatch, {Form(): 4.0, Form(channels_last=True): 3.0, COMPILED: compiled})
    form, arm, tried = choose_best(None, {}, 1)
    assert form == best and arm.name == str(best)
    # A fake arm's step takes 1 s longer every time; the first one is not counted.
    seen = "not used, because no compiler" if isinstance(compiled, Exception) else compiled + 1
    assert tried == {
        "channels first, not compiled, float32": 5.0,
        "channels last, not compiled, float32": 4.0,
        "channels last, torch.compile (default), float32": seen,
    }


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError, match="it took more than 0 s"), pytorch_arms._at_most(0.01):
        end_s = time.monotonic() + 5
        while time.monotonic() < end_s:
            pass


# --- The program ----------------------------------------------------------------------------------


def test_the_whole_program_on_a_narrow_model(tmp_path, monkeypatch, capsys):
    """With arms alone in this process too, whose memory is then told by a fake."""
    commands = []

    def run_here(command: list[str], log: Path) -> Run:
        assert command[:3] == [sys.executable, "-m", "benchmarks.one_arm"]
        commands.append(json.loads(command[3]))
        with log.open("w") as file, contextlib.redirect_stdout(file):
            one_arm.main(command[3:])
        return Run(1.0, 1.0, [(0.0, 100.0 + len(commands)), (0.5, 50.0)], 999.0)

    monkeypatch.setattr(one_arm, "measure", run_here)
    monkeypatch.setattr(jax_arm, "keep_compiled", lambda folder: None)
    monkeypatch.setattr(machine_limits, "product_rates", lambda dtype: {"jax": 8.0, "torch": 2.0})
    monkeypatch.setattr(machine_limits, "memory_rates", lambda: {"jax": 1.0, "torch": 4.0})
    assert train_step.main(["--quick", "--case", "cnn", f"--out={tmp_path}"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("train_step-") and json.loads(file.read_text()) == result
    of_case = result["cases"]["cnn"]
    arms = of_case["arms"]
    assert list(arms) == ["ours_float32", "pytorch_as_released", "pytorch_best"]
    for name in ("pytorch_as_released", "pytorch_best"):
        ratio = arms["ours_float32"]["patches_per_second"] / arms[name]["patches_per_second"]
        assert result[f"ratio_to_{name}"] == of_case[f"ratio_to_{name}"] == pytest.approx(ratio)
    ours = arms["ours_float32"]
    assert ours["share_of_product_rate"] == pytest.approx(ours["gflop_per_s"] / 8)
    assert [c["arm"] for c in commands] == ["ours", "ours", "pytorch", "pytorch"]
    assert [c.get("call") for c in commands] == [4, 4, None, None]
    assert [c["form"]["released"] for c in commands[2:]] == [True, False]
    peaks = [ours["peak_memory_mb"], ours["peak_memory_mb_cached"]]
    assert [*peaks, arms["pytorch_best"]["peak_memory_mb"]] == [101, 102, 104]
    assert ours["first_step_s_cold"] > 0 and ours["first_step_s_cached"] > 0
    step_s = QUICK.sizes.batch / ours["patches_per_second"]
    assert of_case["unaccounted_s"] == pytest.approx(step_s - sum(of_case["parts_s"].values()))
    assert min(of_case["parts_s"].values()) > 0
    assert list(of_case["parts_s"]) == [
        "convolutions_forward",
        "convolutions_input_gradient",
        "convolutions_weight_gradient",
        "batch_norm_relu_dropout",
        "tag_side",
        "losses",
        "optimiser",
        "input",
    ]


def test_a_quick_run_leaves_no_result():
    assert train_step.parse(["--quick"]).out is None
    assert train_step.parse([]).out == train_step.RESULTS


def test_unlike_devices_are_not_compared(monkeypatch, capsys):
    monkeypatch.setattr(pytorch_arms, "on_gpu", lambda: True)
    assert train_step.main([]) == 1
    assert capsys.readouterr().err.startswith("train_step: JAX and PyTorch must both compute on")


def test_without_pytorch_it_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert train_step.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("train_step: PyTorch is what the step is compared with")
    assert said.count("\n") == 1
