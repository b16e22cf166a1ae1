"""How long the live preview takes to follow, in a real napari window.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/preview_latency.py [--repeats 10]

A view of 512 x 512 pixels in a stack of 2048 x 2048 is previewed by the Denoise widget with `fast`.
Times run from a change of a parameter, the view or the slice until the canvas has been drawn with
the first rows of the new preview, and with all of it. Zooming in shows nothing new, so only zooming
out is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtWidgets import QApplication
from skimage import data
from windows import napari, process_events, wait_for

SIDE, PLANES, LONGEST_SECONDS = 512, 20, 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    viewer, widget = open_window()
    rng = np.random.default_rng(0)
    widget.preview.toggle.native.click()
    settle(widget)
    print(f"{widget.preview.status.value} {os.cpu_count()} CPUs")
    print("| change | first rows, ms | all, ms | all, longest, ms |\n|---|---|---|---|")
    for name, prepare, change in changes(viewer, widget, rng):
        times = [follow(viewer, widget, prepare, change) for _ in range(arguments.repeats)]
        first, last = ([1e3 * pair[i] for pair in times] for i in (0, 1))
        medians = f"{statistics.median(first):.0f} | {statistics.median(last):.0f}"
        print(f"| {name} | {medians} | {max(last):.0f} |")
    viewer.close()


def open_window() -> tuple[Any, Any]:
    """A window that shows 512 x 512 pixels of a noisy stack."""
    viewer = napari.Viewer(show_welcome_screen=False)
    clean = np.tile(data.camera(), (4, 4)) * 8.0
    rng = np.random.default_rng(0)
    frames = [
        100 + 20 * rng.poisson(clean / 20) + rng.normal(0, 20, clean.shape) for _ in range(PLANES)
    ]
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

    def move(pixels: float) -> None:
        angle, (*_, y, x) = rng.uniform(0, 2 * np.pi), camera.center
        new = (y + pixels * np.sin(angle), x + pixels * np.cos(angle))
        camera.center = tuple(np.clip(new, 600, 1400))

    def jump() -> None:
        here = np.array(camera.center[-2:])
        camera.center = tuple(here + np.where(here < 1024, 520, -520))

    def strengthen() -> None:
        widget.option["strength"].value = 1.5 if widget.option["strength"].value != 1.5 else 1.0

    def scroll(planes: int) -> None:
        viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + planes) % PLANES)

    def zoom_in() -> None:
        jump()
        camera.zoom = 1.1 * whole

    def zoom_out() -> None:
        camera.zoom = whole

    def nothing() -> None:
        pass

    yield "strength", nothing, strengthen
    yield "pan by 64 pixels", nothing, partial(move, 64)
    yield "pan to where nothing is known", nothing, jump
    yield "zoom out by 10 %", zoom_in, zoom_out
    yield "next slice", nothing, partial(scroll, 1)
    yield "another slice", nothing, partial(scroll, 7)


def follow(
    viewer: Any, widget: Any, prepare: Callable[[], None], change: Callable[[], None]
) -> tuple[float, float]:
    """Seconds until some, and all, of a change has been drawn."""
    prepare()
    settle(widget)
    process_events(0.5)
    layer, drawn = viewer.layers[-1], []
    heard: list[Any] = []
    note = layer.events.data.connect(heard.append)
    begun = time.perf_counter()
    change()
    while widget.preview.is_busy or not drawn:
        process_events(0.01)
        if heard:
            QApplication.processEvents()  # draws
            drawn.append(time.perf_counter() - begun)
            heard.clear()
        if time.perf_counter() - begun > LONGEST_SECONDS:
            raise TimeoutError("the preview did not follow")
    layer.events.data.disconnect(note)
    return drawn[0], drawn[-1]


def settle(widget: Any) -> None:
    """Wait for the preview."""
    process_events(0.2)
    wait_for(lambda: not widget.preview.is_busy)


if __name__ == "__main__":
    main()
