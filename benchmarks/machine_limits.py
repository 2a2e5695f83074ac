"""The machine's rate of matrix products, in JAX and in PyTorch.

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
_PIECE_S = 0.1  # what takes less is repeated until it takes so long
_PIECES = 5


def product_rates(dtype: str) -> dict[str, float]:
    """GFLOP/s of the best matrix product, by library; float32 on a GPU with TF32 allowed."""
    shapes = _CPU_SHAPES if jax.default_backend() == "cpu" else _GPU_SHAPES
    return {
        "jax": max(_jax_product_rate(shape, dtype) for shape in shapes),
        "pytorch": max(_pytorch_product_rate(shape, dtype) for shape in shapes),
    }


def best_seconds(run: Callable[[int], Any]) -> float:
    """The least time of one of the `count` things that `run(count)` does and waits for."""
    run(1)
    began = time.perf_counter()
    run(1)
    count = max(1, round(_PIECE_S / (time.perf_counter() - began)))
    seconds = []
    for _ in range(_PIECES):
        began = time.perf_counter()
        run(count)
        seconds.append((time.perf_counter() - began) / count)
    return min(seconds)


def _jax_product_rate(shape: tuple[int, int, int], dtype: str) -> float:
    rows, terms, columns = shape
    a, b = (
        jax.random.normal(jax.random.key(0), of_factor, dtype)
        for of_factor in ((rows, terms), (terms, columns))
    )
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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    like = {"device": device, "dtype": getattr(torch, dtype)}
    a, b = torch.randn(rows, terms, **like), torch.randn(terms, columns, **like)
    product = torch.empty(rows, columns, **like)

    def run(count: int) -> None:
        for _ in range(count):
            torch.matmul(a, b, out=product)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * rows * terms * columns / best_seconds(run) / 1e9
