"""Take the pictures of the documentation: napari with the widgets, after a run.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from skimage import data

IMAGES = Path(__file__).parent / "images"


def noisy_image() -> np.ndarray:
    """A camera image of few photons: gain 2, offset 100, read noise 3."""
    rng = np.random.default_rng(0)
    photons = rng.poisson(data.moon()[100:400, 100:460] / 2.0)
    return np.uint16(np.clip(100 + 2 * photons + rng.normal(0, 3, photons.shape), 0, None))


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


def denoise_widget() -> None:
    """The Denoise widget beside its result."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1400, 860)
    viewer.add_image(noisy_image(), name="moon")
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    process_events(0.5)
    widget.run.native.click()
    wait_until_idle(widget)
    viewer.grid.enabled = True
    viewer.grid.stride = 1
    process_events(0.5)
    viewer.reset_view()
    process_events(0.5)
    viewer.screenshot(IMAGES / "denoise-widget.png", canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    denoise_widget()
