"""PyTorch's training step, as the authors' code takes it and as well as PyTorch can.

At its best it is one backward pass in the fastest of these forms, which a short trial finds: maps
channels first or last, bfloat16 autocast (on a GPU), and with or without `torch.compile`.
"""

import dataclasses
import math
import signal
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


def on_gpu() -> bool:
    return torch.cuda.is_available()


@dataclasses.dataclass(frozen=True)
class Form:
    """How PyTorch takes a step.

    Attributes:
        released: a backward pass and a wait for each loss, and PyTorch's default settings.
        compiled: the mode of torch.compile; "" for none.
        autocast: products in bfloat16; losses in float32 all the same.
        exact: products in float32 proper, for comparing values; otherwise a GPU uses TF32 in
            convolutions (PyTorch's default) and, unless `released`, in all products.
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
    """A training run on one device, some steps at a time; by default from PyTorch's own weights."""

    def __init__(
        self, workload: Workload, form: Form, weights: dict[str, Tensor] | None = None
    ) -> None:
        torch.set_num_threads(cores())
        config, size = workload.config, workload.sizes.batch
        self._form = form
        self._device = torch.device("cuda" if on_gpu() else "cpu")
        layout = torch.channels_last if form.channels_last else torch.contiguous_format
        model = pytorch_coala.TorchCoala.of_config(config, workload.sizes.tags)
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
        """Takes `count` steps and waits for them; the losses of the last one."""
        # Global settings of PyTorch, set at each turn because the arms share the process.
        torch.backends.cudnn.allow_tf32 = not self._form.exact
        torch.backends.cuda.matmul.allow_tf32 = not (self._form.exact or self._form.released)
        torch.backends.cudnn.benchmark = not self._form.released
        for _ in range(count):
            values = self._step(*self._batches[self._taken % len(self._batches)])
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
        if autocast:  # logarithms of probabilities of 8 bits are worth nothing
            outputs = pytorch_coala.Outputs(
                **{
                    name: None if value is None else value.float()
                    for name, value in vars(outputs).items()
                }
            )
        return pytorch_coala.losses(outputs, patches, tags, self._settings)


def choose_best(
    workload: Workload, weights: dict[str, Tensor], steps: int, compiling: bool = True
) -> tuple[Form, PytorchArm, dict[str, float | str]]:
    """The fastest form and its arm, warm; for each form its seconds a step, or why it failed."""
    tried: dict[str, float | str] = {}
    best: tuple[float, Form | None, PytorchArm | None] = (math.inf, None, None)

    def try_forms(*forms: Form) -> None:
        nonlocal best
        for form in forms:
            try:
                with _time_limit(COMPILE_LIMIT_S):
                    arm = PytorchArm(workload, form, weights)
                    arm.take(steps)
                seconds = tried[str(form)] = min(seconds_per_step(arm, steps) for _ in range(2))
                if seconds < best[0]:
                    best = seconds, form, arm
            except Exception as error:  # of any kind: the compiler's own
                lines = str(error).strip().splitlines() or [type(error).__name__]
                tried[str(form)] = f"failed: {lines[0]}"
            say(f"  PyTorch, {form}: {tried[str(form)]}")

    casts = (False, True) if on_gpu() else (False,)
    try_forms(
        *[Form(channels_last=last, autocast=cast) for cast in casts for last in (False, True)]
    )
    if best[1] is None:
        raise RuntimeError(f"PyTorch's step does not run: {tried}")
    if compiling:
        modes = ("default", "reduce-overhead") if on_gpu() else ("default",)  # by CUDA graphs
        try_forms(*[dataclasses.replace(best[1], compiled=mode) for mode in modes])
    return best[1], best[2], tried


def seconds_per_step(arm: Any, count: int) -> float:
    """Seconds a step of an arm of either side, over `count` steps."""
    began = time.perf_counter()
    arm.take(count)
    return (time.perf_counter() - began) / count


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when the seconds are over and Python next acts."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
