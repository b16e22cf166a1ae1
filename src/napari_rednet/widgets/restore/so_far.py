"""The finished planes of a long run, shown while the others are restored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.execution import Repairs, is_dask
from napari_rednet.widgets.shared.layers import (
    TEMPORARY,
    LayerImage,
    insert_quietly,
    is_seen_through,
)
from napari_rednet.widgets.shared.worker import Steps

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration

# Each assignment of data takes a redraw; short runs show their result soon enough.
_SECONDS_BETWEEN = 1.0


class SoFar:
    """A result in the making, which one thread fills while the window reads what is finished.

    `finished` counts along the first axis, in the order of which planes are restored.
    """

    def __init__(self, array: Any) -> None:
        self.array, self.finished = array, 0

    def note(self, done: int, total: int) -> None:
        """Note progress; the last plane may still be on its way to the array."""
        self.finished = max(0, len(self.array) * done // total - 1) if total else 0


def restored_plane_by_plane(
    restoration: Restoration, image: LayerImage, repairs: Repairs | None = None
) -> Steps:
    """Restore: yield a `SoFar` first, if planes of the result can be shown before all are done."""
    array = restoration.array
    several_devices = len(restoration.job.devices) > 1  # which do not finish planes in order
    is_stack = len(image.spatial_shape) > 2 and image.spatial_shape[0] > 2
    if is_dask(array) or np.ma.isMaskedArray(image.data) or several_devices or not is_stack:
        return (yield from restoration.steps(repairs=repairs))
    so_far = SoFar(np.empty(restoration.shape, restoration.job.result_dtype(array)))
    yield so_far
    steps = restoration.steps(so_far.array, repairs)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return end.value
        so_far.note(done, total)
        yield done, total


class SoFarLayer:
    """A temporary layer with the finished planes of a run, over the layer that is restored."""

    def __init__(self, viewer: Viewer, so_far: SoFar, source: Image, look: dict[str, Any]) -> None:
        self._viewer, self._so_far = viewer, so_far
        self._source, self._look = source, look
        self._layer: Image | None = None
        self._is_unwanted = False
        self._due = time.monotonic() + _SECONDS_BETWEEN

    def update(self) -> None:
        """Show what has been finished since the last time, unless that is a moment ago."""
        finished = self._so_far.finished
        # Over channels that are seen through, planes would be twice as bright.
        hidden = self._is_unwanted or is_seen_through(self._source)
        if hidden or not finished or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _SECONDS_BETWEEN
        planes = self._so_far.array[:finished]
        if self._layer is None:
            self._layer = Image(
                planes,
                name=f"{self._source.name} (so far)",
                metadata={TEMPORARY: True},
                multiscale=False,
                **self._look,
            )
            insert_quietly(self._viewer, len(self._viewer.layers), self._layer)
        elif self._layer in self._viewer.layers:
            self._layer.data = planes
        else:
            self._is_unwanted = True  # the user has removed it

    def close(self) -> None:
        """Remove the layer."""
        self._is_unwanted = True
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
