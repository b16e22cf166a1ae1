"""Windows of napari for pictures: open one, run a widget, write what it shows.

A picture is a function marked with `picture`; `main` takes all of them, or those that are named.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Neither the settings nor the models of whoever takes the pictures. napari reads its own on import.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(), "settings.yaml"))
os.environ["NAPARI_REDNET_MODELS"] = tempfile.mkdtemp()

import napari
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication

PICTURES: dict[str, Callable[[], None]] = {}
_options = argparse.Namespace(theme="dark", out=Path(__file__).parent / "images")


def picture(function: Callable[[], None]) -> Callable[[], None]:
    """Make a function one of the pictures that `main` takes."""
    PICTURES[function.__name__] = function
    return function


def main() -> None:
    """Take the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(PICTURES)}; all if none")
    parser.add_argument("--theme", choices=["dark", "light"], default=_options.theme)
    parser.add_argument("--out", type=Path, default=_options.out, help="folder of the pictures")
    parser.parse_args(namespace=_options)
    if unknown := set(_options.name) - set(PICTURES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    _options.out.mkdir(parents=True, exist_ok=True)
    for name in _options.name or PICTURES:
        PICTURES[name]()


def open_viewer() -> napari.Viewer:
    """A window of the size of the pictures."""
    get_settings().appearance.theme = _options.theme
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1400, 860)
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
    target = _options.out / file
    if _options.theme != "dark":
        target = target.with_stem(f"{target.stem}-{_options.theme}")
    viewer.screenshot(target, canvas_only=False, flash=False)


def process_events(seconds: float) -> None:
    """Let the window draw itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def wait_until_idle(widget: Any) -> None:
    """Wait for the run to end."""
    while widget.is_running:
        process_events(0.1)
