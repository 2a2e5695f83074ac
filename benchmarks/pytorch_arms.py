"""PyTorch's training step, as the authors' code takes it and as well as PyTorch can.

*At its best* is one backward pass in the fastest of these forms, which a short trial finds: weights
and maps channels last or not, `torch.compile`, and on a GPU bfloat16 autocast or float32 with TF32.
The data lie on the device in every form.
"""

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import say
from benchmarks.result import cores
from benchmarks.workload import Workload
from tests import pytorch_coala

COMPILE_LIMIT_S = 120.0
_TRIALS = 2


def on_gpu() -> bool:
    return torch.cuda.is_available()


@dataclasses.dataclass(frozen=True)
class Form:
    """How PyTorch takes a step.

    Attributes:
        released: a backward pass and a wait for each loss, and PyTorch's default settings.
        compiled: the mode of torch.compile; "" for none.
        autocast: products in bfloat16; losses in float32 all the same.
        exact: a GPU's products in float32 proper, for comparing values; else PyTorch's default,
            TF32 in convolutions, and at its best in all products.
    """

    released: bool = False
    channels_last: bool = False
    compiled: str = ""
    autocast: bool = False
    exact: bool = False

    def __str__(self) -> str:
        if self.released:
            return "as released"
        tf32 = ", TF32 allowed" if on_gpu() and not self.autocast else ""
        return ", ".join(
            [
                "channels last" if self.channels_last else "channels first",
                f"torch.compile ({self.compiled})" if self.compiled else "not compiled",
                "bfloat16 autocast" if self.autocast else f"float32{tf32}",
            ]
        )

    @property
    def precision(self) -> str:
        return "bfloat16" if self.autocast else "float32"


class PytorchArm:
    """A training run on one device, some steps at a time.

    weights: what it begins with; None for a start of PyTorch's own.
    """

    def __init__(
        self, workload: Workload, form: Form, weights: dict[str, Tensor] | None = None
    ) -> None:
        torch.set_num_threads(cores())
        config, size = workload.config, workload.sizes.batch
        self._form = form
        self._device = torch.device("cuda" if on_gpu() else "cpu")
        layout = torch.channels_last if form.channels_last else torch.contiguous_format
        model = pytorch_coala.TorchCoala(config.case, workload.sizes.tags, **config.model)
        if weights is not None:
            model.load_state_dict(weights)
        self._model = model.to(self._device, memory_format=layout).train()
        self._optimizer = torch.optim.SGD(model.parameters(), lr=config.optimizer.learning_rate)
        self._settings = pytorch_coala.LossSettings(**config.loss)
        self._losses: Callable[..., dict[str, Tensor]] = self._eager_losses
        if form.compiled:
            self._losses = torch.compile(self._eager_losses, mode=form.compiled)
        patches = torch.from_numpy(workload.patches).to(self._device)
        tags = torch.from_numpy(workload.tags).to(self._device, torch.float32)
        self._batches = list(zip(patches.split(size), tags.split(size), strict=True))
        self._taken = 0

    def take(self, count: int) -> dict[str, float]:
        """Takes so many steps; the losses of the last one, when all is done."""
        self._choose_arithmetic()
        for _ in range(count):
            patches, tags = self._batches[self._taken % len(self._batches)]
            values = self._step(patches, tags)
            self._taken += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return {name: float(value) for name, value in values.items()}

    def device_peak_mb(self) -> float | None:
        """Of the accelerator's memory; None on a CPU, where it is the process's."""
        return torch.cuda.max_memory_allocated() / 1e6 if self._device.type == "cuda" else None

    def _step(self, patches: Tensor, tags: Tensor) -> dict[str, Any]:
        if self._form.released:
            return pytorch_coala.train_step_as_released(
                self._model, self._optimizer, patches, tags, self._settings
            )
        if self._form.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        self._optimizer.zero_grad()
        values = self._losses(patches, tags)
        values["loss"].backward()
        self._optimizer.step()
        return {name: value.detach() for name, value in values.items()}

    def _eager_losses(self, patches: Tensor, tags: Tensor) -> dict[str, Tensor]:
        autocast = self._form.autocast
        with torch.autocast(self._device.type, torch.bfloat16) if autocast else nullcontext():
            outputs = self._model(patches, tags)
        if autocast:  # the logarithms of probabilities with 8 bits are worth nothing
            outputs = pytorch_coala.Outputs(
                **{
                    name: None if value is None else value.float()
                    for name, value in vars(outputs).items()
                }
            )
        return pytorch_coala.losses(outputs, patches, tags, self._settings)

    def _choose_arithmetic(self) -> None:
        """Sets what is one for all of PyTorch, anew because arms take turns."""
        torch.backends.cudnn.allow_tf32 = not self._form.exact
        torch.backends.cuda.matmul.allow_tf32 = not (self._form.exact or self._form.released)
        torch.backends.cudnn.benchmark = not self._form.released


def choose_best(
    workload: Workload, weights: dict[str, Tensor], steps: int, compiling: bool = True
) -> tuple[Form, PytorchArm, dict[str, float | str]]:
    """The fastest form, warm, and for each form tried its seconds a step or why it is not used."""
    tried: dict[str, float | str] = {}
    best: tuple[float, Form, PytorchArm] | None = None

    def fastest(forms: list[Form]) -> Form:
        nonlocal best
        seconds = {}
        for form in forms:
            arm, seconds[form], told = _try(workload, form, weights, steps)
            tried[str(form)] = told
            if arm is not None and (best is None or seconds[form] < best[0]):
                best = seconds[form], form, arm
        return min(forms, key=seconds.__getitem__)

    for autocast in (False, True) if on_gpu() else (False,):
        layouts = [Form(channels_last=last, autocast=autocast) for last in (False, True)]
        eager = fastest(layouts)
        if compiling:
            modes = ("default", "reduce-overhead") if on_gpu() else ("default",)  # by CUDA graphs
            fastest([dataclasses.replace(eager, compiled=mode) for mode in modes])
    if best is None:
        raise RuntimeError(f"no form of PyTorch's step runs here: {tried}")
    return best[1], best[2], tried


def _try(
    workload: Workload, form: Form, weights: dict[str, Tensor], steps: int
) -> tuple[PytorchArm | None, float, float | str]:
    began = time.perf_counter()
    try:
        with _at_most(COMPILE_LIMIT_S):
            arm = PytorchArm(workload, form, weights)
            arm.take(steps)
        first = time.perf_counter() - began
        seconds = min(_timed(arm, steps) for _ in range(_TRIALS))
    except Exception as error:  # a compiler's own, of any kind: PyTorch goes without it
        reason = str(error).strip().splitlines() or [type(error).__name__]
        told = f"not used, because {reason[0]}"
        say(f"  PyTorch, {form}: {told}")
        return None, math.inf, told
    say(f"  PyTorch, {form}: {seconds:.3g} s a step, the first {first:.1f} s")
    return arm, seconds, seconds


def _timed(arm: PytorchArm, steps: int) -> float:
    began = time.perf_counter()
    arm.take(steps)
    return (time.perf_counter() - began) / steps


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the main thread, when the seconds are over and Python next acts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
