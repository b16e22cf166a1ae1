"""Labels and Shapes layers as masks of missing pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Shapes
from skimage import draw

from napari_rednet.execution import is_dask
from napari_rednet.provenance import Origin, read_array
from napari_rednet.widgets.layers import LayerSource, layer_image, layer_source

FloatArray = npt.NDArray[np.float64]

_ELLIPSE_VERTICES = 128


@dataclass(frozen=True)
class LayerMask:
    """What a layer marks as missing.

    Parameters
    ----------
    name : str
        Of the layer.
    missing : (Y, X) or (..., Y, X) array of bool
        A copy: it does not change when the layer does.
    source : LayerSource, optional
        Of a Labels layer.
    """

    name: str
    missing: Any
    source: LayerSource | None = None

    def of_plane(self, plane: Sequence[int] | None) -> Any:
        """What is missing of one plane of the image, or of all."""
        if plane is None or self.missing.ndim == 2:
            return self.missing
        pairs = zip(plane, self.missing.shape, strict=False)
        return self.missing[tuple(slice(0 if n == 1 else i, i + 1) for i, n in pairs)]

    def record(self) -> dict[str, Any]:
        """The mask in plain values; its file is named only if nothing has been painted since."""
        return {**asdict(self._origin()), "planes": list(self.missing.shape[:-2])}

    def _origin(self) -> Origin:
        if self.source is None or is_dask(self.missing):
            return Origin(self.name)
        origin = self.source.find_origin()
        same = origin.path is not None and np.array_equal(read_array(origin) != 0, self.missing)
        return origin if same else Origin(self.name)


def layer_mask(
    layer: Labels | Shapes, image: Image, role: str = "which is to be the mask"
) -> LayerMask:
    """What a layer marks as missing of an image layer, or as whatever its `role` is.

    Labels are taken pixel by pixel, wherever their layer lies. Shapes are taken where they are
    seen on the image, for all of its planes.

    Raises
    ------
    ValueError
        In words for the user, if nothing of the image is marked.
    """
    missing = _painted(layer) if isinstance(layer, Labels) else _drawn(layer, image)
    # A lazy mask may take long to compute, and the window would wait.
    if not is_dask(missing) and not missing.any():
        done = "painted" if isinstance(layer, Labels) else "drawn on the image"
        raise ValueError(f"nothing is {done} in the layer {layer.name!r}, {role}")
    source = layer_source(layer) if isinstance(layer, Labels) else None
    return LayerMask(layer.name, missing, source)


def _painted(labels: Labels) -> Any:
    data = labels.data[0] if labels.multiscale else labels.data
    return (data if is_dask(data) else np.asarray(data)) != 0


def _drawn(shapes: Shapes, image: Image) -> npt.NDArray[np.bool_]:
    matrix, offset = _to_pixels(shapes, image)
    # Of strokes under a transform that is not the same in all directions, the mean width.
    pixels_per_unit = np.sqrt(abs(np.linalg.det(matrix[:, -2:])))
    mask = np.zeros(layer_image(image).plane_shape, bool)
    for vertices, kind, width in zip(
        shapes.data, shapes.shape_type, shapes.edge_width, strict=True
    ):
        for outline in _outlines(vertices @ matrix.T + offset, kind, width * pixels_per_unit):
            mask[draw.polygon(*outline.T, mask.shape)] = True
    return mask


def _to_pixels(shapes: Shapes, image: Image) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset from coordinates of a layer to rows and columns of an image."""

    def pixel(position: FloatArray) -> FloatArray:
        return np.asarray(image.world_to_data(shapes.data_to_world(position)))[-2:]

    offset = pixel(np.zeros(shapes.ndim))
    return np.stack([pixel(unit) - offset for unit in np.eye(shapes.ndim)], axis=1), offset


def _outlines(vertices: FloatArray, kind: str, width: float) -> Iterable[FloatArray]:
    """The polygons that a shape covers: itself, or the strokes of a line."""
    if kind in ("line", "path"):
        return _strokes(vertices, max(width, 1))
    return [_ellipse(vertices) if kind == "ellipse" else vertices]


def _strokes(path: FloatArray, width: float) -> Iterator[FloatArray]:
    """A rectangle for each segment, longer by half the width at both ends, to fill the bends."""
    for start, end in pairwise(path):
        length = np.hypot(*(end - start))
        along = width / 2 * ((end - start) / length if length else np.array([1.0, 0.0]))
        across = along[::-1] * (1, -1)
        first, last = start - along, end + along
        yield np.stack([first - across, first + across, last + across, last - across])


def _ellipse(corners: FloatArray) -> FloatArray:
    """The ellipse in a parallelogram."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_VERTICES, endpoint=False)[:, None]
    one_axis, other_axis = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    centre = (corners[0] + corners[2]) / 2
    outline: FloatArray = centre + np.cos(angles) * one_axis + np.sin(angles) * other_axis
    return outline
