"""Results cached on disk under a digest of all that they depend on, so that none is ever stale.

Beside the data: the source code that computes them, the device, its precision, the libraries.
"""

import functools
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import jax
import numpy as np

from coala_jax import storage

_LIBRARIES = (
    *("numpy", "scipy", "scikit-learn", "jax", "jaxlib", "flax", "optax"),
    *("soundfile", "soxr", "librosa"),
)
_version = functools.cache(metadata.version)


def key(content: Any, *modules: str) -> str:
    """SHA-256 in hex of JSON-serialisable content and of all else that a result depends on.

    modules: the names of those that compute it.
    """
    device = jax.devices()[0]
    computed_by = {
        "source": storage.source_digests(modules),
        "device": [device.platform, device.device_kind],
        "x64": jax.config.jax_enable_x64,
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    return storage.fingerprint([content, computed_by])


def cached(
    folder: storage.PathLike, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays cached under the key, or those of `compute`, which are then cached."""
    file = storage.path(folder) / f"{key}.npz"
    if (arrays := storage.read_arrays(file)) is None:
        arrays = compute()
        storage.write_arrays(file, arrays)
    return arrays
