"""Work that goes on beside: the next item is made, and the last one put away, in other threads.

::

    reading      │ band 1 │ band 2 │ band 3 │
    computing             │ band 1 │ band 2 │ band 3 │
    writing                        │ band 1 │ band 2 │ band 3 │

Files, decompression and NumPy leave Python's lock while they work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # it is not the end


def one_behind(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """``map(work, items)``, with the work done in another thread while the next item is made.

    A result comes when its work is done; an error of the work is raised in its place.
    """
    with ThreadPoolExecutor(1) as pool:
        working: list[Future[Result]] = []
        for item in items:
            # Nothing is begun after work that failed.
            done = [future.result() for future in working]
            working = [pool.submit(work, item)]
            yield from done
        yield from (future.result() for future in working)
