"""Controls that show and take the noise model of each channel; base of denoise and deblur."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, LineEdit, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Image, Shapes
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.widgets.restore.base import RestoreWidget
from napari_rednet.widgets.restore.jobs import plain
from napari_rednet.widgets.restore.noise_panel import NoisePanel
from napari_rednet.widgets.restore.paired_layers import (
    WHOLE,
    Place,
    PlaceBox,
    Region,
    find_region,
    measure_steps,
    places,
)
from napari_rednet.widgets.shared.controls import ChoiceBox
from napari_rednet.widgets.shared.docks import shown_errors
from napari_rednet.widgets.shared.layers import LayerImage
from napari_rednet.widgets.shared.persistence import Parameters
from napari_rednet.widgets.shared.style import import_plots
from napari_rednet.widgets.shared.worker import WorkerSteps

if TYPE_CHECKING:
    from napari_rednet.engine.channel import NoiseModel
    from napari_rednet.noise import NoiseLevels

AUTOMATIC, MANUAL = "automatic", "manual"
Values = list[dict[str, float | str]]
"""Fields of each channel: numbers if estimated, text if typed."""
_FIELDS = {
    "gain": ("Gain", "Image units per detected photon; empty or 0 for purely Gaussian noise."),
    "offset": (
        "Offset",
        "Image value without light (black level). Estimated is the darkest signal that was "
        "measured; Read noise is that at the offset.",
    ),
    "read_noise": ("Read noise", "Standard deviation of the noise at the offset, in image units."),
    "grain_y": (
        "Grain Y",
        "Size of the grain of the noise along Y in pixels; 0 if neighbouring pixels have noise of "
        "their own. Images that were resized, turned or filtered, and scanned ones, have grain.",
    ),
    "grain_x": ("Grain X", "The same along X."),
}
_WHEN_EMPTY = {"gain": 0.0, "offset": 0.0, "grain_y": 0.0, "grain_x": 0.0}
_MILLISECONDS = 50
_MEASURING = "Estimating noise of"


class NoiseControls:
    """Noise models, estimated or typed; typing a value chooses manual.

    Three digits of an estimate are shown, but it stays exact until it is edited. `places` returns
    (label, value) of where noise can be measured.
    """

    def __init__(self, places: Callable[[], list[tuple[str, Place]]]) -> None:
        self.mode = ChoiceBox(
            name="noise",
            label="Noise",
            choices=[AUTOMATIC, MANUAL],
            tooltip="automatic: estimated from the layer at every run. "
            "manual: the values below are used, e.g. those of another image of the same camera. "
            "Typing a value chooses manual.",
        )
        self._channels: Sequence[str] = [""]
        self.channel = ChoiceBox(
            name="channel",
            label="Channel",
            choices=lambda _: self._channels,
            tooltip="Whose noise is shown below; every channel has its own.",
            visible=False,
        )
        self.fields = make_noise_fields()
        self.place = PlaceBox(places)
        self.estimate = PushButton(
            name="estimate",
            label="",
            text="Estimate noise",
            tooltip="Estimate the noise of the layer and show it above.",
        )
        self.panel = NoisePanel(self.shown_models)
        self._values = _empty(1)
        self._estimated: Values | None = None
        self._typed: Values | None = None
        self._levels: dict[int, NoiseLevels] = {}
        self._is_measuring = False
        self._connect()
        self._show_mode()

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        buttons = Container(
            widgets=[self.estimate, self.panel.button], layout="horizontal", labels=False
        )
        buttons.margins = (0, 0, 0, 0)
        fields = self.fields.values()
        return [self.mode, self.channel, *fields, self.place, buttons, self.panel.box]

    def models(self) -> list[NoiseModel] | None:
        """Typed noise of each channel, None if automatic; `ValueError` if a field is invalid."""
        return None if self.mode.value == AUTOMATIC else self.shown_models()

    def shown_models(self) -> list[NoiseModel]:
        """Noise of each channel as shown; `ValueError` if a field is invalid."""
        named = zip(self._channels, self._values, strict=True)
        return [_model(channel, values) for channel, values in named]

    def show(self, models: Sequence[NoiseModel]) -> None:
        """Show noise models, one per channel; in manual mode they count as typed."""
        self._set_values([asdict(model) for model in models])

    @property
    def has_levels(self) -> bool:
        """True if the noise of the layer has been measured."""
        return bool(self._levels)

    def take_levels(
        self, levels: Mapping[int, NoiseLevels], *, instead_of_typed: bool = False
    ) -> None:
        """Plot levels measured in some channels.

        Their fit is shown in automatic mode, or if it comes `instead_of_typed`.
        """
        self._levels |= levels
        self._estimated = self._estimated or _empty(len(self._channels))
        for channel, one in levels.items():
            self._estimated[channel] = asdict(one.fit())
        if instead_of_typed or self.mode.value == AUTOMATIC:
            self._set_values(self._estimated)
        else:
            self._show_plot()

    def show_measuring(self, *, is_measuring: bool) -> None:
        """Say in the panel that noise is being measured, or no longer."""
        self._is_measuring = is_measuring
        self._show_plot()

    def take_estimate(self, models: Mapping[int, NoiseModel]) -> None:
        """Show what was estimated in some channels on the way, until there are levels to plot."""
        if self._levels or self.mode.value != AUTOMATIC:
            return
        self._estimated = self._estimated or _empty(len(self._channels))
        for channel, model in models.items():
            self._estimated[channel] = asdict(model)
        self._set_values(self._estimated)

    def type_models(self, models: Sequence[NoiseModel]) -> None:
        """Show noise models as if typed; further channels get the first one."""
        typed: Values = [dict(asdict(model)) for model in models]
        self._typed = _for_channels(typed, len(self._channels))
        self.mode.value = MANUAL
        self._set_values(self._typed)

    def forget_levels(self) -> None:
        """Drop what was measured in another layer or place; typed values stay."""
        self._levels, self._estimated = {}, None
        if self.mode.value == AUTOMATIC:
            self._set_values(_empty(len(self._channels)))
        else:
            self._show_values()

    def set_channels(self, names: Sequence[str]) -> None:
        """Adapt to another image: typed values stay, as cameras do; estimates are dropped."""
        self._channels = names
        self._values = _for_channels(self._values, len(names))
        if self._typed is not None:
            self._typed = _for_channels(self._typed, len(names))
        self.channel.reset_choices()
        self.channel.visible = len(names) > 1
        self.place.reset_choices()
        self.forget_levels()

    # Events --------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.mode.changed.connect(self._change_mode)
        self.channel.changed.connect(self._show_values)
        self.place.changed.connect(self._show_place)
        self.panel.button.changed.connect(self._open_or_close)
        for field in self.fields.values():
            field.changed.connect(self._take_typed)

    def _change_mode(self) -> None:
        """Show the estimates, or the typed values again, if there are any."""
        if self.mode.value == AUTOMATIC:
            self._typed = self._values if _is_typed(self._values) else None
            self._set_values(self._estimated or _empty(len(self._channels)))
        elif self._typed is not None:
            self._set_values(self._typed)
        self._show_mode()

    def _take_typed(self) -> None:
        for name, field in self.fields.items():
            if field.value != _text(self._current[name]):
                self._current[name] = field.value
        if self.mode.value == AUTOMATIC:
            self._typed = self._values
            self.mode.value = MANUAL
        self._show_plot()

    def _open_or_close(self) -> None:
        self._show_place()
        self._show_plot()

    # What is shown -------------------------------------------------------------------------

    @property
    def _channel_index(self) -> int:
        return list(self.channel.choices).index(self.channel.value)

    @property
    def _current(self) -> dict[str, float | str]:
        return self._values[self._channel_index]

    def _set_values(self, values: Values) -> None:
        self._values = [dict(one) for one in values]
        self._show_values()

    def _show_values(self) -> None:
        for name, field in self.fields.items():
            text = _text(self._current[name])
            if field.value != text:  # or the cursor would jump while users type
                with field.changed.blocked():
                    field.value = text
        self._show_plot()

    def _show_mode(self) -> None:
        if self.mode.value == AUTOMATIC:
            for field in self.fields.values():
                field.native.setPlaceholderText("estimated")
        else:
            show_what_empty_means(self.fields, "type or estimate it")

    def _show_place(self) -> None:
        """Hide the place with the plot, unless it is not the default and so has an effect."""
        self.place.visible = self.panel.is_open or self.place.value != WHOLE

    def _show_plot(self) -> None:
        levels = self._levels.get(self._channel_index)
        try:
            model = _model(self.channel.value, self._current)
        except ValueError as error:
            problem = str(error) if self.has_levels else ""
            self.panel.show_noise(levels, None, problem, is_measuring=self._is_measuring)
        else:
            self.panel.show_noise(levels, model, is_measuring=self._is_measuring)


def make_noise_fields() -> dict[str, LineEdit]:
    """A field for each number of a noise model."""
    return {
        name: LineEdit(name=name, label=label, tooltip=tooltip)
        for name, (label, tooltip) in _FIELDS.items()
    }


def show_what_empty_means(fields: Mapping[str, LineEdit], otherwise: str) -> None:
    """Say in empty fields what they are taken for, or what is to be done."""
    for name, field in fields.items():
        known = name in _WHEN_EMPTY
        field.native.setPlaceholderText(f"{_WHEN_EMPTY[name]:g}" if known else otherwise)


def noise_of_fields(fields: Mapping[str, LineEdit]) -> NoiseModel:
    """The noise model that was typed.

    Raises
    ------
    ValueError
        In words for the user, if a field is empty that must not be, is no number, or is negative.
    """
    return _model("", {name: field.value for name, field in fields.items()})


def _empty(channels: int) -> Values:
    return [dict.fromkeys(_FIELDS, "") for _ in range(channels)]


def _for_channels(values: Values, count: int) -> Values:
    """Values for `count` channels; further ones are copies of the first."""
    return values[:count] + [dict(values[0]) for _ in range(count - len(values))]


def _is_typed(values: Values) -> bool:
    return any(value != "" for one in values for value in one.values())


def _text(value: float | str) -> str:
    """Typed text as it is; a number with three digits, since no more are known of noise."""
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _model(channel: str, values: dict[str, float | str]) -> NoiseModel:
    return NoiseModel(**{name: _number(name, channel, value) for name, value in values.items()})


def _number(name: str, channel: str, value: float | str) -> float:
    if value == "" and name in _WHEN_EMPTY:
        return _WHEN_EMPTY[name]
    try:
        return float(value)
    except ValueError:
        label = _FIELDS[name][0] + (f" of {channel}" if channel else "")
        hint = "press Estimate noise or type a number"
        raise ValueError(f"{label} must be a number, got {value!r}: {hint}") from None


class NoiseAwareWidget(RestoreWidget):
    """Estimates the noise, or takes typed values; subclasses override `prepare`."""

    def extra_controls(self) -> list[Widget]:
        """The noise, the strength and the dtype."""
        # The levels that the noise models of the last run were fitted to.
        self._behind: dict[NoiseModel, NoiseLevels] = {}
        self.noise = NoiseControls(self._places)
        self.runs.starters.append(self.noise.estimate)
        self.noise.estimate.changed.connect(self._estimate)
        self.noise.place.changed.connect(self._measure_again)
        self.noise.panel.button.changed.connect(self._measure_if_open)
        self.viewer.dims.events.point.connect(self._follow_slice)
        self.extent.channels.changed.connect(self._change_channels)
        self.preview.on_noise = self.noise.take_estimate
        # Debounced: a closing viewer removes its layers one by one, each a change to measure.
        self._soon = QTimer(self.native)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_MILLISECONDS)
        self._soon.timeout.connect(self._measure_if_open)
        self.viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()
        return self.noise.widgets

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """Also the noise: None or a `Region` if it is to be estimated; colours keep their dtype."""
        arguments = super().arguments_for(layer)
        if layer is not None and layer.rgb:
            arguments["dtype"] = None
        models = self.noise.models()
        return {**arguments, "noise": self._region(layer) if models is None else models}

    def parameters(self) -> dict[str, Any]:
        """Also typed noise, and where it is measured; estimates belong to their image."""
        noise = plain(self.noise.models())
        return {**super().parameters(), "place": self.noise.place.wanted, "noise": noise}

    def set_parameters(self, parameters: Parameters) -> None:
        """Also the noise."""
        super().set_parameters(parameters)
        self.noise.place.want(parameters.get("place"))
        models = _as_models(parameters.get("noise"))
        if models:
            self.noise.type_models(models)
        else:
            self.noise.mode.value = AUTOMATIC

    def start(
        self,
        make_steps: Callable[[], WorkerSteps],
        doing: str,
        take: Callable[..., None],
        follow: Callable[[Any], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Also say in the panel that noise is measured, if it is."""

        def end() -> None:
            if isalive(self.native):
                self.noise.show_measuring(is_measuring=False)
            if on_end is not None:
                on_end()

        self.noise.show_measuring(is_measuring=doing == _MEASURING or self.noise.models() is None)
        super().start(make_steps, doing, take, follow, end)

    def layer_changed(self, image: LayerImage | None) -> None:
        """Show a noise model for each channel."""
        self.noise.set_channels([""] if image is None else image.channels)
        self._soon.start()

    def _change_channels(self) -> None:
        self.layer_changed(self.selected())

    def complete(self, image: LayerImage, arguments: Mapping[str, Any]) -> WorkerSteps:
        """Measure the noise in the region, if there is one."""
        noise = arguments["noise"]
        if not isinstance(noise, Region):
            return (yield from super().complete(image, {**arguments, "noise": _of(image, noise)}))
        levels = yield from measure_steps(image, noise)
        return {**arguments, "noise": [one.fit() for one in levels]}

    def steps(self, image: LayerImage, *, noise: Any = None, **arguments: Any) -> WorkerSteps:
        """Restore, after estimating the noise if it is not given."""
        if noise is None or isinstance(noise, Region):
            yield "Measuring the noise…"
            levels = yield from measure_steps(image, noise or Region())
            noise = [one.fit() for one in levels]
            self._behind = dict(zip(noise, levels, strict=True))
            told = {"uneven": _uneven_words(image)}
        else:
            told = {}
        noise = _of(image, noise)
        restored, used = yield from super().steps(image, noise=noise, **arguments)
        return restored, {"noise": noise, **told, **used}

    def show_used(self, used: dict[str, Any], channels: range) -> None:
        """Show the estimated noise."""
        behind, models = self._behind, used["noise"]
        if all(model in behind for model in models):
            found = [behind[model] for model in models]
            self.noise.take_levels(dict(zip(channels, found, strict=True)))

    def known_used(self) -> dict[str, Any]:
        """The noise measured in a place, which copied code cannot refer to."""
        if self.noise.models() is not None:
            return {}
        layer = self.common.image.value
        is_part = layer is not None and self.extent.image(layer).whole is not None
        if self.noise.place.value == WHOLE and not is_part:
            return {}
        if not self.noise.has_levels:
            raise ValueError("press Estimate noise first: the code will name what is measured")
        return {"noise": self.noise.shown_models()}

    # Measuring -----------------------------------------------------------------------------

    def _estimate(self) -> None:
        self._measure(self._take_estimate)

    def _take_estimate(self, levels: list[NoiseLevels]) -> None:
        self.noise.take_levels(dict(enumerate(levels)), instead_of_typed=True)
        self.preview.parameters_changed()

    def _measure_if_open(self) -> None:
        if not self.noise.panel.is_open or self.noise.has_levels:
            return
        if self.is_running:
            self._soon.start()  # later, as the present run may measure it
        else:
            self._measure(lambda levels: self.noise.take_levels(dict(enumerate(levels))))

    def _measure_again(self) -> None:
        self.noise.forget_levels()
        self._soon.start()

    def _measure(self, take: Callable[[list[NoiseLevels]], None]) -> None:
        image, layer, asked = self.selected(), self.common.image.value, self._asked
        if image is None:
            return

        def take_if_still_asked(levels: list[NoiseLevels]) -> None:
            if self._asked == asked:
                take(levels)

        prepare = import_plots if self.noise.panel.is_open else None
        with shown_errors():
            steps = partial(measure_steps, image, self._region(layer) or Region(), prepare)
            self.start(steps, _MEASURING, take_if_still_asked)

    @property
    def _asked(self) -> tuple[Image | None, Place, Any]:
        """The layer, the place and the axis of channels whose noise is asked for."""
        return self.common.image.value, self.noise.place.value, self.extent.channels.value

    def _follow_slice(self) -> None:
        if self.preview.is_on and self.noise.place.value.shown_only:
            self.preview.parameters_changed()

    def _places(self) -> list[tuple[str, Place]]:
        shapes = [layer for layer in self.viewer.layers if isinstance(layer, Shapes)]
        return places(self.common.image.value, shapes)

    def _region(self, layer: Image | None) -> Region | None:
        """The region to measure noise in; None for the whole layer."""
        place = self.noise.place.value
        if place == WHOLE or layer is None:
            return None
        return find_region(place, layer, self.viewer.dims.point)

    def _follow_theme(self) -> None:
        if isalive(self.noise.panel.plot):
            self.noise.panel.plot.set_theme(self.viewer.theme)


def _of(image: LayerImage, models: Sequence[NoiseModel] | None) -> Sequence[NoiseModel] | None:
    """The noise of the channels of an image, of that of all channels of its layer."""
    numbers = image.channel_numbers
    if models is None or len(models) in (1, len(numbers)):
        return models
    return [models[i] for i in numbers]


def _uneven_words(image: LayerImage) -> str:
    """A sentence on planes whose noise differs as that of channels does; empty if it does not."""
    from napari_rednet.restoration.noise_estimate import find_uneven_noise

    found = find_uneven_noise(image.array, channel_axis=image.channel_axis)
    if found is None:
        return ""
    said = str(found)
    return f"{said[0].upper()}{said[1:]}: choose it under Channels if it has channels."


def _as_models(noise: Any) -> list[NoiseModel]:
    """Noise models from remembered values; none if these are not valid."""
    from napari_rednet.engine.channel import NoiseModel

    try:
        return [NoiseModel(**level) for level in noise or ()]
    except (TypeError, ValueError):
        return []
