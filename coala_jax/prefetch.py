"""Results in order, a few of them computed ahead of use."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

T, U = TypeVar("T"), TypeVar("U")

_POLL_SECONDS = 0.1  # how soon a thread with a full queue sees that nobody reads it any more


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


def prefetch_streams(
    work: Callable[[T], Iterator[U]], items: Iterable[T], threads: int, depth: int
) -> Generator[Iterator[U], None, None]:
    """What `work` yields for each item, one iterator an item, in the order of the items.

    `threads` items are worked on at a time, and as many more may be done; of each, at most `depth`
    results wait. An iterator must be read to its end before the next one is asked for; what `work`
    raises comes out of it.
    """
    stopped = threading.Event()

    def produce(item: T, results: queue.Queue) -> None:
        def put(result: tuple[U | None, BaseException | None]) -> bool:
            while not stopped.is_set():
                try:
                    results.put(result, timeout=_POLL_SECONDS)
                    return True
                except queue.Full:
                    continue
            return False

        try:
            for result in work(item):
                if not put((result, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    def read(results: queue.Queue) -> Iterator[U]:
        while True:
            result, error = results.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield result

    with ThreadPoolExecutor(threads, "sound") as pool:
        waiting: deque[queue.Queue] = deque()
        try:
            for item in items:
                waiting.append(queue.Queue(depth))
                pool.submit(produce, item, waiting[-1])
                if len(waiting) > 2 * threads:
                    yield read(waiting.popleft())
            while waiting:
                yield read(waiting.popleft())
        finally:
            stopped.set()
