"""Count through how much of the package a restoration passes: modules, functions, frames.

::

    python scripts/count_trips.py

Prints a line for each trip.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
import tifffile

import napari_rednet as nr
from napari_rednet.engine import streaming

_ROOT = str(Path(nr.__file__).resolve().parent)
_CONVOLVE = streaming.StreamableNetwork.convolve.__code__


class Trip:
    """What is called between `__enter__` and `__exit__`, in all threads."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.functions: set[tuple[str, str]] = set()
        self.frames = 0
        self._depth_of_first: int | None = None

    def __enter__(self) -> Self:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

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

    from napari_rednet.cli import app  # noqa: TID251 - as its user

    image = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    count("nr.denoise", lambda: nr.denoise(image))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.tif"), Path(folder, "out.tif")
        tifffile.imwrite(source, image)
        words = ["denoise", str(source), str(target), "--force", "--quiet"]
        count("file to file", lambda: CliRunner().invoke(app, words, catch_exceptions=False))
    count("fine-tune", lambda: nr.fine_tune(image[None], image[None], steps=2, batch=1, patch=32))


if __name__ == "__main__":
    main()
