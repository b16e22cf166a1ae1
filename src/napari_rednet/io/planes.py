"""Image files as gray planes, for training and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_MOST_PLANES = 24


def read_planes(path: Path) -> list[Plane]:
    """Gray planes of an image file of any kind; colour becomes luminance (BT.601).

    Of a long stack, 24 evenly spaced planes are taken.

    Returns
    -------
    planes : list of (Y, X) ndarray
        In the file's own dtype and units.
    """
    image, is_colour = _read(path)
    if is_colour:
        gray = image[..., :3] @ _LUMINANCE
        rounded = np.rint(gray) if image.dtype.kind == "u" else gray
        image = rounded.astype(image.dtype)
    planes = image.reshape(-1, *image.shape[-2:])
    step = -(-len(planes) // _MOST_PLANES)
    return list(planes[::step])


def _read(path: Path) -> tuple[npt.NDArray[Any], bool]:
    """The image and whether its last axis is colour."""
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return series.asarray(), series.axes.endswith("S")
    from skimage.io import imread

    image = imread(path)
    return image, image.ndim == 3
