"""Take the pictures of the documentation: napari with the widgets, after a run.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from skimage import data

from napari_rednet import psf

IMAGES = Path(__file__).parent / "images"


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
    """The Denoise widget beside its result, on the bundled stack."""
    viewer = open_viewer()
    (layer,) = viewer.open_sample("napari-rednet", "chromosomes")
    viewer.dims.set_point(0, 20 * layer.scale[0])
    take(viewer, "Denoise", "denoise-widget.png")


def deblur_widget() -> None:
    """The Deblur widget beside its result, on an image out of focus."""
    viewer = open_viewer()
    clean = data.camera()[:300, 100:400].astype(float)
    blurred = ndimage.convolve(clean, psf.disk(4.0), mode="nearest")
    noise = np.random.default_rng(0).normal(0, 2, clean.shape)
    viewer.add_image(blurred + noise, name="camera")
    take(viewer, "Deblur", "deblur-widget.png", prepare=choose_disk)


def super_resolve_widget() -> None:
    """The Super-resolve widget beside its result."""
    viewer = open_viewer()
    viewer.open_sample("napari-rednet", "small")
    take(viewer, "Super-resolve", "super-resolve-widget.png")


def deblock_widget() -> None:
    """The Deblock widget beside its result."""
    viewer = open_viewer()
    viewer.open_sample("napari-rednet", "jpeg")
    take(viewer, "Deblock", "deblock-widget.png")


def inpaint_widget() -> None:
    """The Inpaint widget beside its result."""
    viewer = open_viewer()
    viewer.open_sample("napari-rednet", "holes")
    take(viewer, "Inpaint", "inpaint-widget.png", prepare=choose_labels)


def fine_tune_widget() -> None:
    """The Fine-tune widget half-way on a real noisy stack, and its model in use."""
    viewer = open_viewer()
    (noisy,) = viewer.open_sample("napari-rednet", "chromosomes")
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Fine-tune")
    widget.controls.images.value = [noisy]
    widget.controls.minutes.value = 2
    while not widget.start_button.isEnabled():
        process_events(0.2)
    process_events(3)  # models and devices are looked for
    widget.start_button.click()
    process_events(0.5)
    while widget.is_running and widget.progress.value() < 700:
        process_events(0.2)
    shoot(viewer, "fine-tune-running.png")
    wait_until_idle(widget)
    widget.result.use.click()
    process_events(3)
    _, restore = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    process_events(1)
    restore.common.image.value = noisy
    restore.run.native.click()
    wait_until_idle(restore)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 1
    shoot(viewer, "fine-tune-used.png")
    viewer.close()


def batch_widget() -> None:
    """The Batch widget after a run over a folder with a bad file, and a result over its image."""
    viewer = open_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
    with tempfile.TemporaryDirectory() as folder:
        write_plates(Path(folder, "experiment"))
        widget.controls.source.value = Path(folder, "experiment")
        widget.controls.results.value = Path(folder, "restored")
        while not widget.run_button.isEnabled():
            process_events(0.2)
        widget.run_button.click()
        wait_until_idle(widget)
        widget.table.selectRow(1)
        widget.compare_button.click()
        while len(viewer.layers) < 2:
            process_events(0.2)
        viewer.canvas.grid.enabled = True
        viewer.canvas.grid.stride = 1
        shoot(viewer, "batch-widget.png")
    viewer.close()


def write_plates(folder: Path) -> None:
    """Noisy crops of an image as the files of two plates, one of which is damaged."""
    rng = np.random.default_rng(0)
    for plate in (1, 2):
        (folder / f"plate{plate}").mkdir(parents=True)
        for well in (1, 2, 3):
            rows, columns = 150 * (plate - 1), 100 * (well - 1)
            clean = data.camera()[rows : rows + 240, columns : columns + 240]
            noisy = 100 + 20 * rng.poisson(clean / 4) + rng.normal(0, 10, clean.shape)
            tifffile.imwrite(folder / f"plate{plate}/A{well}.tif", noisy.clip(0).astype(np.uint16))
    (folder / "plate2/A2.tif").write_bytes(b"no image")


def shoot(viewer: napari.Viewer, file: str) -> None:
    """Take the picture of a window."""
    process_events(0.5)
    viewer.reset_view()
    process_events(0.5)
    viewer.screenshot(IMAGES / file, canvas_only=False, flash=False)


def choose_disk(widget: Any) -> None:
    """Tell the widget the blur."""
    widget.psf.kind.value = "disk (out of focus)"
    widget.psf.values["disk (out of focus)"][0].value = 4.0


def choose_labels(widget: Any) -> None:
    """Tell the widget what is missing."""
    widget.mask.value = widget.viewer.layers["missing"]


def open_viewer() -> napari.Viewer:
    """A window of the size of the pictures."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1400, 860)
    return viewer


def take(
    viewer: napari.Viewer, name: str, file: str, prepare: Callable[[Any], None] | None = None
) -> None:
    """Dock a widget, run it, and take the picture."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
    process_events(0.5)
    if prepare is not None:
        prepare(widget)
    widget.run.native.click()
    wait_until_idle(widget)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 1
    shoot(viewer, file)
    viewer.close()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    # Not among the models of whoever takes the pictures.
    os.environ["NAPARI_REDNET_MODELS"] = tempfile.mkdtemp()
    denoise_widget()
    deblur_widget()
    super_resolve_widget()
    deblock_widget()
    inpaint_widget()
    fine_tune_widget()
    batch_widget()
