"""How long the live preview takes to follow, in a real napari window.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/preview_latency.py [--repeats 10]

A view of 512 x 512 pixels in a stack of 2048 x 2048 is previewed by the Denoise widget with `fast`.
The time runs from a change of a parameter, the view or the slice until the canvas has been drawn
with the new preview. Zooming in shows nothing new, so only zooming out is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from skimage import data

SIDE, LONGEST_SECONDS = 512, 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    os.environ["NAPARI_REDNET_MODELS"] = tempfile.mkdtemp()
    viewer, widget = open_window()
    rng = np.random.default_rng(0)
    widget.preview.toggle.native.click()
    settle(widget)
    print(f"{widget.preview.status.value} {os.cpu_count()} CPUs")
    print("| change | median ms | longest ms |\n|---|---|---|")
    for name, prepare, change in changes(viewer, widget, rng):
        times = [follow(viewer, widget, prepare, change) for _ in range(arguments.repeats)]
        print(f"| {name} | {1e3 * statistics.median(times):.0f} | {1e3 * max(times):.0f} |")
    viewer.close()


def open_window() -> tuple[Any, Any]:
    """A window that shows 512 x 512 pixels of a noisy stack."""
    viewer = napari.Viewer(show_welcome_screen=False)
    clean = np.tile(data.camera(), (4, 4)) * 8.0
    rng = np.random.default_rng(0)
    frames = [100 + 20 * rng.poisson(clean / 20) + rng.normal(0, 20, clean.shape) for _ in range(4)]
    viewer.add_image(np.stack(frames).clip(0, 65535).astype(np.uint16), name="stack")
    viewer.window.resize(1400, 900)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    process_events(3)
    camera = viewer.scene.camera
    camera.center = (1024, 1024)
    camera.zoom = max(viewer.canvas.size) / SIDE
    process_events(1)
    return viewer, widget


def changes(
    viewer: Any, widget: Any, rng: np.random.Generator
) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """What users do: its name, what comes before, the change."""
    camera = viewer.scene.camera
    whole = camera.zoom

    def pan() -> None:
        camera.center = tuple(rng.uniform(600, 1400, 2))

    def strengthen() -> None:
        widget.strength.value = 1.5 if widget.strength.value != 1.5 else 1.0

    def scroll() -> None:
        viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % 4)

    def zoom_out() -> None:
        camera.zoom = whole

    def zoom_in_elsewhere() -> None:
        camera.zoom = 1.05 * whole
        pan()

    def nothing() -> None:
        pass

    yield "strength", nothing, strengthen
    yield "pan", nothing, pan
    yield "zoom out", zoom_in_elsewhere, zoom_out
    yield "slice", nothing, scroll


def follow(
    viewer: Any, widget: Any, prepare: Callable[[], None], change: Callable[[], None]
) -> float:
    """Seconds until a change is drawn."""
    prepare()
    settle(widget)
    process_events(0.5)
    shown: list[float] = []
    layer = viewer.layers[-1]
    note = layer.events.data.connect(lambda: shown.append(time.perf_counter()))
    begun = time.perf_counter()
    change()
    while not shown and time.perf_counter() - begun < LONGEST_SECONDS:
        process_events(0.002)
    QApplication.processEvents()  # draws
    seconds = time.perf_counter() - begun
    layer.events.data.disconnect(note)
    settle(widget)
    return seconds


def settle(widget: Any) -> None:
    """Wait for the preview."""
    process_events(0.2)
    while widget.preview.is_busy:
        process_events(0.05)


def process_events(seconds: float) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
