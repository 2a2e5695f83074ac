"""What the machine can do: the rate of matrix products and of memory, in JAX and in PyTorch.

The faster of the two is the limit that a training step is held against.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from benchmarks.result import cores

# Rows, terms of a sum, columns. On a CPU, products of the step's own kind (the pixels of two images
# times a kernel) are among the fastest; a GPU needs large ones.
_CPU_SHAPES = ((2048, 2048, 2048), (1152, 2048, 128), (4608, 2048, 128))
_GPU_SHAPES = ((8192, 8192, 8192), (73_728, 2048, 128))
_STREAM_VALUES = 2**25  # 128 MiB: beyond any cache
_PIECE_S = 0.1  # a timing shorter than this is repeated within the piece
_PIECES = 5


def product_rates(dtype: str) -> dict[str, float]:
    """GFLOP/s of the best matrix product, by library; float32 on a GPU with TF32 allowed."""
    shapes = _CPU_SHAPES if jax.default_backend() == "cpu" else _GPU_SHAPES
    return {
        "jax": max(_jax_product_rate(shape, dtype) for shape in shapes),
        "pytorch": max(_pytorch_product_rate(shape, dtype) for shape in shapes),
    }


def memory_rates() -> dict[str, float]:
    """GB/s, read and written, of x + 1 in the memory of x, or PyTorch's into other memory.

    Into memory that the system has yet to give, it would be the rate of page faults on a CPU.
    """
    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    held = add(jnp.ones(_STREAM_VALUES))

    def in_jax(count: int) -> None:
        nonlocal held
        for _ in range(count):
            held = add(held)
        held.block_until_ready()

    x = torch.ones(_STREAM_VALUES, device=_pytorch_device())
    y = torch.ones_like(x)

    def in_pytorch(count: int) -> None:
        for _ in range(count):
            torch.add(x, 1, out=y)
        _wait_for_pytorch()

    gigabytes = 2 * 4 * _STREAM_VALUES / 1e9
    return {
        "jax": gigabytes / best_seconds(in_jax),
        "pytorch": gigabytes / best_seconds(in_pytorch),
    }


def best_seconds(run: Callable[[int], Any]) -> float:
    """The least time of one of the `count` things that `run(count)` does and waits for."""
    run(1)
    began = time.perf_counter()
    run(1)
    once = time.perf_counter() - began
    count = max(1, round(_PIECE_S / once))
    seconds = []
    for _ in range(_PIECES):
        began = time.perf_counter()
        run(count)
        seconds.append((time.perf_counter() - began) / count)
    return min(seconds)


def _jax_product_rate(shape: tuple[int, int, int], dtype: str) -> float:
    rows, terms, columns = shape
    key = jax.random.key(0)
    a = jax.random.normal(key, (rows, terms), dtype)
    b = jax.random.normal(key, (terms, columns), dtype)
    multiply = jax.jit(jnp.matmul)

    def run(count: int) -> None:
        for _ in range(count):
            product = multiply(a, b)
        product.block_until_ready()

    return 2 * rows * terms * columns / best_seconds(run) / 1e9


def _pytorch_product_rate(shape: tuple[int, int, int], dtype: str) -> float:
    rows, terms, columns = shape
    torch.set_num_threads(cores())
    torch.backends.cuda.matmul.allow_tf32 = True
    like = {"device": _pytorch_device(), "dtype": getattr(torch, dtype)}
    a, b = torch.randn(rows, terms, **like), torch.randn(terms, columns, **like)
    product = torch.empty(rows, columns, **like)

    def run(count: int) -> None:
        for _ in range(count):
            torch.matmul(a, b, out=product)
        _wait_for_pytorch()

    return 2 * rows * terms * columns / best_seconds(run) / 1e9


def _pytorch_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _wait_for_pytorch() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
