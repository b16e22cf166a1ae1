"""Images that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_SPACING = (0.15, 1 / 29.53846, 1 / 29.53846)
_CREDIT = "NEUBIAS training resources, CC-BY 4.0"


def sample_path() -> Path:
    """Path of the bundled noisy stack: mitotic chromosomes, 40 planes of 152 x 126 pixels.

    Source: NEUBIAS training resources (https://github.com/NEUBIAS/training-resources),
    CC-BY 4.0.
    """
    with as_file(files("napari_rednet").joinpath("data/chromosomes.tif")) as path:
        return path


def chromosomes() -> npt.NDArray[np.uint16]:
    """The bundled noisy stack as a (40, 152, 126) uint16 array; see `sample_path`."""
    import tifffile

    stack: npt.NDArray[np.uint16] = tifffile.imread(sample_path())
    return stack


def chromosomes_layer() -> list[tuple[npt.NDArray[np.uint16], dict[str, Any], str]]:
    """The bundled noisy stack as napari layer data, in micrometres."""
    options = {
        "name": "chromosomes",
        "scale": _SPACING,
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
        "metadata": {"source": _CREDIT},
    }
    return [(chromosomes(), options, "image")]
