"""Score matrices that are too large to hold in memory."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int

# Cosines are rounded to steps far below the precision of float32 embeddings. The embeddings of a
# collapsed encoder must tie, but a matrix product may give equal rows that differ in the last bit.
COSINE_STEPS = 1e12  # from 0 to 1


@runtime_checkable
class Scores(Protocol):
    """A matrix of scores that is indexed by rows: an array, or `Products`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def T(self) -> "Scores": ...

    def __getitem__(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row column"]: ...


class Products:
    """The product of every row of `a` with every row of `b`, computed when indexed."""

    def __init__(
        self,
        a: Float64[np.ndarray, "row term"],
        b: Float64[np.ndarray, "column term"],
        in_steps: bool = False,
    ) -> None:
        """in_steps: round products to whole numbers."""
        self._a, self._b, self._in_steps = a, b, in_steps
        self.shape = (len(a), len(b))

    @property
    def T(self) -> "Products":
        return Products(self._b, self._a, self._in_steps)

    def __getitem__(self, rows: slice | Int[np.ndarray, " row"]) -> Float64[np.ndarray, "_ column"]:
        products = self._a[rows] @ self._b.T
        return np.rint(products, out=products) if self._in_steps else products


def cosine(
    a: Float[np.ndarray, "row dimension"], b: Float[np.ndarray, "column dimension"]
) -> Float64[np.ndarray, "row column"]:
    """Cosine of every row of ``a`` with every row of ``b``, rounded to 12 digits; 0 of zeros."""
    return Products(unit(a) * COSINE_STEPS, unit(b), in_steps=True)[:] / COSINE_STEPS


def unit(rows: Float[np.ndarray, "row dimension"]) -> Float64[np.ndarray, "row dimension"]:
    """The rows scaled to length 1; rows of zeros stay."""
    # Divided by the largest value first, so that no square over- or underflows.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore"):  # infinities become NaN, an error as a score
        rows = np.divide(rows, np.where(largest > 0, largest, 1), dtype=np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(length > 0, length, 1)
    return rows
