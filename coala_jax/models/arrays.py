"""The arrays of a pretrained model: safetensors files, whose headers are checked before they are
read."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from coala_jax import storage
from coala_jax.models.description import DESCRIPTION, ModelError

_MOST_HEADER_BYTES = 2**22  # a hundred bytes an array
_MOST_FILE_BYTES = 2**32
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32"}
_BYTES = {"float64": 8, "float32": 4, "float16": 2, "int64": 8, "int32": 4}

Header = dict[str, str]  # name -> type and shape, as float32[2, 3]


def describe(dtype: str | None, shape: tuple[int, ...] | list[int]) -> str:
    """An array's type and shape as messages have them."""
    return f"{dtype}{list(shape)}"


def read_header(file: storage.PathLike) -> Header:
    """Type and shape of the arrays of a file, in which they are all there.

    Raises:
        ModelError: the file is missing, too large or no safetensors, or its size is not that of the
            arrays that it names.
    """
    file = storage.path(file)
    if not file.is_file():
        raise ModelError(
            f"{file}: missing, though {DESCRIPTION} names it. Fix: copy all files of the model"
        )
    size = file.stat().length
    try:
        if size > _MOST_FILE_BYTES:
            raise ValueError(f"{size / 1e9:.1f} GB, larger than any model")
        with storage.open_binary(file) as content:
            length = int.from_bytes(content.read(8), "little")
            if not 2 <= length <= min(size - 8, _MOST_HEADER_BYTES):
                raise ValueError(f"its header claims {length:,} bytes")
            entries = json.loads(content.read(length))
        entries.pop("__metadata__", None)
        arrays, end = {}, 0
        for name, entry in entries.items():
            dtype, shape = _array(entry)
            arrays[name] = describe(dtype, shape)
            end += _BYTES[dtype] * math.prod(shape)
        if 8 + length + end != size:
            raise ValueError(f"its arrays take {8 + length + end:,} bytes, the file has {size:,}")
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise ModelError(
            f"{file}: damaged, or no safetensors ({e!s:.200}). Fix: copy all files of the model "
            "again"
        ) from e
    return arrays


def _array(entry: Mapping[str, Any]) -> tuple[str, list[int]]:
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > 8:
        raise ValueError(f"a shape is {shape!r:.50}")
    if any(type(length) is not int or not 0 <= length < 2**40 for length in shape):
        raise ValueError(f"a shape is {shape!r:.50}")
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"arrays of {entry['dtype']!r:.20}")
    return _DTYPES[entry["dtype"]], shape


def read_arrays(file: storage.PathLike, digest: str) -> dict[str, np.ndarray]:
    """The arrays of a file whose header was checked, once its digest is.

    Raises:
        ModelError: the digest is another one, or a value is NaN or infinite.
    """
    content = storage.read_bytes(file)
    if storage.sha256(content) != digest:
        raise ModelError(
            f"{file}: damaged: its digest is not the one in {DESCRIPTION}. Fix: copy all files of "
            "the model again"
        )
    try:
        arrays = safetensors.numpy.load(content)
    except Exception as error:  # its own kind, for offsets that overlap or leave gaps
        raise ModelError(f"{file}: no safetensors ({error!s:.200}). Fix: copy it again") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"{file}: {name} holds values that are not finite (NaN or infinite). Fix: use a "
                "model of a training that did not diverge"
            )
        if re.search(r"batch_stats\..*\.var$", name) and values.size and values.min() < 0:
            raise ModelError(f"{file}: {name} is a negative variance. Fix: copy the model again")
    return arrays


def check_header(
    file: storage.PathLike, found: Header, wanted: Mapping[str, str], whole: str
) -> None:
    """Raises ModelError for the first array that is missing, unknown or of another shape.

    whole: the files that must be from one model, for the message.
    """
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ModelError(
                f"{file}: {name:.200} is {found.get(name, 'missing')} where the model of "
                f"{DESCRIPTION} has {wanted.get(name, 'none')}. Fix: copy {whole} from one model"
            )
