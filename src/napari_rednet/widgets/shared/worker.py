"""Runs in napari's worker threads: one works, the others queue; progress, cancelling, errors."""

from __future__ import annotations

import atexit
import math
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from napari.qt.threading import create_worker, thread_worker
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QThreadPool
from superqt.utils import GeneratorWorker, WorkerBase

from napari_rednet.errors import RednetError

WorkerSteps = Generator[Any, None, Any]
"""Work that yields (pixels done, pixels in all), or partial results, and returns its result."""
# Signals and their slots.
_Slots = list[tuple[Any, Callable[..., None]]]
PER_MILLE = 1000
"""Steps of progress bars, for work that is not counted in pixels."""
# Often enough to look smooth and to cancel at once, too rarely to keep the window busy.
_SECONDS_BETWEEN_REPORTS = 0.05
# Qt allows as many threads as processors. Where these are few, workers that rest or wait for a
# device would block all others. The queue below ensures that only one computes for long.
_LEAST_THREADS = 16


# napari does this when it is quit, but scripts may just end, while workers use Qt's objects.
atexit.register(WorkerBase.await_workers)


class StepsWorker(GeneratorWorker):
    """Worker that closes its generator when it ends, which frees device memory and files.

    napari's own subclass is not used: whether it notifies of errors and warnings depends on the Qt
    binding, so that they would be shown never or twice.
    """

    def work(self) -> Any:
        """Iterate; called by Qt in the worker's thread."""
        try:
            return super().work()
        finally:
            # A cancelled worker only stops iterating and would keep everything alive.
            self._gen.close()


def notify_of_error(error: Exception) -> None:
    """Show an error as a napari notification.

    napari keeps notifications for the session. The lines that led to the error stay; their
    variables, among them the window and its images, are let go.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    notification_manager.receive_error(type(error), error, error.__traceback__)


def start_worker(
    make_steps: Callable[[], WorkerSteps],
    description: str | None,
    *,
    on_result: Callable[[Any], None],
    on_end: Callable[[], None],
    on_progress: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] = notify_of_error,
) -> StepsWorker:
    """Run steps in a thread; `quit` of the returned worker cancels them.

    `make_steps` is called in the thread, as argument checks and imports may be slow. The activity
    dock shows a bar with the description; if it is None, neither the bar nor warnings are shown.
    The other callbacks run in the GUI thread: `on_progress` with what is yielded, `on_result` with
    the result, unless the run failed or was cancelled, `on_error` with an exception (a
    notification by default), and `on_end` after them in all cases.
    """
    shown = {"desc": description} if description else False
    worker: StepsWorker = _run(make_steps, _progress=shown)
    slots: _Slots = [
        (worker.returned, on_result),
        (worker.errored, on_error),
        (worker.finished, on_end),
    ]
    if on_progress is not None:
        slots.append((worker.yielded, on_progress))
    if description is not None:
        slots.append((worker.yielded, partial(_show_in_activity_dock, worker.pbar)))
        slots.append((worker.warned, _notify_of_warning))
    _start(worker, slots)
    return worker


def _start(worker: WorkerBase, slots: _Slots) -> None:
    _connect_until_the_end(worker, slots)
    pool = QThreadPool.globalInstance()
    pool.setMaxThreadCount(max(_LEAST_THREADS, pool.maxThreadCount()))
    worker.start()


def _connect_until_the_end(worker: WorkerBase, slots: _Slots) -> None:
    """Connect signals of a worker, and disconnect them when it has ended.

    napari keeps all workers of a session, which through their signals would keep closed windows.
    """

    def let_go() -> None:
        for signal, slot in slots:
            signal.disconnect(slot)
        slots.clear()

    for signal, slot in slots:
        signal.connect(slot)
    worker.finished.connect(let_go)


def compute_in_background(compute: Callable[[], Any], on_result: Callable[[Any], None]) -> None:
    """Call a slow function in a thread, and `on_result` with its result in the GUI thread."""
    worker = create_worker(compute, _start_thread=False, _ignore_errors=True)
    slots: _Slots = [(worker.returned, on_result), (worker.errored, notify_of_error)]
    _start(worker, slots)


# Errors are shown as notifications; ignore_errors keeps them from being raised as well.
@thread_worker(start_thread=False, worker_class=StepsWorker, ignore_errors=True)
def _run(make_steps: Callable[[], WorkerSteps]) -> WorkerSteps:
    with _without_runtime_errors(), closing(make_steps()) as steps:
        return (yield from _throttled(steps))


@contextmanager
def _without_runtime_errors() -> Iterator[None]:
    """Convert `RuntimeError`, as torch raises; generator workers swallow it and never end."""
    try:
        yield
    except RuntimeError as error:
        raise RednetError(f"the computation failed: {error}") from error


def _throttled(steps: WorkerSteps) -> WorkerSteps:
    reported = -math.inf
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        is_count = isinstance(progress, tuple)  # only counts come too often
        if not is_count:
            yield progress
        elif time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            yield progress


def _show_in_activity_dock(bar: Any, progress: Any) -> None:
    if not isinstance(progress, tuple):
        return
    done, total = progress
    if not total:
        return
    bar.total = 100
    bar.update(100 * done // total - bar.n)


def _notify_of_warning(shown: tuple[Any, ...]) -> None:
    notification_manager.receive_warning(*shown)


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
    make_steps: Callable[[], WorkerSteps],
    description: str,
    *,
    is_open: Callable[[], bool],
    on_wait: Callable[[str], None],
    on_progress: Callable[[Any], None],
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
