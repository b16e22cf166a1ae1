"""Image files of a batch as layers: a result, or a result over its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.batch import BatchFile
from napari_rednet.errors import ImageFileError
from napari_rednet.io.files import OpenImage, read_image
from napari_rednet.widgets.layers import finer_grid, layer_options


@dataclass(frozen=True)
class FileImage:
    """What an image file gives a layer.

    Parameters
    ----------
    data : array
        Not read into memory, if the file allows it. Colours are its last axis.
    channel_axis : int or None
        Each of these channels becomes a layer.
    rgb : bool
        Whether there are colours.
    options : mapping
        Arguments of `add_image` that place it: pixel sizes.
    """

    data: Any
    channel_axis: int | None
    rgb: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> list[Any]:
        """The data of each layer."""
        axis = self.channel_axis
        if axis is None:
            return [self.data]
        before = (slice(None),) * axis
        return [self.data[(*before, i)] for i in range(self.data.shape[axis])]


def read_files(file: BatchFile, *, with_source: bool) -> list[FileImage]:
    """Open the source, if wanted, and the result of a file; for another thread."""
    paths = [file.source, file.result] if with_source else [file.result]
    return [read_layer_image(path) for path in paths]


def read_layer_image(path: Path) -> FileImage:
    """Open an image file as it is to be shown.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    image = read_image(path)
    data, axis, options = _lazy(image.data), image.channel_axis, _placing(image)
    if axis is not None and image.is_rgb and data.shape[axis] in (3, 4):
        return FileImage(np.moveaxis(data, axis, -1), None, True, options)
    return FileImage(data, axis, False, options)


def add_files(viewer: Viewer, file: BatchFile, suffix: str, images: list[FileImage]) -> list[Image]:
    """Add what `read_files` returns; a result over its source looks like it, in the same place."""
    *sources, result = images
    name = file.name
    if not sources:
        return _added(viewer, result, name + suffix)
    layers = _added(viewer, sources[0], name)
    factor = result.data.shape[_row_axis(result)] // sources[0].data.shape[_row_axis(sources[0])]
    for layer, data in zip(list(layers), result.channels, strict=False):
        placed = layer_options(layer) | (finer_grid(layer, factor) if factor > 1 else {})
        layers.append(viewer.add_image(data, name=layer.name + suffix, **placed))
    return layers


def _added(viewer: Viewer, image: FileImage, name: str) -> list[Image]:
    axis = {} if image.channel_axis is None else {"channel_axis": image.channel_axis}
    rgb = {} if axis else {"rgb": image.rgb}
    added = viewer.add_image(image.data, name=name, **axis, **rgb, **image.options)
    return list(added) if isinstance(added, list) else [added]


def _row_axis(image: FileImage) -> int:
    return -3 if image.rgb else -2


def _lazy(data: Any) -> Any:
    """An array that layers can cut into planes and channels without reading all of it."""
    if isinstance(data, np.ndarray):
        return data
    import dask.array as da

    return da.from_array(data, chunks=data.chunks)


def _placing(image: OpenImage) -> dict[str, Any]:
    """Pixel sizes and units, without those of channels; nothing where the file has none."""
    from napari_rednet.io.ome_zarr import as_zarr_description

    try:
        described = as_zarr_description(image)  # type: ignore[arg-type]
    except ImageFileError:
        return {}
    known = dict(
        zip(
            described.axes,
            zip(described.scale, described.translation, described.units, strict=True),
            strict=True,
        )
    )
    placed = [known[letter] for letter in image.axes if letter not in "CS"]
    scale, translate, units = zip(*placed, strict=True)
    return {"scale": scale, "translate": translate, "units": [unit or "pixel" for unit in units]}
