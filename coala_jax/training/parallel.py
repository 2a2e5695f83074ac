"""All knowledge of devices and processes.

The step is written once, for one device, and mapped over all of them with `jax.pmap`: the batch is
split along its rows, the state is the same everywhere and has no device axis. Inside the step,
`all_sum`, `gather` and `row_index` are the only ways to see beyond the own device. Around it,
`run_devices` gives the order in which devices take rows, and `lead_first` lets one process decide
for all.
"""

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Int32, PyTree, Shaped

AXIS = "device"

# JAX caches what took it a second, which an encoder's program does not quite, at every start.
_CACHED_FROM_S = 0.2
_HEARTBEAT_S = 30  # after which the death of a process ends the others

# JAX calls every NVIDIA and AMD device a gpu.
_PLATFORM_OF = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}


# --- Inside the step --------------------------------------------------------------------------


def all_sum(tree: PyTree) -> PyTree:
    """Sums over all devices."""
    return jax.lax.psum(tree, AXIS)


def gather(rows: Shaped[Array, "row ..."]) -> Shaped[Array, "all_rows ..."]:
    """The rows of all devices, in the order of the global batch."""
    return jax.lax.all_gather(rows, AXIS, tiled=True)


def row_index(rows: int) -> Int[Array, " row"]:
    """The places of this device's rows in the global batch."""
    return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows, dtype=jnp.int32)


# --- Around the step --------------------------------------------------------------------------


def run_devices(chosen: Sequence[jax.Device] | None = None) -> tuple[jax.Device, ...]:
    """The devices of a run, all of JAX's or those chosen, in the order in which they take rows.

    That is by process, then by id. `jax.devices()` promises no order, and on some TPU slices it
    interleaves processes: `pmap` and much of `multihost_utils` refuse that, or take one process's
    values for another's.
    """
    devices = jax.devices() if chosen is None else chosen
    return tuple(sorted(devices, key=lambda device: (device.process_index, device.id)))


def map_step(
    step: Callable[[PyTree, PyTree], Any], devices: Sequence[jax.Device], outputs: int
) -> Callable[[PyTree, PyTree], Any]:
    """Maps step(state, batch) over the devices; every output must be the same on all of them.

    JAX does not check that it is: a forgotten sum returns the value of the first device. With two
    outputs the first is the new state, and the old state's memory is reused for it.
    """
    return _map(step, devices, (None, 0), outputs)


def map_steps(
    steps: Callable[..., Any], devices: Sequence[jax.Device], shared_data: bool, outputs: int = 2
) -> Callable[..., Any]:
    """As `map_step`, of steps(state, data, indices): many steps in one call.

    shared_data: the data are whole on every device; else each device has its own along axis 0.
    """
    return _map(steps, devices, (None, None if shared_data else 0, 0), outputs)


def _map(
    function: Callable[..., Any],
    devices: Sequence[jax.Device],
    in_axes: tuple[int | None, ...],
    outputs: int,
) -> Callable[..., Any]:
    return jax.pmap(
        function,
        axis_name=AXIS,
        devices=devices,
        in_axes=in_axes,
        out_axes=(None,) * outputs if outputs > 1 else None,
        donate_argnums=(0,) if outputs > 1 else (),
    )


