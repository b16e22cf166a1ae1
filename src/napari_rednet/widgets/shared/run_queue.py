"""Queue of the runs of all windows: one works, the others wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_rednet.widgets.shared.worker import Steps, StepsWorker, start_worker


class QueuedRun:
    """A run that begins when those before it have ended, and can be cancelled before.

    `begin` starts the worker, given the callback for its end. `is_open` is False once the window is
    closed; the run then gives up its turn. `on_wait` is called with the description of the run to
    wait for, which `waits_for` holds until this one begins. `on_end` is called when the run has
    ended, or was cancelled while it waited.
    """

    def __init__(
        self,
        begin: Callable[[Callable[[], None]], StepsWorker],
        description: str,
        *,
        is_open: Callable[[], bool],
        on_wait: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self.description = description
        self.abort_requested = False
        self.waits_for = ""
        self._begin, self._is_open = begin, is_open
        self._on_wait, self._on_end = on_wait, on_end
        self._worker: StepsWorker | None = None

    def quit(self) -> None:
        """Cancel the run."""
        if self.abort_requested:
            return
        self.abort_requested = True
        if self._worker is not None:
            self._worker.quit()
        else:
            self._end()

    def rest(self) -> None:
        """Let the next run begin, since this one pauses."""
        _queue.leave(self)

    def go_on(self) -> None:
        """Resume; runs that have not begun wait again."""
        _queue.return_to_front(self)

    def take_turn(self) -> None:
        """Begin, unless the run has begun already."""
        if self._worker is not None:
            return
        self.waits_for = ""
        if self._is_open():
            self._worker = self._begin(self._end)
        else:
            _queue.leave(self)

    def wait_for(self, other: QueuedRun) -> None:
        """Tell the window which run it waits for, unless this one has begun."""
        if self._worker is not None:
            return
        self.waits_for = other.description
        if self._is_open():
            self._on_wait(self.waits_for)

    def _end(self) -> None:
        _queue.leave(self)
        self._on_end()


class _RunQueue:
    """The runs in their order; the first one works."""

    def __init__(self) -> None:
        self._runs: list[QueuedRun] = []

    @property
    def is_busy(self) -> bool:
        return bool(self._runs)

    def join(self, run: QueuedRun) -> None:
        self._runs.append(run)
        self._go_on()

    def return_to_front(self, run: QueuedRun) -> None:
        if run not in self._runs:
            self._runs.insert(0, run)
            self._go_on()

    def leave(self, run: QueuedRun) -> None:
        if run in self._runs:
            self._runs.remove(run)
            self._go_on()

    def _go_on(self) -> None:
        if not self._runs:
            return
        first = self._runs[0]
        first.take_turn()
        # If its window is closed, it has left the queue, which has called this again.
        if self._runs and self._runs[0] is first:
            for other in self._runs[1:]:
                other.wait_for(first)


_queue = _RunQueue()


def is_busy() -> bool:
    """True if there is a run, of any window, that works or waits."""
    return _queue.is_busy


def queue_run(
    make_steps: Callable[[], Steps],
    description: str,
    *,
    is_open: Callable[[], bool],
    on_wait: Callable[[str], None],
    on_progress: Callable[[tuple[int, int]], None],
    on_result: Callable[[Any], None],
    on_end: Callable[[], None],
) -> QueuedRun:
    """Queue a run; the arguments are those of `QueuedRun` and `start_worker`."""

    def begin(on_end: Callable[[], None]) -> StepsWorker:
        return start_worker(
            make_steps, description, on_progress=on_progress, on_result=on_result, on_end=on_end
        )

    run = QueuedRun(begin, description, is_open=is_open, on_wait=on_wait, on_end=on_end)
    _queue.join(run)
    return run
