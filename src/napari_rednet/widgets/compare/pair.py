"""The pair of layers to compare, the parts to measure, and the records in their metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Container, PushButton
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.planes import evenly
from napari_rednet.provenance import Crop
from napari_rednet.widgets.shared.controls import ChoiceBox
from napari_rednet.widgets.shared.docks import set_needs
from napari_rednet.widgets.shared.layers import first_pixel, layer_image
from napari_rednet.widgets.shared.style import ALIGNED_LABELS

_RECORD = "napari_rednet"
_SETTINGS = ("strength", "defects", "ensemble", "device")
_MOST_PLANES, _MOST_PIXELS = 8, 1024
NEEDS_PAIR = "Choose two image layers, before and after."
"""Tooltip and message while there is no pair to compare."""


def source_of(layer: Image | None, layers: Sequence[Image]) -> Image | None:
    """The layer that a result was made from, if it is still among `layers`."""
    name = _record(layer).get("source")
    named = [other for other in layers if other.name == name and other is not layer]
    return named[-1] if named else None


def noise_of(layer: Image | None) -> list[NoiseModel] | None:
    """The noise models, one per channel, that a layer was denoised with; None if it was not."""
    noise = _record(layer).get("noise")
    if not noise or _record(layer).get("verb") != "denoise":
        return None
    return [NoiseModel(**n) if isinstance(n, Mapping) else n for n in noise]


def channel_of(layer: Image | None) -> int | None:
    """The axis of channels, no colours, that a result was restored with; None without one."""
    axis: int | None = _record(layer).get("channel_axis")
    return axis


def along_of(layer: Image | None) -> int | None:
    """The axis of the planes that a result was restored together along; None without one."""
    axis: int | None = _record(layer).get("along")
    return axis


def crop_of(layer: Image | None) -> Crop | None:
    """The part of its source that a result is; None if it is all of it."""
    crop = _record(layer).get("crop")
    return None if crop is None else tuple(None if one is None else tuple(one) for one in crop)


def is_denoised(layer: Image) -> bool:
    """True if a layer was denoised, or nothing is known of its origin."""
    return bool(_record(layer).get("verb", "denoise") == "denoise")


def settings_of(layer: Image) -> dict[str, Any]:
    """Arguments of `denoise` that made a layer, without the noise and the axis of planes."""
    record = _record(layer)
    # Only the call names the path of a model that was read from a file.
    model = record.get("call", {}).get("arguments", {}).get("model", record.get("model", "fast"))
    return {"model": model, **{name: record[name] for name in _SETTINGS if name in record}}


def _record(layer: Image | None) -> Mapping[str, Any]:
    record: Mapping[str, Any] = {} if layer is None else layer.metadata.get(_RECORD, {})
    return record


@dataclass(frozen=True)
class ComparedPart:
    """A plane of an image, or all of it; nothing is read before it is asked for.

    `data` is the whole image; `index` is that of the plane, or empty for all planes.
    `channel_axis` is that of the part: -1 for colours, and else counted from the first axis.
    """

    data: Any
    index: tuple[int, ...]
    channel_axis: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        return tuple(self.data.shape[len(self.index) :])

    @property
    def array(self) -> Any:
        """The part as an array of the same type as `data`."""
        return self.data[self.index] if self.index else self.data

    @property
    def is_rgb(self) -> bool:
        """True if the channels are colours."""
        return self.channel_axis == -1

    def places(self) -> list[tuple[int, ...]]:
        """Up to 8 evenly spaced planes, each by its index."""
        behind = 3 if self.is_rgb else 2
        return [self.index] if self.index else _some([*np.ndindex(*self.data.shape[:-behind])])

    def middle(self, place: tuple[int, ...]) -> npt.NDArray[Any]:
        """At most 1024 x 1024 pixels in the middle of a plane."""
        return np.asarray(self.data[(*place, *self._window)])

    def with_neighbours(
        self, place: tuple[int, ...], axis: int, reach: int, *, whole: bool
    ) -> tuple[npt.NDArray[Any], int]:
        """A plane with so many before and after it along an axis, and which of them it is.

        If not `whole`, only the `middle` of each.
        """
        first, count = max(0, place[axis] - reach), self.data.shape[axis]
        planes = slice(first, min(count, place[axis] + reach + 1))
        index = (*place[:axis], planes, *place[axis + 1 :])
        window = () if whole else self._window
        return np.asarray(self.data[(*index, *window)]), place[axis] - first

    @property
    def _window(self) -> tuple[slice, ...]:
        rows, columns = self.data.shape[-3:-1] if self.is_rgb else self.data.shape[-2:]
        return _middle(rows), _middle(columns)

    def sample(self) -> tuple[npt.NDArray[Any], int | None]:
        """The middle of up to 8 evenly spaced planes, in memory, and its axis of channels.

        Of each, all channels are there, and at most 1024 x 1024 pixels.
        """
        axis = self.channel_axis
        behind = 3 if self.is_rgb else 2
        leading = list(self.shape[: len(self.shape) - behind])
        if axis is None or self.is_rgb:
            places: list[tuple[Any, ...]] = [*np.ndindex(*leading)]
        else:
            del leading[axis]
            places = [(*i[:axis], slice(None), *i[axis:]) for i in np.ndindex(*leading)]
        chosen = [np.asarray(self.data[(*self.index, *i, *self._window)]) for i in _some(places)]
        own = axis if axis is None or self.is_rgb else 0
        if not leading:
            return chosen[0], own
        return np.stack(chosen), 1 if own == 0 else own


def _some(places: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return evenly(places, _MOST_PLANES)


def _middle(length: int) -> slice:
    """At most 1024 pixels in the middle of an axis."""
    first = max((length - _MOST_PIXELS) // 2, 0)
    return slice(first, first + min(length, _MOST_PIXELS))


def part_of(
    layer: Image,
    viewer: Viewer,
    *,
    whole: bool,
    channel: int | None = None,
    crop: Crop | None = None,
) -> ComparedPart:
    """The shown plane of a layer, or all of its planes; `channel` is the axis of channels.

    With a `crop`, it is of no more than that.
    """
    image = layer_image(layer, crop, channel=channel)
    if whole:
        return ComparedPart(image.array, (), image.channel_axis)
    first = first_pixel(crop) or (0,) * layer.ndim
    counts = image.data.shape[: layer.ndim - 2]
    shown = zip(shown_index(layer, viewer), first, counts, strict=False)
    index = tuple(min(max(i - start, 0), n - 1) for i, start, n in shown)
    return ComparedPart(image.array, index, -1 if image.rgb else None)


def noise_of_part(layer: Image, part: ComparedPart) -> list[NoiseModel] | None:
    """The noise of a part of the result that a layer is: a single plane has that of its channel."""
    noise, axis = noise_of(layer), channel_of(layer)
    if noise is None or axis is None or not part.index or len(noise) == 1:
        return noise
    return [noise[part.index[axis]]]


def shown_index(layer: Image, viewer: Viewer) -> tuple[int, ...]:
    """Index of the plane that the sliders show, along all axes of a layer but Y and X."""
    world = np.array(viewer.dims.point)[-layer.ndim :]
    place = np.rint(layer.world_to_data(world)).astype(int)
    shape = layer_image(layer).data.shape[: layer.ndim]
    return tuple(int(np.clip(p, 0, n - 1)) for p, n in zip(place[:-2], shape[:-2], strict=True))


class PairControls(Container):
    """Choice of the layers before and after; choosing a result also chooses its source."""

    def __init__(self, layers: Callable[[], list[Image]]) -> None:
        super().__init__()
        self.native.setStyleSheet(ALIGNED_LABELS)
        self.margins = (0, 0, 0, 0)
        self._layers = layers
        self.before = ChoiceBox(
            name="before",
            label="Before",
            choices=lambda _: layers(),
            tooltip="The layer that was restored, or any other.",
        )
        self.after = ChoiceBox(
            name="after",
            label="After",
            choices=lambda _: layers(),
            tooltip="The result. The layer that it was made from is put under Before.",
        )
        self.swap = PushButton(text="Swap", tooltip="Exchange before and after.")
        self.extend([self.before, self.after, self.swap])
        self.after.changed.connect(self._find_source)
        self.swap.changed.connect(self._swap)
        self.choose_latest()

    @property
    def pair(self) -> tuple[Image, Image] | None:
        """Before and after; None unless two different layers are chosen."""
        before, after = self.before.value, self.after.value
        return None if before is None or after is None or before is after else (before, after)

    def offer(self, *, has_pair: bool) -> None:
        """Enable Swap if there is a pair."""
        set_needs(self.swap.native, NEEDS_PAIR, missing=not has_pair)

    def choose_latest(self, *_: Any) -> None:
        """Choose the latest result and its source, or else the two topmost layers."""
        self.reset_choices()
        layers = self._layers()
        results = [layer for layer in layers if source_of(layer, layers) is not None]
        if results:
            self.after.value = results[-1]
        elif len(layers) > 1:
            self.before.value, self.after.value = layers[-2:]
        self._find_source()

    def _find_source(self, *_: Any) -> None:
        source = source_of(self.after.value, self._layers())
        if source is not None:
            self.before.value = source

    def _swap(self) -> None:
        before, after = self.before.value, self.after.value
        # Signals are blocked, since choosing a result would choose its source as well.
        with self.before.changed.blocked(), self.after.changed.blocked():
            self.before.value, self.after.value = after, before
        self.changed.emit(self)