def place_state(state: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Puts the state where the mapped step will keep it, so that the step compiles only once."""
    return jax.device_put(state, NamedSharding(_mesh(_local(devices)), PartitionSpec()))


def place_data(data: PyTree, devices: Sequence[jax.Device], shared: bool) -> PyTree:
    """Puts data where `map_steps` reads them: whole on every device, or split along axis 0."""
    spec = PartitionSpec() if shared else PartitionSpec(AXIS)
    return jax.device_put(data, NamedSharding(_mesh(_local(devices)), spec))


def split_rows(batch: dict[str, np.ndarray], devices: Sequence[jax.Device]) -> dict[str, Any]:
    """This process's rows of a batch, split over its devices."""
    local = len(_local(devices))
    return {name: rows.reshape(local, -1, *rows.shape[1:]) for name, rows in batch.items()}


def split_steps(
    indices: Int32[np.ndarray, "step batch"], devices: Sequence[jax.Device]
) -> Int32[np.ndarray, "device step row"]:
    """This process's rows of each step, split over its devices."""
    own = indices[:, own_rows(indices.shape[1], devices)]
    local = len(_local(devices))
    return np.ascontiguousarray(own.reshape(len(own), local, -1).swapaxes(0, 1))


def own_rows(batch_size: int, devices: Sequence[jax.Device]) -> Int[np.ndarray, " row"]:
    """The rows of the global batch that this process reads, device by device.

    Raises:
        ValueError: the devices cannot share the batch evenly.
    """
    count = len(devices)
    if batch_size % count:
        lower, upper = batch_size // count * count, -(-batch_size // count) * count
        fix = f"{lower} or {upper}" if lower else str(upper)
        raise ValueError(
            f"config.train.batch_size is {batch_size}, which {count} devices cannot share evenly. "
            f"Fix: make it {fix}"
        )
    mine = [device.process_index == jax.process_index() for device in devices]
    return np.arange(batch_size).reshape(count, -1)[mine].ravel()


def check_rows(batch_size: int, devices: Sequence[jax.Device]) -> None:
    """Checks, on the devices, that all processes together read each row of a batch exactly once.

    Otherwise a row read in place of another would silently leave data out of training.

    Raises:
        ValueError: the devices cannot share the batch evenly.
        RuntimeError: a row is read twice, not at all, or not where `row_index` says.
    """
    everything = np.arange(batch_size, dtype=np.int32)
    (own,) = split_steps(everything[None], devices).swapaxes(0, 1)
    see_all = jax.pmap(
        lambda rows: (gather(rows), gather(row_index(rows.shape[0]))),
        axis_name=AXIS,
        devices=devices,
        out_axes=None,
    )
    for read in see_all(own):
        if not np.array_equal(read, everything):
            raise RuntimeError(
                f"the {len(devices)} devices read rows {np.asarray(read).tolist()} of a batch of "
                f"{batch_size}, not each row once and in order: devices and processes disagree. "
                "Fix: report this with the output of jax.devices() in each process"
            )


def memory_bytes(devices: Sequence[jax.Device]) -> int:
    """Memory of each device of this process, 0 where unknown; CPU devices share the machine's."""
    local = _local(devices)
    if local[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(local)
    return min((device.memory_stats() or {"bytes_limit": 0})["bytes_limit"] for device in local)


def saveable(state: PyTree) -> PyTree:
    """The state as Orbax takes it: of several processes, as arrays that they share."""
    if jax.process_count() == 1:
        return state
    return multihost_utils.host_local_array_to_global_array(
        state, _mesh(run_devices()), PartitionSpec()
    )


def usable(state: PyTree) -> PyTree:
    """The inverse of `saveable`: what Orbax restored, as the mapped step takes it."""
    if jax.process_count() == 1:
        return state
    return multihost_utils.global_array_to_host_local_array(
        state, _mesh(run_devices()), PartitionSpec()
    )


def _local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return [device for device in devices if device.process_index == jax.process_index()]


def process_place() -> tuple[int, int]:
    """The index of this process, and how many there are."""
    return jax.process_index(), jax.process_count()


def gather_rows(rows: Shaped[np.ndarray, "_ ..."]) -> Shaped[np.ndarray, "_ ..."]:
    """The rows of all processes, in their order; each may contribute any number.

    All processes must call it. Rows travel as bytes, since JAX would make float64 float32.
    """
    if jax.process_count() == 1:
        return rows
    counts = _whole(_start_gather(np.array([len(rows)], np.int32)))[:, 0]
    row_bytes = rows.dtype.itemsize * math.prod(rows.shape[1:])
    padded = np.zeros((counts.max(), row_bytes), np.uint8)
    padded[: len(rows)] = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), row_bytes)
    parts = zip(_whole(_start_gather(padded)), counts, strict=True)
    joined = np.concatenate([part[:count] for part, count in parts])
    return joined.view(rows.dtype).reshape(-1, *rows.shape[1:])


def start_max(number: int) -> Callable[[], int]:
    """Asks all processes, which must all call it, for their numbers; the answer is the largest.

    It returns at once. Whoever calls what it returns waits for the answer.
    """
    if jax.process_count() == 1:
        return lambda: number
    gathered = _start_gather(np.array([number], np.int32))
    return lambda: int(_whole(gathered).max())


def _start_gather(own: np.ndarray) -> Array:
    """The arrays of all processes, equal in shape, along a new first axis; computed later."""
    firsts = {device.process_index: device for device in reversed(run_devices())}
    mesh = _mesh([firsts[process] for process in range(jax.process_count())])
    spread = multihost_utils.host_local_array_to_global_array(own[None], mesh, PartitionSpec(AXIS))
    return jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(spread)


