"""How fast a training step is, beside the same step in PyTorch, on the same batches in one run.

    python -m benchmarks.train_step             # about 10 minutes on 2 quiet cores
    python -m benchmarks.train_step --quick     # whether it runs; the figures mean nothing

For each case these arms take turns: ours as training runs it, PyTorch as the authors' code takes a
step, and PyTorch at its best. First they show, without dropout, that they train the same model. The
last line is a JSON object, also written to benchmarks/results (`benchmarks.results_table`).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.comparison import AS_RELEASED, BEST, arm_figures, disagreement, ratios
from benchmarks.measure import BenchmarkError, in_turn, measure, say
from benchmarks.result import PACKAGES, RESULTS, finish
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.train_step"
CASES = ("ae_c", "e_c", "cnn")
_COMPARED_ROWS = 16  # of the batch with which arms show that they train the same model

# Nothing outside the standard library is imported up here: a missing package ends in one sentence.


@dataclass(frozen=True)
class Plan:
    """What the device decides.

    precisions: of our arms. call: steps in one call of ours. piece: steps that are timed together.
    trial: steps that are timed of each form of PyTorch's.
    """

    precisions: tuple[str, ...]
    call: int
    piece: int
    trial: int

    @classmethod
    def of(cls, on_cpu: bool) -> "Plan":
        if on_cpu:
            return cls(("float32",), call=4, piece=4, trial=1)
        return cls(("float32", "bfloat16"), call=64, piece=128, trial=64)


def check_same_model(case: str, sizes: Any) -> dict[str, float]:
    """That all arms of a case train the same model, without dropout and on one small batch."""
    import jax

    from benchmarks.jax_arm import JaxArm
    from benchmarks.pytorch_arm import Form, PytorchArm
    from benchmarks.workload import make_workload
    from tests.pytorch_weights import weights_from_flax

    sizes = replace(sizes, batch=min(sizes.batch, _COMPARED_ROWS))
    workload = make_workload(case, sizes, batches=1, dropout_rate=0.0)
    forms = (
        Form(released=True, exact=True),
        Form(exact=True),
        Form(channels_last=True, exact=True),
    )
    with jax.default_matmul_precision("highest"):
        ours = JaxArm(workload, "float32", steps_per_call=1)
        weights = weights_from_flax(ours.initial_variables)
        theirs = {str(form): PytorchArm(workload, form, weights) for form in forms}
        largest = disagreement({"ours": ours, **theirs})
    say(f"{case}: the same model; losses differ by {largest['losses']:.1e} at most")
    return largest


def time_case(
    case: str, flags: argparse.Namespace, plan: Plan, product_rates: Mapping[str, float]
) -> dict[str, Any]:
    from benchmarks.jax_arm import JaxArm
    from benchmarks.pytorch_arm import Form, PytorchArm, choose_best, seconds_per_step
    from benchmarks.workload import NARROW, Sizes, make_workload, step_flop
    from tests.pytorch_weights import weights_from_flax

    sizes = NARROW if flags.quick else Sizes(batch=flags.batch_size)
    agreement = check_same_model(case, sizes)
    workload = make_workload(case, sizes)
    arms: dict[str, Any] = {
        f"ours_{precision}": JaxArm(workload, precision, plan.call) for precision in plan.precisions
    }
    weights = weights_from_flax(arms["ours_float32"].initial_variables)
    arms[AS_RELEASED] = PytorchArm(workload, Form(released=True), weights)
    form, arms[BEST], tried = choose_best(workload, weights, plan.trial, compiling=not flags.quick)
    runs = {name: lambda arm=arm: seconds_per_step(arm, plan.piece) for name, arm in arms.items()}
    in_turn(runs, 1)  # compiles, warms
    step_s = in_turn(runs, 1 if flags.quick else flags.rounds)

    flop = step_flop(workload.config, sizes.tags)
    figures = {}
    for name, seconds in step_s.items():
        precision = {AS_RELEASED: "float32", BEST: form.precision}.get(name, name.split("_")[-1])
        figures[name] = arm_figures(seconds, sizes.batch, flop, product_rates[precision])
        figures[name]["precision"] = precision
    result = ratios(figures)
    if not flags.skip_start_up:
        alone = {"case": case, "sizes": asdict(sizes)}
        ours = alone | {"precision": figures[result["ours"]]["precision"], "call": plan.call}
        figures[result["ours"]] |= ours_alone(ours)
        figures[AS_RELEASED] |= run_alone(alone | {"form": asdict(Form(released=True))})
        figures[BEST] |= run_alone(alone | {"form": asdict(form)})
    return {
        **result,
        "arms": figures,
        "gflop_per_patch": flop / 1e9,
        "pytorch_best_form": str(form),
        "pytorch_forms_tried_s": tried,
        "disagreement": agreement,
    }


def ours_alone(wanted: dict[str, Any]) -> dict[str, float]:
    """Twice: without a compilation cache, and with what the first run left in it."""
    with tempfile.TemporaryDirectory(prefix="coala-compiled-") as cache:
        first, again = (run_alone(wanted | {"cache": cache}) for _ in range(2))
    return first | {"first_step_s_cached": again["first_step_s_cold"]}


def run_alone(wanted: dict[str, Any]) -> dict[str, float]:
    """The first step and the peak memory of one arm alone in a process.

    The memory is the accelerator's, or on a CPU that of the process, compiling included.
    """
    with tempfile.TemporaryDirectory(prefix="coala-train-step-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.train_step", "--alone", json.dumps(wanted)]
        run = measure(command, log)
        said = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return {
        "first_step_s_cold": said["first_step_s"],
        "peak_memory_mb": said["device_peak_mb"] or run.peak_mb,
    }


def be_alone(wanted: dict[str, Any]) -> None:
    """The process of `run_alone`. Each side's library is imported only for its own arm."""
    from benchmarks.workload import Sizes, make_workload

    workload = make_workload(wanted["case"], Sizes(**wanted["sizes"]))
    if "form" in wanted:
        from benchmarks.pytorch_arm import Form, PytorchArm

        arm: Any = PytorchArm(workload, Form(**wanted["form"]))
    else:
        import jax

        from benchmarks.jax_arm import JaxArm

        jax.config.update("jax_compilation_cache_dir", wanted["cache"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        arm = JaxArm(workload, wanted["precision"], wanted["call"])
    began = time.perf_counter()
    arm.take(1)
    first_step_s = time.perf_counter() - began
    arm.take(1)
    print(json.dumps({"first_step_s": first_step_s, "device_peak_mb": arm.device_peak_mb()}))


def benchmark(flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The figures after each case, those of the cases before included."""
    from benchmarks import jax_arm, machine_limits, pytorch_arm

    on_cpu = jax_arm.jax.default_backend() == "cpu"
    if on_cpu == pytorch_arm.on_gpu():
        raise BenchmarkError(
            "JAX and PyTorch are on different devices, one on a CPU and one on a GPU. Fix: "
            "JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES= for a CPU, or install the GPU build of both"
        )
    plan, load = Plan.of(on_cpu), os.getloadavg()[0]
    limits = {dtype: machine_limits.product_rates(dtype) for dtype in plan.precisions}
    say(f"GFLOP/s of matrix products: {json.dumps(limits)}")
    rates = {dtype: max(rates.values()) for dtype, rates in limits.items()}
    cases = {}
    for case in flags.case:
        cases[case] = time_case(case, flags, plan, rates)
        for name, arm in cases[case]["arms"].items():
            say(
                f"  {name}: {arm['patches_per_second']:.1f} patches/s "
                f"({arm['patches_per_second_lowest']:.1f} to "
                f"{arm['patches_per_second_highest']:.1f}), {arm['gflop_per_s']:.0f} GFLOP/s, "
                f"{arm['share_of_product_rate']:.0%} of the rate of products"
            )
        first = cases[flags.case[0]]
        yield {
            **{name: value for name, value in first.items() if name.startswith("ratio_")},
            "headline_case": flags.case[0],
            "cases": cases,
            "gflop_per_s_of_products": limits,
            "rounds": flags.rounds,
            "batch": flags.batch_size,
            "quick": flags.quick,
            **asdict(plan),
            "load_before": load,  # well above 0: something else was running
        }


def parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument(
        "--case", nargs="+", choices=CASES, default=CASES, help="cases to measure (all)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=3, help="rounds, whose median counts (%(default)s)"
    )
    parser.add_argument(
        "--batch_size", type=at_least(3), default=128, help="patches a step (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a narrow model, one round")
    parser.add_argument(
        "--skip_start_up",
        action="store_true",
        help="leave out the first step and the memory of each arm, alone in a process",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="folder of the results, not with --quick (benchmarks/results)",
    )
    parser.add_argument("--alone", type=json.loads, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)

    def work() -> None:
        if flags.alone:
            be_alone(flags.alone)
            return
        try:
            for figures in benchmark(flags):  # a run that is stopped leaves the cases so far
                out = None if flags.quick else flags.out
                finish("train_step", figures, argv, out, (*PACKAGES, "torch"))
        except ImportError as error:
            raise BenchmarkError(f"{error}. Fix: ./run.sh install test") from error

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
