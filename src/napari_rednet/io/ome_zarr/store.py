"""A zarr folder that can be closed; imports zarr, so import this only where a file is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

_LONGEST_WAIT = 60.0  # seconds


class ClosableStore(LocalStore):
    """A zarr folder that refuses writes after `shut`.

    After an error or an interruption, zarr goes on writing the other chunks in its own threads, and
    would recreate a folder that has just been removed.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._is_shut = False
        self._writing = 0
        self._changed = threading.Condition()

    def shut(self) -> None:
        """Refuse further writes, and wait for those in progress."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._writing, _LONGEST_WAIT)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain folder: other processes finish the writes that they were asked for."""
        return LocalStore, (self.root,)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        with self._changed:
            if self._is_shut:
                raise OSError(None, "the work has ended")
            self._writing += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    async def set(self, key: str, value: Any) -> None:  # noqa: D102 (of zarr's stores)
        with self._admitted():
            await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:  # noqa: D102
        with self._admitted():
            await super().set_if_not_exists(key, value)

    def set_sync(self, key: str, value: Any) -> None:  # noqa: D102
        with self._admitted():
            super().set_sync(key, value)
