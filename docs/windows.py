"""Windows of napari for pictures: open one, run a widget, write what it shows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Neither the settings nor the models of whoever takes the pictures. napari reads its own on import.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(), "settings.yaml"))
os.environ["NAPARI_REDNET_MODELS"] = tempfile.mkdtemp()
os.environ["NAPARI_REDNET_CONFIG"] = tempfile.mkdtemp()

import napari
from gallery import options
from napari.settings import get_settings
from qtpy.QtCore import QEventLoop, QTimer


def open_viewer() -> napari.Viewer:
    """A window of the size of the pictures."""
    get_settings().appearance.theme = options.theme
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1400, 860)
    return viewer


def open_close_up(height: int = 740) -> napari.Viewer:
    """A smaller window that shows the image and our docks alone, so that both can be read."""
    viewer = open_viewer()
    viewer.window.resize(1000, height)
    qt_viewer = viewer.window._qt_viewer  # noqa: SLF001 - napari has no public way
    for dock in (qt_viewer.dockLayerControls, qt_viewer.dockLayerList):
        dock.hide()
    return viewer


def dock(viewer: napari.Viewer, name: str) -> Any:
    """Dock a widget of the plugin, and wait until it knows its models and devices."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
    process_events(0.5)
    return widget


def take(
    viewer: napari.Viewer, name: str, file: str, prepare: Callable[[Any], None] | None = None
) -> None:
    """Dock a restoring widget, run it, and take the picture."""
    widget = dock(viewer, name)
    if prepare is not None:
        prepare(widget)
    run(widget)
    side_by_side(viewer)
    shoot(viewer, file)
    viewer.close()


def run(widget: Any) -> None:
    """Press Run and wait for the result."""
    widget.run.native.click()
    wait_until_idle(widget)


def side_by_side(viewer: napari.Viewer) -> None:
    """Show the layers beside each other."""
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 1


def shoot(viewer: napari.Viewer, file: str) -> None:
    """Fit the view and write a picture of the window; the light theme's has it in its name."""
    process_events(0.5)
    viewer.reset_view()
    process_events(0.5)
    target = options.out / file
    if options.theme != "dark":
        target = target.with_stem(f"{target.stem}-{options.theme}")
    viewer.screenshot(target, canvas_only=False, flash=False)


def process_events(seconds: float) -> None:
    """Let the window live; it rests, as it does for users, where there is nothing to do."""
    loop = QEventLoop()
    QTimer.singleShot(round(1e3 * seconds), loop.quit)
    loop.exec()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not come")
        process_events(0.05)


def wait_until_idle(widget: Any) -> None:
    """Wait for the run to end."""
    while widget.is_running:
        process_events(0.1)