def _whole(gathered: Array) -> np.ndarray:
    return np.asarray(gathered.addressable_data(0))


def _same(array: Array) -> Array:
    return array


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,))


def start(asked: str) -> None:
    """Joins the other processes of this run, if there are any.

    JAX finds those of a TPU slice, of `srun` and of `mpirun` by itself. Elsewhere set
    JAX_NUM_PROCESSES, JAX_PROCESS_ID and JAX_COORDINATOR_ADDRESS (host:port of process 0);
    JAX_NUM_PROCESSES=1 keeps a process on its own. `asked` is the kind of device asked for.

    Raises:
        ValueError: some of these variables are set, and others missing.
    """
    environment = os.environ
    found_by_jax = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    count = environment.get("JAX_NUM_PROCESSES")
    if count == "1" or jax.distributed.is_initialized():
        return
    if count is not None:
        needed = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS")
        missing = [name for name in needed if name not in environment]
        if missing:
            raise ValueError(
                f"JAX_NUM_PROCESSES={count} without {' and '.join(missing)}. Fix: set "
                f"{', '.join(needed)}, or none of them"
            )
        jax.distributed.initialize(
            coordinator_address=environment["JAX_COORDINATOR_ADDRESS"],
            num_processes=int(count),
            process_id=int(environment["JAX_PROCESS_ID"]),
            heartbeat_timeout_seconds=_HEARTBEAT_S,
        )
    elif asked == "tpu" or any(int(environment.get(n, "1")) > 1 for n in found_by_jax):
        jax.distributed.initialize(heartbeat_timeout_seconds=_HEARTBEAT_S)


def keep_compiled_steps() -> None:
    """Caches compiled steps for the next start, in the user's cache folder.

    JAX_COMPILATION_CACHE_DIR, which JAX reads itself, names another folder.
    """
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _CACHED_FROM_S)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(caches) / "coala_jax" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:  # there may be no home at all
        logging.warning(
            "compiled steps cannot be cached for the next start: %s. Fix: set "
            "JAX_COMPILATION_CACHE_DIR to a writable folder",
            error,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def is_lead() -> bool:
    """Whether this process writes what the run writes once."""
    return jax.process_index() == 0


def lead_first(action: Callable[[], None]) -> None:
    """Runs the action on the lead, then on all others; if it fails on one, it fails on all.

    Every process must call it, and returns when all have run the action. Otherwise the others would
    wait for a process that has failed until JAX ends them.

    Raises:
        ValueError: the action raised OSError or ValueError somewhere; the same on every process.
    """
    for my_turn in (is_lead(), not is_lead()):
        failure = None
        if my_turn:
            try:
                action()
            except (OSError, ValueError) as error:
                failure = error
        texts = _texts_of_all("" if failure is None else str(failure) or repr(failure))
        for process, text in enumerate(texts):
            if text:
                raise ValueError(f"process {process}: {text}" if process else text) from failure


def _texts_of_all(text: str) -> list[str]:
    """The texts of all processes, in their order."""
    if jax.process_count() == 1:
        return [text]
    encoded = np.frombuffer(text.encode(), np.uint8)
    sizes = gather_rows(np.array([encoded.size], np.int32))
    together = gather_rows(encoded)
    return [part.tobytes().decode() for part in np.split(together, np.cumsum(sizes)[:-1])]


def require_device(asked: str) -> None:
    """Raises ValueError if JAX does not use the kind of device asked for ("" for any)."""
    if not asked:
        return
    if asked not in _PLATFORM_OF:
        raise ValueError(
            f"COALA_DEVICE is {asked!r}; it must be one of {', '.join(_PLATFORM_OF)}, or unset"
        )
    shown = jax.default_backend()
    if shown != _PLATFORM_OF[asked]:
        raise ValueError(
            f"COALA_DEVICE={asked} asks for a {_PLATFORM_OF[asked]}, but JAX shows {shown} only. "
            f"Fix: check its driver and that coala_jax[{asked}] is installed, or unset COALA_DEVICE"
        )


def describe(devices: Sequence[jax.Device]) -> str:
    """The devices as messages name them: `8 x cpu`, `4 x TPU v4 in 2 processes`."""
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{len(devices)} x {devices[0].device_kind}{processes}"
