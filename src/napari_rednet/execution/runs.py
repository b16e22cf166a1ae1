"""Parts restored one after another, or side by side on several devices."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_rednet.execution.job import Job, plane_of, readable
from napari_rednet.execution.outputs import Output
from napari_rednet.execution.parts import Part
from napari_rednet.execution.repairs import Repairs

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings

# Chunks of the source that are kept for the next band.
_READ_BYTES = 2**27

Numbered = tuple[int, Part]


class PartRun:
    """Restores one part after another, on one device.

    Parameters
    ----------
    job : Job
        What the parts belong to.
    array, mask : array
        Its source, and which pixels are missing, if any.
    settings : sequence of ChannelSettings
        How its channels are presented.
    output : Output
        Where results go.
    device : str or None
        The device; None for that of the job.
    repairs : Repairs, optional
        Counts what is repaired.
    """

    def __init__(
        self,
        job: Job,
        array: Any,
        mask: Any,
        settings: Sequence[ChannelSettings],
        output: Output,
        device: str | None,
        repairs: Repairs | None = None,
    ) -> None:
        self._repairs = repairs
        self._job, self._mask, self._settings, self._output = job, mask, settings, output
        self._target = output.target()
        self._source = readable(array, _READ_BYTES)
        self._restorer = job.make_restorer(device=device)

    def restore(self, number: int, part: Part) -> Iterator[int]:
        """Restore a part unless it is finished, yielding how many of its pixels are done."""
        from napari_rednet.engine.planes import rows_of

        total = self._pixels(part)
        if self._output.has(number, part):
            yield total
            return
        share = total // max(1, len(part.planes))
        for index, keys in enumerate(part.planes):
            plane = plane_of(
                self._job,
                keys,
                self._source,
                self._target,
                self._settings,
                self._mask,
                self._repairs,
            )
            segment = rows_of(plane, part.rows)
            size = math.prod(segment.shape)
            for pixels in self._restorer.restore(segment):
                yield index * share + share * pixels // size
        self._output.finish(number, self._target)

    def _pixels(self, part: Part) -> int:
        width = self._job.layout.enlarged(self._job.scale).plane_shape[1]
        return sum(map(len, part.planes)) * part.rows.kept * width


def one_by_one(runs: Sequence[PartRun], parts: Sequence[Numbered]) -> Iterator[int]:
    """Restore all parts with the first run, yielding how many pixels are done."""
    before = 0
    for part in parts:
        pixels = 0
        for pixels in runs[0].restore(*part):
            yield before + pixels
        before += pixels


def side_by_side(runs: Sequence[PartRun], parts: Sequence[Numbered]) -> Iterator[int]:
    """Restore all parts, each with the run that is free, yielding how many pixels are done."""
    team = _Team(runs, parts)
    done: dict[int, int] = {}
    with closing(team):
        for number, pixels in team.reports():
            done[number] = pixels
            yield sum(done.values())


class _Team:
    """A thread for each run; an error of one ends all."""

    def __init__(self, runs: Sequence[PartRun], parts: Sequence[Numbered]) -> None:
        self._waiting: queue.SimpleQueue[Numbered] = queue.SimpleQueue()
        for part in parts:
            self._waiting.put(part)
        self._reports: queue.SimpleQueue[tuple[int, int] | Exception | None]
        self._reports = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(run,)) for run in runs]

    def reports(self) -> Iterator[tuple[int, int]]:
        """Numbers of parts, and how many of their pixels are done."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        while working:
            report = self._reports.get()
            if isinstance(report, Exception):
                raise report
            if report is None:
                working -= 1
            else:
                yield report

    def close(self) -> None:
        """Let all threads end after the band that they are at."""
        self._is_closed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work(self, run: PartRun) -> None:
        try:
            while True:
                number, part = self._waiting.get_nowait()
                for pixels in run.restore(number, part):
                    if self._is_closed.is_set():
                        return
                    self._reports.put((number, pixels))
        except queue.Empty:
            self._reports.put(None)
        except Exception as error:  # noqa: BLE001 - it is raised where the job was asked for
            self._reports.put(error)
