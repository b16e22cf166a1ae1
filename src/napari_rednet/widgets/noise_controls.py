"""Controls that show a noise model for each channel, and let it be typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from magicgui.widgets import LineEdit, PushButton
from magicgui.widgets.bases import Widget

from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.widgets.controls import ChoiceBox

AUTOMATIC, MANUAL = "automatic", "manual"

_FIELDS = {
    "gain": ("Gain", "Image units per detected photon; empty or 0 for purely Gaussian noise."),
    "offset": ("Offset", "Image value without light (black level)."),
    "read_noise": ("Read noise", "Standard deviation without light, in image units."),
}
_WHEN_EMPTY = {"gain": 0.0, "offset": 0.0}


class NoiseControls:
    """How strong the noise is: estimated, or typed.

    Values that were estimated stay exact, though six digits are shown, until they are edited.
    """

    def __init__(self) -> None:
        self.mode = ChoiceBox(
            name="noise",
            label="Noise",
            choices=[AUTOMATIC, MANUAL],
            tooltip="automatic: estimated from the layer at every run. "
            "manual: the values below are used, e.g. those of another image of the same camera.",
        )
        self._channels: Sequence[str] = [""]
        self.channel = ChoiceBox(
            name="channel",
            label="Channel",
            choices=lambda _: self._channels,
            tooltip="Whose noise is shown below; every channel has its own.",
            visible=False,
        )
        self.fields = {
            name: LineEdit(name=name, label=label, tooltip=tooltip)
            for name, (label, tooltip) in _FIELDS.items()
        }
        self.estimate = PushButton(
            name="estimate",
            label="",
            text="Estimate noise",
            tooltip="Estimate the noise of the layer and show it above.",
        )
        self._values: list[dict[str, float | str]] = [dict.fromkeys(_FIELDS, "")]
        self._connect()
        self._show_mode()

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        return [self.mode, self.channel, *self.fields.values(), self.estimate]

    def models(self) -> list[NoiseModel] | None:
        """The typed noise of each channel; None if it is to be estimated.

        Raises
        ------
        ValueError
            If a field is empty that must not be, is no number, or is negative.
        """
        if self.mode.value == AUTOMATIC:
            return None
        return [
            NoiseModel(**{name: _number(name, value) for name, value in values.items()})
            for values in self._values
        ]

    def show(self, models: Sequence[NoiseModel]) -> None:
        """Show the noise of each channel."""
        self._values = [asdict(model) for model in models]
        self._show_values()

    def set_channels(self, names: Sequence[str]) -> None:
        """Adapt to another image. Typed values stay, since cameras do; estimates do not."""
        empty = self.mode.value == AUTOMATIC
        first = dict.fromkeys(_FIELDS, "") if empty else self._values[0]
        kept = [] if empty else self._values[: len(names)]
        self._values = kept + [dict(first) for _ in range(len(names) - len(kept))]
        self._channels = names
        self.channel.reset_choices()
        self.channel.visible = len(names) > 1
        self._show_values()

    def _connect(self) -> None:
        self.mode.changed.connect(self._show_mode)
        self.channel.changed.connect(self._show_values)
        for field in self.fields.values():
            field.changed.connect(self._take_typed)

    def _show_mode(self) -> None:
        automatic = self.mode.value == AUTOMATIC
        for name, field in self.fields.items():
            field.native.setReadOnly(automatic)
            when_empty = f"{_WHEN_EMPTY[name]:g}" if name in _WHEN_EMPTY else "type or estimate it"
            field.native.setPlaceholderText("estimated" if automatic else when_empty)

    @property
    def _current(self) -> dict[str, float | str]:
        return self._values[list(self.channel.choices).index(self.channel.value)]

    def _show_values(self) -> None:
        for name, field in self.fields.items():
            with field.changed.blocked():
                field.value = _text(self._current[name])

    def _take_typed(self) -> None:
        for name, field in self.fields.items():
            if field.value != _text(self._current[name]):
                self._current[name] = field.value


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _number(name: str, value: float | str) -> float:
    if value == "" and name in _WHEN_EMPTY:
        return _WHEN_EMPTY[name]
    try:
        return float(value)
    except ValueError:
        label = _FIELDS[name][0]
        hint = "press Estimate noise or type a number"
        raise ValueError(f"{label} must be a number, got {value!r}: {hint}") from None
