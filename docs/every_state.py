"""Write pictures of every restoring window as it works, to be looked at.

    xvfb-run -a -s "-screen 0 1366x768x24" python docs/every_state.py FOLDER [NAME...]

Each is taken in both themes, on the screen of a small laptop: with a sample, with its preview,
half-way, with its result, and with a layer that it refuses. `every_widget.py` takes those of
windows at rest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from windows import dock, get_settings, napari, open_viewer, process_events, wait_for

SAMPLES = {
    "Denoise": "chromosomes",
    "Deblur": "blurred",
    "Super-resolve": "small",
    "Deblock": "jpeg",
    "Inpaint": "holes",
}
PLANES = 20  # that take some seconds
PATIENCE = 900  # on a machine that has other work as well
SCREEN = 1366, 768


def main(folder: Path, chosen: list[str]) -> None:
    """Take the pictures of the chosen widgets, or of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("dark", "light"):
        for name in chosen or SAMPLES:
            viewer = open_viewer()
            viewer.window.resize(*SCREEN)
            get_settings().appearance.theme = theme
            viewer.open_sample("napari-rednet", SAMPLES[name])
            widget = dock(viewer, name)
            for state in states(viewer, widget):
                target = folder / f"{name.lower()}-{theme}-{state}.png"
                viewer.screenshot(target, canvas_only=False, flash=False)
            viewer.close()


def states(viewer: napari.Viewer, widget: Any) -> Iterator[str]:
    """Bring a widget into each state in turn, and tell its name."""
    wait_for(lambda: widget.common.image.value is not None)
    process_events(3)  # the time it will take is measured
    yield "sample"
    widget.preview.toggle.native.click()
    wait_for(lambda: not widget.preview.is_busy)
    process_events(0.5)
    yield "preview"
    layer = widget.common.image.value
    planes = np.asarray(layer.data if layer.ndim > 2 else layer.data[None])
    copies = -(-PLANES // len(planes))
    long = viewer.add_image(
        np.concatenate([planes] * copies),
        rgb=layer.rgb,
        scale=layer.scale,
        units=layer.units if layer.ndim > 2 else None,
        axis_labels=("t", "y", "x"),  # so that it is no volume, whose planes are done together
        contrast_limits=layer.contrast_limits,
        name="long",
    )
    widget.common.image.value = long
    widget.run.native.click()
    progress = widget.progress
    wait_for(lambda: not widget.is_running or progress.value >= 0.4 * progress.max > 0, PATIENCE)
    yield "half-way"
    widget.cancel.native.click()
    wait_for(lambda: not widget.is_running)
    process_events(1)
    yield "cancelled"
    viewer.layers.remove(long)
    widget.common.image.value = layer
    widget.run.native.click()
    wait_for(lambda: not widget.is_running, PATIENCE)
    process_events(0.5)
    yield "result"
    refused = viewer.add_image(np.eye(64, dtype=bool), scale=layer.scale[-2:], name="yes or no")
    widget.common.image.value = refused
    widget.preview.toggle.native.click()
    widget.run.native.click()
    process_events(2)
    yield "refused"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
