"""Take the pictures of the documentation: napari with the windows, after a run.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py
xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py denoise_widget --theme light
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from gallery import main, picture
from skimage import data
from windows import (
    dock,
    open_close_up,
    process_events,
    run,
    shoot,
    side_by_side,
    take,
    wait_until_idle,
)


@picture
def denoise_widget() -> None:
    """The Denoise widget beside its result, on the bundled stack."""
    viewer = open_close_up()
    (layer,) = viewer.open_sample("napari-rednet", "chromosomes")
    viewer.dims.set_point(0, 20 * layer.scale[0])
    take(viewer, "Denoise", "denoise-widget.png")


@picture
def noise_panel() -> None:
    """The plot of the noise, measured in two rectangles of the bundled stack."""
    viewer = open_close_up(900)
    (layer,) = viewer.open_sample("napari-rednet", "chromosomes")
    viewer.dims.set_point(0, 20 * layer.scale[0])
    rectangles = [
        [(5, 4), (5, 48), (24, 48), (24, 4)],
        [(94, 40), (94, 108), (126, 108), (126, 40)],
    ]
    viewer.add_shapes(
        rectangles,
        scale=layer.scale[1:],
        units=layer.units[1:],
        axis_labels=layer.axis_labels[1:],
        name="background and cell",
        edge_color="yellow",
        face_color="transparent",
    )
    widget = dock(viewer, "Denoise")
    widget.common.image.value = layer
    widget.noise.panel.button.native.click()
    widget.noise.place.native.setCurrentText("background and cell")
    while not widget.noise.has_levels:
        process_events(0.1)
    shoot(viewer, "noise-panel.png")
    viewer.close()


@picture
def deblur_widget() -> None:
    """The Deblur widget beside its result, with the PSF of a bead."""
    viewer = open_close_up()
    viewer.open_sample("napari-rednet", "blurred")
    take(viewer, "Deblur", "deblur-widget.png")


@picture
def super_resolve_widget() -> None:
    """The Super-resolve widget beside its result."""
    viewer = open_close_up()
    viewer.open_sample("napari-rednet", "small")
    take(viewer, "Super-resolve", "super-resolve-widget.png")


@picture
def deblock_widget() -> None:
    """The Deblock widget beside its result."""
    viewer = open_close_up()
    viewer.open_sample("napari-rednet", "jpeg")
    take(viewer, "Deblock", "deblock-widget.png")


@picture
def inpaint_widget() -> None:
    """The Inpaint widget beside its result."""
    viewer = open_close_up()
    viewer.open_sample("napari-rednet", "holes")
    take(viewer, "Inpaint", "inpaint-widget.png", prepare=hide_labels)


@picture
def compare_widget() -> None:
    """A denoised stack beside its source, split by a line, with verdict and estimate."""
    viewer = open_close_up()
    (noisy,) = viewer.open_sample("napari-rednet", "chromosomes")
    viewer.dims.set_point(0, 20 * noisy.scale[0])
    denoise = dock(viewer, "Denoise")
    run(denoise)
    viewer.window.remove_dock_widget(denoise.native)
    widget = dock(viewer, "Compare")
    widget.residual.box.setChecked(True)
    widget.measures.start.click()
    wait_until_idle(widget)
    widget.show_as.buttons["Split"].click()
    shoot(viewer, "compare-widget.png")
    viewer.close()


@picture
def fine_tune_widget() -> None:
    """The Fine-tune widget half-way on a real noisy stack, and its model in use."""
    viewer = open_close_up(980)
    (noisy,) = viewer.open_sample("napari-rednet", "chromosomes")
    widget = dock(viewer, "Fine-tune")
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
    restore = dock(viewer, "Denoise")
    restore.common.image.value = noisy
    run(restore)
    side_by_side(viewer)
    shoot(viewer, "fine-tune-used.png")
    viewer.close()


@picture
def batch_widget() -> None:
    """The Batch widget after a run over a folder with a bad file, and a result over its image."""
    viewer = open_close_up()
    widget = dock(viewer, "Batch")
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
        side_by_side(viewer)
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


def hide_labels(widget: Any) -> None:
    """Let the holes be seen."""
    widget.viewer.layers["missing"].visible = False


if __name__ == "__main__":
    main()
