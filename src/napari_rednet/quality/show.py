"""Images side by side under one contrast, as a picture that notebooks show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import basis_of

_PERCENTILES = (0.2, 99.8)
_GAP = 8
_WHITE = 255
_SMALLEST = 256  # pixels of a side, below which pixels are drawn as squares


class Shown:
    """A picture of images side by side; notebooks show it where a cell ends with it.

    Parameters
    ----------
    pixels : (Y, X, 3) ndarray of uint8
        The picture.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def save(self, path: str | Path) -> None:
        """Write it to a file, such as a PNG."""
        from PIL import Image

        Image.fromarray(self.pixels).save(path)

    def _repr_png_(self) -> bytes:
        """As notebooks ask for it."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG")
        return file.getvalue()


def show(*images: Any, plane: Sequence[int] | None = None, rgb: bool = False) -> Shown:
    """Show images side by side under one contrast, without a window.

    Parameters
    ----------
    *images : (..., Y, X) arrays, or (..., Y, X, 3 or 4) if `rgb`
        What to show, such as an image before and after. Smaller ones are drawn as large as the
        largest, which must be a multiple of them.
    plane : sequence of int, optional
        Index of the plane along the axes before Y and X; the middle one if not given.
    rgb : bool
        Whether the last axis has colours.

    Returns
    -------
    shown : Shown
        A picture: a notebook shows it at the end of a cell, ``shown.save("pair.png")`` writes it.
        Black and white are percentiles (0.2 and 99.8) of the last image.

    Raises
    ------
    ValueError
        If there is no image, one has too few axes, or no plane of this index, or the sizes do not
        fit to each other.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = np.random.default_rng(0).normal(100, 5, (20, 64, 64))
    >>> show(noisy, noisy + 1).pixels.shape
    (256, 520, 3)
    """
    if not images:
        raise ValueError("give images to show, such as one before and one after")
    read = [_plane(image, plane, rgb=rgb) for image in images]
    basis = basis_of(read[-1])
    planes = [basis.inside(one) for one in read]
    height, width = (max(one.shape[axis] for one in planes) for axis in (0, 1))
    finite = planes[-1][np.isfinite(planes[-1])]
    low, high = np.percentile(finite, _PERCENTILES) if finite.size else (0.0, 1.0)
    zoom = max(1, -(-_SMALLEST // max(height, width)))
    drawn = [_as_large(one, height, width).repeat(zoom, 0).repeat(zoom, 1) for one in planes]
    gap = np.full((height * zoom, _GAP, 3), _WHITE, np.uint8)
    row = [part for one in drawn for part in (_shaded(one, low, high), gap)]
    return Shown(np.concatenate(row[:-1], axis=1))


def _plane(image: Any, plane: Sequence[int] | None, *, rgb: bool) -> npt.NDArray[Any]:
    """One plane, (Y, X) or (Y, X, 3); nothing else is read."""
    own = 3 if rgb else 2
    shape = tuple(np.shape(image))
    leading = len(shape) - own
    if leading < 0:
        axes = "(..., Y, X, colours)" if rgb else "(..., Y, X)"
        raise ValueError(f"images must have the axes {axes}, got shape {shape}")
    index = tuple(n // 2 for n in shape[:leading]) if plane is None else tuple(plane)
    if len(index) != leading or not all(0 <= i < n for i, n in zip(index, shape, strict=False)):
        raise ValueError(f"plane must be an index of the first {leading} axes of {shape}")
    values = np.asarray(image[index] if leading else image)
    return values[..., :3] if rgb else values


def _as_large(values: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    rows, columns = values.shape[:2]
    if not rows or not columns or height % rows or width % columns:
        raise ValueError(f"the sizes {rows} x {columns} and {height} x {width} do not fit")
    return values.repeat(height // rows, 0).repeat(width // columns, 1)


def _shaded(values: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Gray or colours between black and white; what is not finite is black."""
    scaled = np.nan_to_num((values - low) / (high - low or 1.0), nan=0.0, posinf=1, neginf=0)
    shades = np.uint8(np.rint(scaled.clip(0, 1) * _WHITE))
    return shades if len(shades.shape) > 2 else np.stack([shades] * 3, axis=-1)
