"""The part of the Compare window that shows the residual as a layer, and judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.widgets.compare.pair import NEEDS_PAIR, channel_of, is_denoised, noise_of
from napari_rednet.widgets.shared.docks import set_needs
from napari_rednet.widgets.shared.layers import TEMPORARY, insert_quietly, layer_image
from napari_rednet.widgets.shared.style import make_label
from napari_rednet.widgets.shared.worker import compute_in_background

if TYPE_CHECKING:
    from napari_rednet.quality import ResidualReport

NAME = "residual"
"""Name of the residual layer."""
_LIMIT = 3.0
_KEPT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class ResidualImage:
    """Before minus after, computed plane by plane when it is read.

    With `noise`, a model per channel, it is in standard deviations of the noise. The residual of
    colours is a colour: gray where it is 0, and 0 to 1 from `-limit` to `limit`. A mean over the
    colours would hide a small change of one, or opposite changes of two.
    """

    def __init__(
        self,
        before: Any,
        after: Any,
        noise: Sequence[NoiseModel] | None,
        *,
        rgb: bool,
        channel: int | None = None,
    ) -> None:
        self._before, self._after, self._noise, self._rgb = before, after, noise, rgb
        self._channel = None if noise is None or len(noise) == 1 else channel
        self.shape = tuple(after.shape)
        self.dtype = np.dtype(np.float32)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape))
        self.limit = _LIMIT * (self._spread() if noise is None else 1.0)

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        found = self._residual(key)
        if self._rgb:
            found = np.clip(0.5 + found / (2 * self.limit), 0, 1)
        return found.astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[()], dtype)

    def _residual(self, key: Any) -> npt.NDArray[Any]:
        from napari_rednet.quality import residual

        before, after = (np.asarray(image[key]) for image in (self._before, self._after))
        if self._noise is None:
            return residual(before, after)
        if self._channel is not None:
            return self._of_channels(before, after, key)
        if not self._rgb:
            return residual(before, after, self._noise[0])
        colours = enumerate(self._noise)
        return np.stack([residual(before[..., i], after[..., i], n) for i, n in colours], axis=-1)

    def _of_channels(self, before: Any, after: Any, key: Any) -> npt.NDArray[Any]:
        """The residual of each channel in the units of its own noise."""
        from napari_rednet.quality import residual

        axis, noise = self._channel or 0, list(self._noise or ())
        index = key if isinstance(key, tuple) else (key,)
        chosen = index[axis] if axis < len(index) else slice(None)
        if not isinstance(chosen, slice):
            return residual(before, after, noise[chosen])
        # Axes that the index takes a single place of are gone.
        place = axis - sum(not isinstance(part, slice) for part in index[:axis])
        pairs = (np.moveaxis(image, place, 0) for image in (before, after))
        found = [residual(b, a, n) for b, a, n in zip(*pairs, noise[chosen], strict=True)]
        return np.moveaxis(np.stack(found), 0, place)

    def _spread(self) -> float:
        """Standard deviation of the residual in the middle plane; 1 if that is 0."""
        leading = self.shape[: -3 if self._rgb else -2]
        return float(np.nanstd(self._residual(tuple(n // 2 for n in leading)))) or 1.0


def can_subtract(pair: tuple[Image, Image]) -> bool:
    """True if the images of two layers have the same shape, and both or neither are RGB."""
    before, after = (layer_image(layer) for layer in pair)
    return bool(before.rgb == after.rgb and before.array.shape == after.array.shape)


def residual_layer(before: Image, after: Image) -> Image:
    """A layer of before minus after; of gray images, red where positive and blue where negative."""
    images = [layer_image(layer) for layer in (before, after)]
    data = ResidualImage(
        images[0].array,
        images[1].array,
        noise_of(after),
        rgb=after.rgb,
        channel=channel_of(after),
    )
    shown = (
        {"contrast_limits": (0, 1)}
        if after.rgb
        else {"contrast_limits": (-data.limit, data.limit), "colormap": "coolwarm"}
    )
    return Image(
        data,
        name=NAME,
        rgb=after.rgb,
        multiscale=False,
        cache=False,
        metadata={TEMPORARY: True},
        **shown,
        **{name: getattr(after, name) for name in _KEPT},
    )


def judge(before: Image, after: Image) -> Callable[[], ResidualReport] | None:
    """Function for a worker thread that tests the residual for structure; None if not denoised."""
    if not is_denoised(after):
        return None
    images = [layer_image(layer, channel=channel_of(after)) for layer in (before, after)]
    noise, axis = noise_of(after), images[1].channel_axis
    models: Any = noise[0] if noise and axis is None else noise

    def report() -> ResidualReport:
        from napari_rednet.quality import residual_report

        arrays = (image.array for image in images)
        return residual_report(*arrays, noise=models, channel_axis=axis)

    return report


class ResidualControls(QWidget):
    """Check box that shows the residual as a layer, and the verdict on it."""

    def __init__(self, viewer: Viewer, pair: Callable[[], tuple[Image, Image] | None]) -> None:
        super().__init__()
        self._viewer, self._pair = viewer, pair
        self.layer: Image | None = None
        self.box = QCheckBox("Show the residual")
        self.box.setToolTip(
            "Add a layer of what was taken out, before minus after: of denoised layers in standard "
            "deviations of the noise. It goes when this is unticked."
        )
        self.verdict = make_label(
            "Neighbouring pixels of white noise are not alike. If those of the residual are, "
            "structure was removed; if they are opposite, noise was left."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(self.verdict)
        self.box.toggled.connect(self.renew)
        self._say("")

    def renew(self) -> None:
        """Show the residual of the current pair if the box is checked."""
        self._remove()
        pair = self._pair()
        if pair is None:
            self.stop()
        if pair is None or not self.box.isChecked():
            return
        if not can_subtract(pair):
            self._say("Before and after must have the same shape to be subtracted.")
            return
        self.layer = residual_layer(*pair)
        insert_quietly(self._viewer, len(self._viewer.layers), self.layer)
        report = judge(*pair)
        if report is None:
            self._say("Only the residual of a denoised layer is judged.")
            return
        self._say("Looking for structure…")
        compute_in_background(report, partial(self._show, self.layer))

    def offer(self, *, has_pair: bool) -> None:
        """Enable the check box if there is a pair."""
        set_needs(self.box, NEEDS_PAIR, missing=not has_pair)

    def stop(self) -> None:
        """Uncheck the box, which removes the residual."""
        self.box.setChecked(False)

    def _remove(self) -> None:
        layer, self.layer = self.layer, None
        self._say("")
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _show(self, layer: Image, report: ResidualReport) -> None:
        if isalive(self) and layer is self.layer:
            is_fine = report.is_fine
            self._say(report.text if is_fine else f"<b>{report.text}</b>")

    def _say(self, text: str) -> None:
        self.verdict.setText(text)
        self.verdict.setVisible(bool(text))
