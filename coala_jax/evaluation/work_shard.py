"""How several processes share the work of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

Rows = Shaped[np.ndarray, "_ ..."]


@dataclass(frozen=True)
class WorkShard:
    """The share of one of `count` processes, and how it gets the rows of the others.

    Every process must make the same calls of `all_gather` in the same order.

    Attributes:
        index: of this process, from 0.
        all_gather: takes the rows of this process, any number, and returns those of all processes
            in the order of the processes.
    """

    index: int = 0
    count: int = 1
    all_gather: Callable[[Rows], Rows] = lambda rows: rows

    def of(self, items: int) -> slice:
        """This process's share of the items; may be empty where processes outnumber items."""
        return slice(items * self.index // self.count, items * (self.index + 1) // self.count)

    def map_rows(self, function: Callable[[Rows], Rows], own_rows: Rows) -> Rows:
        """The function's result for the rows of all processes; it is never given zero rows."""
        rows = own_rows if len(own_rows) else np.zeros((1, *own_rows.shape[1:]), own_rows.dtype)
        return self.all_gather(function(rows)[: len(own_rows)])


WHOLE = WorkShard()  # one process does everything
