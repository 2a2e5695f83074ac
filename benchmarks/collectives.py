"""What devices sum and gather in a train step, counted in the step as it is compiled."""

import functools
import math
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.measure import BenchmarkError
from coala_jax.models.coala import build_model
from coala_jax.training import parallel, steps

SMALL_BYTES = 16_384  # a collective below this costs its start, not its bytes

_COLLECTIVE = re.compile(
    r" = (?P<shape>.*?) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-\w+)(?P<half>-start)?\("
)
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8}


@dataclass(frozen=True)
class Counted:
    """The collectives of a step.

    Attributes:
        all_reduces: how many; XLA has put together those that do not wait for one another.
        small_all_reduces: those of them under SMALL_BYTES.
        all_reduced_bytes: of all of them; the same for every batch.
        gathers: all-gathers and reduce-scatters, their transposes.
        gathered_bytes_per_row: of all of them, for each row of the global batch.
    """

    all_reduces: int
    small_all_reduces: int
    all_reduced_bytes: int
    gathers: int
    gathered_bytes_per_row: float

    @property
    def number(self) -> int:
        return self.all_reduces + self.gathers


def count(compiled: str, devices: int, rows: int) -> Counted:
    """Counts the collectives in the text of a compiled program for a global batch of `rows`.

    Raises:
        BenchmarkError: there are collectives that this count does not know.
    """
    reduced, gathered = [], []
    for line in compiled.splitlines():
        found = _COLLECTIVE.search(line)
        if found is None:
            continue
        kind, size = found["kind"], _bytes(found["shape"])
        if found["half"] or kind not in ("all-reduce", "all-gather", "reduce-scatter"):
            raise BenchmarkError(
                f"{kind}{found['half'] or ''} is a collective that benchmarks/collectives.py does "
                "not count; teach it to, or the figures are too small"
            )
        if kind == "all-reduce":
            reduced.append(size)
        else:
            # What is scattered is as large as what was gathered; its result is one device's part.
            gathered.append(size * (devices if kind == "reduce-scatter" else 1))
    small = sum(size < SMALL_BYTES for size in reduced)
    return Counted(len(reduced), small, sum(reduced), len(gathered), sum(gathered) / rows)


def _bytes(shape: str) -> int:
    """The size of an array, or of all arrays of a tuple, as XLA writes it: `f32[4,128]{1,0}`."""
    return sum(
        _BYTES[kind] * math.prod(int(size) for size in sizes.split(",") if size)
        for kind, sizes in _ARRAY.findall(shape)
    )


def compiled_step(settings: ConfigDict, tags: int, devices: int, rows: int) -> str:
    """The text of a config's train step, compiled for a global batch of `rows` rows."""
    model = build_model(
        settings.case,
        settings.model,
        tags,
        parallel.AXIS,
        product_dtype=jnp.dtype(settings.precision),
    )
    optimizer = steps.make_optimizer(settings.optimizer)
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, loss=settings.loss)
    mapped = parallel.map_step(step, tuple(jax.devices()[:devices]), outputs=2)
    each = (devices, rows // devices)
    batch = {
        "patches": jax.ShapeDtypeStruct((*each, 96, 96), jnp.float32),
        "tags": jax.ShapeDtypeStruct((*each, tags), jnp.uint8),
        "valid": jax.ShapeDtypeStruct(each, jnp.bool_),
    }
    state = jax.eval_shape(lambda: steps.initial_state(model, optimizer, seed=0))
    return mapped.lower(state, batch).compile().as_text()
