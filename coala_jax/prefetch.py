"""Results in order, a few of them computed ahead of use."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T, U = TypeVar("T"), TypeVar("U")


def prefetch(
    pool: Executor, work: Callable[[T], U], items: Iterable[T], ahead: int
) -> Generator[U, None, None]:
    """The results of `work` in the order of the items, at most `ahead` of them ahead of use.

    Where the iterator is closed early, or an item fails, what has not started is cancelled.
    """
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
