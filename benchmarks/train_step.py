"""How fast a training step is, beside the same step in PyTorch, on the same batches in one run.

    python -m benchmarks.train_step             # about 12 minutes on 2 quiet cores
    python -m benchmarks.train_step --quick     # whether it runs; the figures mean nothing

Arms take turns for each case: ours, as training runs it; PyTorch as the authors' code takes the
step; and PyTorch at its best (`pytorch_arms` says how). They begin with the same weights, and show
first, without dropout, that they train the same model. The data of every arm lie on the device.
First steps and memory are those of one arm alone in a process. The last line is a JSON object,
which is left in benchmarks/results too.
"""

import argparse
import importlib.util
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.comparison import arm_figures, disagreement, fastest, in_turn, ratios
from benchmarks.measure import BenchmarkError, say
from benchmarks.one_arm import ours_alone, pytorch_alone
from benchmarks.result import RESULTS, finish
from benchmarks.step_shapes import step_bytes, step_flop
from benchmarks.workload import NARROW, Sizes, make_workload

CASES = ("ae_c", "e_c", "cnn")
AS_RELEASED, BEST = "pytorch_as_released", "pytorch_best"
_COMPARED_ROWS = 16  # of the batch with which arms show that they train the same model
_VALUE_BYTES = {"float32": 4, "bfloat16": 2}

# What imports PyTorch is imported within functions: without it, this is to be said in a sentence.


@dataclass(frozen=True)
class Plan:
    """How it is measured, which the device decides.

    precisions: of our arms. piece: steps that are timed together. call: steps in one call of ours.
    trial: steps of each form of PyTorch's that are timed while the best is chosen.
    """

    sizes: Sizes
    rounds: int
    quick: bool
    precisions: tuple[str, ...]
    piece: int
    call: int
    trial: int


def make_plan(flags: argparse.Namespace, on_cpu: bool) -> Plan:
    from coala_jax.training.step_blocks import STEPS_PER_CALL

    return Plan(
        sizes=NARROW if flags.quick else Sizes(batch=flags.batch),
        rounds=1 if flags.quick else flags.rounds,
        quick=flags.quick,
        precisions=("float32",) if on_cpu else ("float32", "bfloat16"),
        piece=STEPS_PER_CALL[on_cpu] * (1 if on_cpu else 2),
        call=STEPS_PER_CALL[on_cpu],
        trial=1 if on_cpu else 64,
    )


def compare_models(case: str, plan: Plan) -> dict[str, float]:
    """Whether all arms of a case train the same model, without dropout and on one small batch."""
    from benchmarks.jax_arm import JaxArm, exact_products
    from benchmarks.pytorch_arms import Form, PytorchArm
    from tests.pytorch_weights import weights_from_flax

    sizes = Sizes(**asdict(plan.sizes) | {"batch": min(plan.sizes.batch, _COMPARED_ROWS)})
    workload = make_workload(case, sizes, batches=1, dropout_rate=0.0)
    with exact_products():
        ours = JaxArm(workload, "float32", steps_per_call=1)
        weights = weights_from_flax(ours.initial_variables)
        forms = {
            AS_RELEASED: Form(released=True, exact=True),
            BEST: Form(exact=True),
            f"{BEST} (channels last)": Form(channels_last=True, exact=True),
        }
        theirs = {name: PytorchArm(workload, form, weights) for name, form in forms.items()}
        off = disagreement({"ours": ours, **theirs})
    say(f"  the same model: losses agree to {off['losses']:.1e}, the update to {off['update']:.1e}")
    return off


def time_case(case: str, plan: Plan, limits: dict[str, Any], work: Path) -> dict[str, Any]:
    from benchmarks.jax_arm import JaxArm
    from benchmarks.pytorch_arms import Form, PytorchArm, choose_best
    from benchmarks.step_parts import time_parts
    from tests.pytorch_weights import weights_from_flax

    say(f"{case}:")
    agreement = compare_models(case, plan)
    workload = make_workload(case, plan.sizes)
    arms: dict[str, Any] = {
        f"ours_{precision}": JaxArm(workload, precision, plan.call) for precision in plan.precisions
    }
    weights = weights_from_flax(arms["ours_float32"].initial_variables)
    arms[AS_RELEASED] = PytorchArm(workload, Form(released=True), weights)
    form, arms[BEST], tried = choose_best(workload, weights, plan.trial, compiling=not plan.quick)
    say(f"  PyTorch at its best: {form}")
    in_turn(arms, 1, plan.piece)  # compiles, warms
    step_s = in_turn(arms, plan.rounds, plan.piece)

    flop = step_flop(workload.config, plan.sizes.tags)
    forms = {AS_RELEASED: Form(released=True), BEST: form}
    figures = {}
    for name, seconds in step_s.items():
        precision = name.removeprefix("ours_") if name not in forms else forms[name].precision
        moved = step_bytes(workload.config, _VALUE_BYTES[precision])
        own_limits = {
            "gflop_per_s": max(limits["gflop_per_s"][precision].values()),
            "gigabytes_per_s": max(limits["gigabytes_per_s"].values()),
        }
        figures[name] = arm_figures(seconds, plan.sizes.batch, flop, moved, own_limits)
        figures[name] |= {"precision": precision}
        alone = {"case": case, "sizes": asdict(plan.sizes)}
        if name in forms:
            figures[name] |= pytorch_alone(alone | {"form": asdict(forms[name])}, work)
        else:
            figures[name] |= ours_alone(alone | {"precision": precision}, plan.call, work)
    ours = fastest(figures, "ours")
    parts = time_parts(workload, figures[ours]["precision"], plan.piece)
    whole = plan.sizes.batch / figures[ours]["patches_per_second"]
    return {
        "ours": ours,
        **ratios(figures),
        "arms": figures,
        "gflop_per_patch": flop / 1e9,
        "megabytes_per_patch": step_bytes(workload.config, 4) / 1e6,
        "parts_s": parts,
        "unaccounted_s": whole - sum(parts.values()),
        "pytorch_best_form": str(form),
        "pytorch_forms_tried_s": tried,
        "disagreement": agreement,
    }


