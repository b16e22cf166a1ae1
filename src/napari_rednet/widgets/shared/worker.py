"""Runs of a restoration in napari's worker threads: progress, cancelling, errors."""

from __future__ import annotations

import atexit
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from napari.qt.threading import create_worker, thread_worker
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QThreadPool
from superqt.utils import GeneratorWorker, WorkerBase

from napari_rednet.errors import RednetError

Steps = Generator[Any, None, Any]
"""Work that returns its result; it yields (pixels done, pixels in all), or what others show."""
# Signals, and what is called with them.
_Slots = list[tuple[Any, Callable[..., None]]]
PER_MILLE = 1000
"""Steps of progress bars, for work that is not counted in pixels."""
# Often enough to look smooth and to cancel at once, too rarely to keep the window busy.
_SECONDS_BETWEEN_REPORTS = 0.05
# Qt allows as many as there are processors. One that rests, or waits for a device, would keep all
# others from beginning where these are few; that only one computes for long is run_queue's to see.
_LEAST_THREADS = 16


# napari does it when it is quit, but scripts may just end, and Qt's objects with them.
atexit.register(WorkerBase.await_workers)


class StepsWorker(GeneratorWorker):
    """A worker that frees what its generator holds (device memory, files) as soon as it ends.

    napari's own subclass is not used: it means to notify of errors and warnings too, but whether
    it does depends on the Qt binding, so that they would be shown never or twice.
    """

    def work(self) -> Any:
        """Iterate; called by Qt in the worker's thread."""
        try:
            return super().work()
        finally:
            # A cancelled worker only stops iterating and would keep everything alive.
            self._gen.close()


def notify_of_error(error: Exception) -> None:
    """Show an error as napari does."""
    notification_manager.receive_error(type(error), error, error.__traceback__)


def start_worker(
    make_steps: Callable[[], Steps],
    description: str | None,
    *,
    on_result: Callable[[Any], None],
    on_end: Callable[[], None],
    on_progress: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] = notify_of_error,
) -> StepsWorker:
    """Run steps in a thread, with a bar in napari's activity dock.

    Errors become napari notifications. `quit` of the worker that is returned cancels it.

    Parameters
    ----------
    make_steps : callable
        Called in the thread, so that argument checks and slow imports happen there too.
    description : str or None
        What the activity dock calls the run. None keeps it, and its warnings, to itself.
    on_progress, on_result, on_end : callable
        Called in the window's thread: with (done, total), or whatever else is yielded; with the
        result, unless it failed or was cancelled; and in all cases after the last of them.
    on_error : callable
        Called with what went wrong, instead of a notification.
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
    """Connect signals of a worker, and let go of whoever listens once it has ended.

    napari keeps every worker of a session in its list of tasks, and would keep closed windows with
    it.
    """

    def let_go() -> None:
        for signal, slot in slots:
            signal.disconnect(slot)
        slots.clear()

    for signal, slot in slots:
        signal.connect(slot)
    worker.finished.connect(let_go)


def compute_in_background(compute: Callable[[], Any], on_result: Callable[[Any], None]) -> None:
    """Call a function that takes seconds in a thread, and another with its result in this one."""
    worker = create_worker(compute, _start_thread=False, _ignore_errors=True)
    slots: _Slots = [(worker.returned, on_result), (worker.errored, notify_of_error)]
    _start(worker, slots)


# Errors are shown as notifications; ignore_errors keeps them from being raised as well.
@thread_worker(start_thread=False, worker_class=StepsWorker, ignore_errors=True)
def _run(make_steps: Callable[[], Steps]) -> Steps:
    with _without_runtime_errors(), closing(make_steps()) as steps:
        return (yield from _throttled(steps))


@contextmanager
def _without_runtime_errors() -> Iterator[None]:
    """Generator workers swallow `RuntimeError`, which torch raises, and never end after one."""
    try:
        yield
    except RuntimeError as error:
        raise RednetError(f"the computation failed: {error}") from error


def _throttled(steps: Steps) -> Steps:
    reported = -math.inf
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        is_count = isinstance(progress, tuple)  # the only thing that comes too often
        if not is_count or time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            yield progress


def _show_in_activity_dock(bar: Any, progress: tuple[int, int]) -> None:
    done, total = progress
    if not total:
        return
    bar.total = 100
    bar.update(100 * done // total - bar.n)


def _notify_of_warning(shown: tuple[Any, ...]) -> None:
    notification_manager.receive_warning(*shown)
