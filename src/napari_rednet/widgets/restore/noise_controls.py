"""Controls that show the noise model of each channel, and take typed values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from magicgui.widgets import Container, LineEdit, PushButton
from magicgui.widgets.bases import Widget

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.widgets.restore.noise_panel import NoisePanel
from napari_rednet.widgets.restore.paired_layers import WHOLE, Place, PlaceBox
from napari_rednet.widgets.shared.controls import ChoiceBox

if TYPE_CHECKING:
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
        self._levels: Sequence[NoiseLevels] | None = None
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
        return self._levels is not None

    def take_levels(self, levels: Sequence[NoiseLevels], *, instead_of_typed: bool = False) -> None:
        """Plot measured levels; show their fit in automatic mode, or if `instead_of_typed`."""
        self._levels = levels
        self._estimated = [asdict(one.fit()) for one in levels]
        if instead_of_typed or self.mode.value == AUTOMATIC:
            self._set_values(self._estimated)
        else:
            self._show_plot()

    def type_models(self, models: Sequence[NoiseModel]) -> None:
        """Show noise models as if typed; further channels get the first one."""
        typed: Values = [dict(asdict(model)) for model in models]
        self._typed = _for_channels(typed, len(self._channels))
        self.mode.value = MANUAL
        self._set_values(self._typed)

    def forget_levels(self) -> None:
        """Drop what was measured in another layer or place; typed values stay."""
        self._levels = self._estimated = None
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
        levels = None if self._levels is None else self._levels[self._channel_index]
        try:
            model = _model(self.channel.value, self._current)
        except ValueError as error:
            self.panel.show_noise(levels, None, str(error) if self.has_levels else "")
        else:
            self.panel.show_noise(levels, model)


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
