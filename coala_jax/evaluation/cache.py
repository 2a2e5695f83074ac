"""Results kept on disk, each under a name made of all that it follows from, so that none is stale.

What counts beside the data: the source that computes, the device, its precision, the libraries.
"""

import ast
import functools
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

import jax
import numpy as np

from coala_jax import storage

_PACKAGE = __name__.partition(".")[0]
_LIBRARIES = (
    *("numpy", "scipy", "scikit-learn", "jax", "jaxlib", "flax"),
    *("soundfile", "soxr", "librosa"),
)
_version = functools.cache(metadata.version)


def key(content: Any, *modules: str) -> str:
    """SHA-256 in hex of anything that JSON can hold and of all else that shapes a result.

    modules: those that compute it.
    """
    device = jax.devices()[0]
    computed_by = {
        "source": source_digests(modules),
        "device": [device.platform, device.device_kind],
        "x64": jax.config.jax_enable_x64,
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    return storage.fingerprint([content, computed_by])


def cached(
    folder: storage.PathLike, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays that are kept under the key, or what `compute` returns, which is then kept."""
    file = storage.path(folder) / f"{key}.npz"
    if (arrays := storage.read_arrays(file)) is None:
        arrays = compute()
        storage.write_arrays(file, arrays)
    return arrays


@functools.cache
def source_digests(modules: tuple[str, ...], root: Traversable | None = None) -> dict[str, str]:
    """SHA-256 of the source of the modules, and of those of the package that they import, deep.

    root: where the package's source lies, if that is not the one at work.
    """
    root = root or resources.files(_PACKAGE)
    waiting, digests = list(modules), {}
    while waiting:
        name = waiting.pop()
        package, *parts = name.split(".")
        if package != _PACKAGE or not parts or name in digests:
            continue
        for end in ([f"{parts[-1]}.py"], [parts[-1], "__init__.py"]):
            file = root.joinpath(*parts[:-1], *end)
            if file.is_file():  # else the name is one in a module
                source = file.read_bytes()
                digests[name] = storage.sha256(source)
                waiting += _imports(source)
    return digests


def _imports(source: bytes) -> Iterator[str]:
    """All that may be the name of an imported module, also where a function imports it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
