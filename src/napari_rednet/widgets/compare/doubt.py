"""The part of the Compare window that maps where a denoised layer cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_rednet.execution import drain
from napari_rednet.provenance import Crop
from napari_rednet.widgets.compare.measures import Request
from napari_rednet.widgets.compare.pair import NEEDS_PAIR
from napari_rednet.widgets.shared.docks import set_needs
from napari_rednet.widgets.shared.layers import layer_options
from napari_rednet.widgets.shared.style import make_button
from napari_rednet.widgets.shared.worker import Steps

_PLACING = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_SHOWN = 99.8  # percentile that is brightest
NO_NOISE = "Only denoised layers, whose noise is known, have a map of doubt."
"""What is said of other layers."""


class DoubtControls(QWidget):
    """The button that starts it."""

    def __init__(self) -> None:
        super().__init__()
        self.start = make_button(
            "Doubt",
            "Add a layer that says how far the result may be off at each pixel, in image units: by "
            "how alike it comes out in eight orientations, and after noise is added again. What a "
            "network always gets wrong is not seen. Takes 12 times as long as denoising.",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.start)

    def offer(self, *, has_pair: bool) -> None:
        """Enable the button if there is a pair."""
        set_needs(self.start, NEEDS_PAIR, missing=not has_pair)


def doubt_steps(request: Request) -> Steps:
    """Compute the uncertainty of a result: (..., Y, X), of colours as a whole."""
    from napari_rednet.quality.doubt import uncertainty_steps
    from napari_rednet.restoration.denoise import denoise_steps

    before, noise, along = request.before, request.noise or [], request.along
    axis, middle = before.channel_axis, None
    if along is not None and before.index:
        # Its neighbours have noise as well, which comes again.
        index, reach = before.index, request.reach()
        image, middle = before.with_neighbours(index, along, reach, whole=True)
        along = 0
    else:
        image = np.asarray(before.array)
    models: Any = noise if axis is not None else noise[0]
    settings = {**request.settings, "ensemble": False, "dtype": "float32", "along": along}
    settings |= {"rgb": before.is_rgb, "channel_axis": axis, "noise": models}
    restore = partial(_denoised, denoise_steps, settings)
    found = yield from uncertainty_steps(image, restore, noise=models, channel_axis=axis)
    if middle is not None:
        found = found[middle]
    return np.sqrt(np.square(found).mean(-1)) if before.is_rgb else found


def _denoised(steps: Callable[..., Steps], settings: dict[str, Any], image: Any) -> Any:
    return drain(steps(image, **settings), False, "doubt")


def doubt_layer(after: Image, index: tuple[int, ...], found: npt.NDArray[Any]) -> Image:
    """A layer of the uncertainty of a result, or of one plane of it, in its place."""
    plane: Crop = (*((i, i + 1) for i in index), None, None)
    options = layer_options(after, plane if index else None)
    data = found[(None,) * len(index)]
    return Image(
        data,
        name=f"{after.name}: doubt",
        colormap="magma",
        contrast_limits=(0, max(float(np.percentile(data, _SHOWN)), 1e-6)),
        multiscale=False,
        **{name: options[name] for name in _PLACING if name in options},
    )
