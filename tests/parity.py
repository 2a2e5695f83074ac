"""The runs that are compared, and the PyTorch reference's side of them.

Both sides tell what they computed in PyTorch's names and layouts; the product's side is in
`parity_product`.
"""

import dataclasses
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict
from torch import nn

from coala_jax.data.input_pipeline import Batch
from tests import pytorch_coala
from tests.synthetic import random_batch

TAGS, ROWS, VALID = 12, 16, 13

Tensors = dict[str, np.ndarray]
Losses = dict[str, float]


@dataclasses.dataclass
class Trace:
    """What is compared of a run.

    outputs, gradients: of the first step. losses: of each step, before it.
    after_first, after_last: the weights after these steps, running statistics among them.
    evaluated, evaluation_losses: of the first batch in evaluation mode, after the last step.
    """

    outputs: Tensors
    gradients: Tensors
    losses: list[Losses]
    after_first: Tensors
    after_last: Tensors
    evaluated: Tensors
    evaluation_losses: Losses


def narrow_config(case: str, truth: str, **changes: Any) -> ConfigDict:
    """A config of `configs/`, a fraction as wide and without dropout; `changes` by dotted key."""
    config = importlib.import_module(f"configs.{case}").get_config(truth)
    with config.unlocked():
        config.model.update(filters=4, tag_hidden=16, dropout_rate=0.0)
        config.update_from_flattened_dict(
            {key.replace("__", "."): value for key, value in changes.items()}
        )
    return config


@functools.cache
def make_batches(count: int) -> Sequence[Batch]:
    """Each with rows of equal tags among its valid ones; every fifth is padded."""
    made = [random_batch(ROWS, VALID if n % 5 == 4 else ROWS, TAGS, seed=n) for n in range(count)]
    for batch in made:
        batch["tags"][8:11] = batch["tags"][:3]
    return made


def new_reference(config: ConfigDict, dtype: str) -> pytorch_coala.TorchCoala:
    """As PyTorch starts it; the product takes its weights over."""
    torch.manual_seed(config.seed)
    model = pytorch_coala.TorchCoala.of_config(config, TAGS)
    return model.to(getattr(torch, dtype))


def train_reference(config: ConfigDict, dtype: str, count: int) -> Trace:
    model = new_reference(config, dtype).train()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(_refuse_kinks)
    latest: Tensors = {}
    model.register_forward_hook(lambda _model, _inputs, outputs: latest.update(_detach(outputs)))
    optimizer = torch.optim.SGD(model.parameters(), lr=config.optimizer.learning_rate)
    settings = pytorch_coala.LossSettings(**config.loss)
    batches = [
        (torch.tensor(b["patches"][b["valid"]]), torch.tensor(b["tags"][b["valid"]]))
        for b in make_batches(count)
    ]
    losses = []
    for number, batch in enumerate(batches):
        losses.append(_floats(pytorch_coala.train_step(model, optimizer, *batch, settings)))
        if number == 0:
            first_outputs = dict(latest)
            gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
            after_first = tensors(model.state_dict())
    model.eval()
    with torch.no_grad():
        evaluation_losses = pytorch_coala.losses(model(*batches[0]), *batches[0], settings)
    return Trace(
        outputs=first_outputs,
        gradients=gradients,
        losses=losses,
        after_first=after_first,
        after_last=tensors(model.state_dict()),
        evaluated=latest,
        evaluation_losses=_floats(evaluation_losses),
    )


def _refuse_kinks(_module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    """Where a ReLU's input is 0 but for rounding, its gradient is anybody's."""
    nearest = inputs[0].abs().min().item()
    assert nearest > 1e-10, f"the input of a ReLU is {nearest}; choose another seed"


def _detach(outputs: pytorch_coala.Outputs) -> Tensors:
    """Those that the product has too in training."""
    return {
        name: value.detach().numpy()
        for name, value in vars(outputs).items()
        if value is not None and "latent" not in name
    }


def tensors(state: dict[str, torch.Tensor]) -> Tensors:
    """A copy of a state dict, which the next step changes."""
    return {name: value.numpy().copy() for name, value in state.items() if "num_b" not in name}


def _floats(values: dict[str, torch.Tensor]) -> Losses:
    return {name: value.item() for name, value in values.items()}