def benchmark(flags: argparse.Namespace, work: Path) -> dict[str, Any]:
    from benchmarks import jax_arm, machine_limits, pytorch_arms

    if jax_arm.on_cpu() == pytorch_arms.on_gpu():
        raise BenchmarkError(
            "JAX and PyTorch must both compute on a CPU or both on a GPU, or nothing is compared; "
            "JAX_PLATFORMS=cpu and CUDA_VISIBLE_DEVICES= (empty) keep them from a GPU"
        )
    plan = make_plan(flags, jax_arm.on_cpu())
    limits = {
        "gflop_per_s": {dtype: machine_limits.product_rates(dtype) for dtype in plan.precisions},
        "gigabytes_per_s": machine_limits.memory_rates(),
    }
    say(f"limits of the machine: {json.dumps(limits)}")
    cases = {case: time_case(case, plan, limits, work) for case in flags.case}
    headline = {
        name: value for name, value in cases[flags.case[0]].items() if name.startswith("ratio_")
    }
    return {
        **headline,
        "headline_case": flags.case[0],
        "cases": cases,
        "limits": limits,
        **asdict(plan),
        "pytorch": version("torch"),
    }


def say_result(figures: dict[str, Any]) -> None:
    for case, of_case in figures["cases"].items():
        for name, arm in of_case["arms"].items():
            say(
                f"{case} {name}: {arm['patches_per_second']:.1f} patches a second "
                f"({arm['patches_per_second_lowest']:.1f} to "
                f"{arm['patches_per_second_highest']:.1f}), {arm['gflop_per_s']:.0f} GFLOP/s, "
                f"{arm['share_of_product_rate']:.0%} of the product rate, "
                f"{arm['share_of_memory_rate']:.0%} of the memory's; first step "
                f"{arm['first_step_s_cold']:.1f} s, memory {arm['peak_memory_mb']:.0f} MB"
            )
        parts = [f"{name} {seconds:.3g}" for name, seconds in of_case["parts_s"].items()]
        say(f"{case} by part, s: {', '.join(parts)}, unaccounted {of_case['unaccounted_s']:.3g}")
        said = [f"{of_case[f'ratio_to_{name}']:.2f} times {name}" for name in (AS_RELEASED, BEST)]
        say(f"{case}: {' and '.join(said)}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.train_step", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES, help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--batch", type=int, default=128, help="patches a step (128)")
    parser.add_argument("--quick", action="store_true", help="a narrow model, one round")
    parser.add_argument(
        "--out", type=Path, help="folder of the result (benchmarks/results; none with --quick)"
    )
    flags = parser.parse_args(argv)
    if flags.rounds < 1 or flags.batch < 3:
        parser.error("--rounds must be at least 1, --batch at least 3")
    if flags.out is None and not flags.quick:
        flags.out = RESULTS
    return flags


def refuse_missing() -> None:
    if importlib.util.find_spec("torch") is None:
        raise BenchmarkError(
            "PyTorch is what the step is compared with, and this Python has none; "
            "pip install -e '.[test]' brings it"
        )


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parse(argv)
    try:
        refuse_missing()
        load = os.getloadavg()[0]  # of what else runs; well above 0, the times are not quiet
        with tempfile.TemporaryDirectory(prefix="coala-train-step-") as work:
            figures = benchmark(flags, Path(work).resolve()) | {"load_before": load}
    except (BenchmarkError, OSError) as error:
        print(f"train_step: {error}", file=sys.stderr)
        return 1
    say_result(figures)
    finish("train_step", figures, argv, flags.out)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("train_step: terminated"))  # and cleaned up
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("train_step: interrupted; run it again")
