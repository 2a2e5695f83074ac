"""The networks of a pretrained model, called on batches that span sounds and devices."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float32, PyTree

from coala_jax.embedding import pooling
from coala_jax.embedding.sounds import Heard, Sound, Windows
from coala_jax.models.autoencoders import PATCH_SIZE
from coala_jax.models.pretrained import PretrainedModel
from coala_jax.prefetch import prefetch_streams

Patches = Float32[np.ndarray, "patch 96 96"]

# A sound, a part of it with what was made of its patches, or None for both at its end.
Event = tuple[Heard, pooling.Clip | Windows | None, np.ndarray | None]


# Rows per call and device, always the same, so that each function compiles at most twice: for one
# device, and for all of this process. On a CPU the maps of 8 stay in memory that the process keeps
# between calls, those of 32 are mapped anew each time; and a short sound alone costs 8 rows. An
# accelerator gets 512: 32 take it less time than the call, and the feature maps of 512 take 2 GB of
# its memory.
_ROWS = 8
_FEW_ROWS_OF_ACCELERATOR = 32
_ROWS_OF_ACCELERATOR = 512
_MOST_THREADS = 16
_WAITING_PARTS = 4  # of a sound, of some 6 s each, that wait for their turn

# What a model needs for each method, and the cases that have it.
_NEEDS = {
    "encode_audio": ("encoder to embed with", ("ae_c", "e_c", "cnn")),
    "encode_layers": ("encoder to embed with", ("ae_c", "e_c", "cnn")),
    "match_and_encode": ("encoder to embed with", ("ae_c", "e_c", "cnn")),
    "match_and_encode_layers": ("encoder to embed with", ("ae_c", "e_c", "cnn")),
    "project_audio": ("space that sounds and tags share", ("ae_c", "e_c")),
    "project_tags": ("space that sounds and tags share", ("ae_c", "e_c")),
    "reconstruct": ("decoder to reconstruct with", ("ae_c",)),
    "reconstruct_tags": ("decoder to reconstruct with", ("ae_c",)),
    "predict_tags": ("classifier to predict tags with", ("cnn",)),
}


class Encoder:
    """The module of a pretrained model with its weights on the devices."""

    def __init__(self, model: PretrainedModel) -> None:
        self.case, self.module = model.case, model.module()
        self._tags = len(model.vocabulary)
        self._variables = jax.device_put(
            jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), model.variables)
        )

    def encode_sounds(
        self,
        method: str,
        sounds: Iterable[Sound],
        cut: Callable[[Sound, Heard], Iterator[pooling.Clip | Windows]],
        workers: int | None,
    ) -> Iterator[Event]:
        """Each part of each sound with what a method makes of its patches; None ends a sound.

        Batches span sounds; the sounds are read by threads. An error ends its sound alone.

        cut: the parts of a sound, as they are read.
        workers: threads that read sounds; None for as many as there are cores, at most 16.
        """
        self.check_case(method)
        begun: deque[Heard] = deque()
        waiting: deque[tuple[Heard, pooling.Clip | Windows | None]] = deque()

        def begin() -> Iterator[tuple[Sound, Heard]]:
            for sound in sounds:
                begun.append(Heard())
                yield sound, begun[-1]

        def patches(streams: Iterable[Iterator[pooling.Clip | Windows]]) -> Iterator[Patches]:
            for stream in streams:
                heard = begun.popleft()
                try:
                    for part in stream:
                        waiting.append((heard, part))
                        yield part.patches
                except ValueError as error:
                    heard.error = error
                waiting.append((heard, None))

        workers = workers or min(os.cpu_count() or 1, _MOST_THREADS)
        streams = prefetch_streams(lambda item: cut(*item), begin(), workers, _WAITING_PARTS)
        with closing(streams):
            rows = None
            for batch in _batches(patches(streams), self.batch_rows):
                found = self.apply(method, batch)
                rows = found if rows is None or not len(rows) else np.concatenate([rows, found])
                while waiting:
                    heard, part = waiting[0]
                    count = 0 if part is None else len(part.patches)
                    if count > len(rows):
                        break
                    waiting.popleft()
                    yield heard, part, None if part is None else rows[:count]
                    rows = rows[count:]
            while waiting:
                yield *waiting.popleft(), None

    def apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        """What a method of the module makes of the rows, any number of them.

        Raises:
            ValueError: the case lacks the method, or the rows are none or of a wrong shape.
        """
        self.check_case(method)
        of_tags = method in ("project_tags", "reconstruct_tags")
        row = [self._tags] if of_tags else [PATCH_SIZE, PATCH_SIZE]
        if list(rows.shape[1:]) != row:
            wanted = ", ".join(map(str, row))
            raise ValueError(f"the array has shape {list(rows.shape)}; it must be [row, {wanted}]")
        if len(rows) == 0:
            raise ValueError("the array has zero rows. Fix: pass at least 1")
        few, most = _rows_of_device()
        many, parts = len(rows) > few, []
        mesh = _devices(many)
        size = mesh.size * (most if many else few)
        variables = self._variables_everywhere if many else self._variables
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
            padded[: len(part)] = part
            result = _call(self.module, method, mesh, variables, padded)
            parts.append(np.asarray(result)[: len(part)])
        return np.concatenate(parts)

    def check_case(self, method: str) -> None:
        """Raises ValueError where the model's case lacks a method."""
        needed, cases = _NEEDS[method]
        if self.case not in cases:
            raise ValueError(
                f"case {self.case} has no {needed}. Fix: load a model of case {' or '.join(cases)}"
            )
        if cases == ("ae_c",) and not self.module.decoders:
            raise ValueError(
                "this model was saved without its decoders. Fix: load the one that training left"
            )

    @property
    def batch_rows(self) -> int:
        """Patches a call: of one device of a CPU, or of all accelerators together."""
        few, most = _rows_of_device()
        return few if few == most else most * len(jax.local_devices())

    @functools.cached_property
    def _variables_everywhere(self) -> PyTree:
        return jax.device_put(self._variables, NamedSharding(_devices(True), PartitionSpec()))


def _devices(many: bool) -> Mesh:
    """All devices of this process, or the first."""
    devices = jax.local_devices()
    return Mesh(np.array(devices if many else devices[:1]), ("device",))


def _rows_of_device() -> tuple[int, int]:
    """Rows per call and device of few rows, and of many."""
    if jax.local_devices()[0].platform == "cpu":
        return _ROWS, _ROWS
    return _FEW_ROWS_OF_ACCELERATOR, _ROWS_OF_ACCELERATOR


def _batches(parts: Iterable[Patches], rows: int) -> Iterator[Patches]:
    """The patches of all parts in order, `rows` at a time; the last batch may be smaller."""
    waiting = np.empty((0, PATCH_SIZE, PATCH_SIZE), np.float32)
    for part in parts:
        waiting = np.concatenate([waiting, part])
        whole = len(waiting) // rows * rows
        for start in range(0, whole, rows):
            yield waiting[start : start + rows]
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


@functools.partial(jax.jit, static_argnames=("module", "method", "mesh"))
def _call(module: nn.Module, method: str, mesh: Mesh, variables: PyTree, rows: Array) -> Array:
    """Each device computes its rows on its own, by the program that one device would have.

    Compiled once for all models of one shape, and not again for each of them.
    """
    cut = PartitionSpec("device")
    apply = functools.partial(module.apply, method=method)
    return jax.shard_map(
        apply, mesh=mesh, in_specs=(PartitionSpec(), cut), out_specs=cut, check_vma=False
    )(variables, rows)
