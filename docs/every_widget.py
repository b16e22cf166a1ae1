"""Write pictures of every widget as users meet it, to be looked at; the documentation has others.

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/every_widget.py FOLDER [NAME...]

Each is taken in both themes, in a dock as narrow as it gets, with napari's font size and a larger
one, without layers and with layers of long names.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from windows import get_settings, napari, process_events

NARROW, HIGH = 320, 900
LARGE = 14
LONG = "20240517_HeLa_H2B-mCherry_60x_position_012_maximum_projection_registered"


def main(folder: Path, chosen: list[str]) -> None:
    """Take the pictures of the chosen widgets, or of all."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = PluginManifest.from_distribution("napari-rednet")
    names = chosen or [widget.display_name for widget in manifest.contributions.widgets]
    appearance = get_settings().appearance
    sizes = {"normal": appearance.font_size, "large": LARGE}
    for theme, size, layers in product(("dark", "light"), sizes, ("empty", "layers")):
        appearance.theme, appearance.font_size = theme, sizes[size]
        for name in names:
            shoot(name, layers == "layers", folder / f"{name.lower()}-{theme}-{size}-{layers}.png")


def shoot(name: str, with_layers: bool, target: Path) -> None:
    """Open a widget alone in a window, and write what its dock shows."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1000, HIGH)
    if with_layers:
        add_layers(viewer)
    dock, _ = viewer.window.add_plugin_dock_widget("napari-rednet", name)
    process_events(1.5)
    window = viewer.window._qt_window  # noqa: SLF001 - napari has no public way
    window.resizeDocks([dock], [NARROW], Qt.Orientation.Horizontal)
    process_events(0.5)
    dock.grab().save(str(target))
    viewer.close()


def add_layers(viewer: napari.Viewer) -> None:
    """Layers of all kinds that widgets offer, with long names."""
    rng = np.random.default_rng(0)
    viewer.add_image(rng.poisson(50, (3, 64, 64)).astype(np.uint16), name=LONG)
    viewer.add_image(rng.integers(0, 255, (64, 64, 3), np.uint8), rgb=True, name=f"colours {LONG}")
    viewer.add_labels(np.eye(64, dtype=np.uint8), name=f"labels {LONG}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
