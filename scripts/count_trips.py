"""Count through how much of the package a restoration passes: modules, functions, frames.

::

    xvfb-run python scripts/count_trips.py

Prints a line for each trip. The windows are drawn on a screen, real or virtual; each is used twice,
the first time to import what it needs.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self

import numpy as np
import tifffile

import napari_rednet as nr
from napari_rednet.engine import streaming

_ROOT = str(Path(nr.__file__).resolve().parent)
_CONVOLVE = streaming.StreamableNetwork.convolve.__code__


class Trip:
    """What is called between `__enter__` and `__exit__`, in all threads."""

    going_on: ClassVar[Trip | None] = None

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.functions: set[tuple[str, str]] = set()
        self.frames = 0
        self._depth_of_first: int | None = None

    def __enter__(self) -> Self:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        Trip.going_on = self
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        Trip.going_on = None

    def follow(self) -> None:
        """Count what this thread does, which is not one of Python's."""
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(_ROOT) or frame.f_code.co_name == "<module>":
            return
        self.modules.add(file)
        self.functions.add((file, frame.f_code.co_qualname))
        if self._depth_of_first is None and frame.f_code is _CONVOLVE:
            self._depth_of_first = self.frames = _depth(frame.f_back)


def _depth(frame: FrameType | None) -> int:
    """Frames of the package from here to the verb; newer Pythons have none for comprehensions."""
    depth = 0
    while frame is not None:
        code = frame.f_code
        depth += code.co_filename.startswith(_ROOT) and code.co_name != "<listcomp>"
        frame = frame.f_back
    return depth


def count(name: str, work: Callable[[], object]) -> None:
    """Do some work twice, so that nothing is imported any more, and print its trip."""
    work()
    with Trip() as trip:
        work()
    sys.stdout.write(
        f"{name}: {len(trip.modules)} modules, {len(trip.functions)} functions, "
        f"{trip.frames} frames above the first convolution\n"
    )


def main() -> None:
    """Count the trips."""
    from typer.testing import CliRunner

    from napari_rednet.cli import app

    image = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    count("nr.denoise", lambda: nr.denoise(image))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.tif"), Path(folder, "out.tif")
        tifffile.imwrite(source, image)
        words = ["denoise", str(source), str(target), "--force", "--quiet"]
        count("file to file", lambda: CliRunner().invoke(app, words, catch_exceptions=False))
    count("fine-tune", lambda: nr.fine_tune(image[None], image[None], steps=2, batch=1, patch=32))
    _count_window(image)


def _count_window(image: np.ndarray) -> None:
    """Run and preview, in a window of napari."""
    import napari
    from qtpy.QtTest import QTest
    from superqt.utils import WorkerBase

    work = WorkerBase.run

    def followed(worker: WorkerBase) -> None:
        if Trip.going_on is not None:
            Trip.going_on.follow()
        work(worker)

    WorkerBase.run = followed
    viewer = napari.Viewer()

    def wait_until(is_done: Callable[[], bool]) -> None:
        while not is_done():
            QTest.qWait(20)

    def run() -> None:
        before = len(viewer.layers)
        widget.run.native.click()
        wait_until(lambda: len(viewer.layers) > before and not widget.is_running)
        viewer.layers.pop()

    def preview() -> None:
        widget.preview.toggle.native.click()
        wait_until(lambda: any("preview" in layer.name for layer in viewer.layers))
        wait_until(lambda: not widget.preview.is_busy)
        widget.preview.toggle.native.click()

    viewer.add_image(image)
    widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")[1]
    count("Run to new layer", run)
    count("preview", preview)
    viewer.close()


if __name__ == "__main__":
    main()
