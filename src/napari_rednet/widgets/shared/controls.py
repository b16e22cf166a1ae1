"""Controls that the restoration windows share: layer, model, device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, Label, SpinBox
from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QAbstractItemModel, QEvent, QObject, Qt
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

from napari_rednet.options import OPTIONS, Choice, Number, Tick
from napari_rednet.provenance import Origin
from napari_rednet.widgets.shared import known_models
from napari_rednet.widgets.shared.layers import known_channels, layer_source, plane_axes
from napari_rednet.widgets.shared.worker import compute_in_background

if TYPE_CHECKING:
    from napari_rednet.models import ModelInfo

FROM_FILE = "from a file…"
NO_CHANNELS = -1
DEFAULT_MODEL, DEFAULT_DEVICE = "fast", "auto"
LOOKING = "Looking for models and devices…"
"""What windows say until they know them, which takes seconds when torch is imported."""
_SHOWN_LETTERS, _NARROWEST = 12, 90
_RESTORING = (
    "fast is a small network; larger ones say how much slower they are. "
    "Models of your own follow, or are chosen from a file."
)
_SLOWER = 1.5
_MARGIN = 2  # around the text, on which styles differ
_AROUND_LINES = 14  # napari pads texts
_LONG = 20  # letters; a narrow dock may have no room for more


@dataclass(frozen=True)
class Choices:
    """The choices on offer: (label, value) of models, and names of devices."""

    models: Sequence[tuple[str, str]]
    devices: Sequence[str]


def find_choices(task: str) -> Choices:
    """Find models and devices; the first call takes seconds, as it imports torch."""
    from napari_rednet.engine.network import available_devices

    found = known_models(task)
    fast = next((info for info in found if info.variant == DEFAULT_MODEL), None)
    models = [(_label(info, fast), info.variant) for info in found]
    return Choices(models, [DEFAULT_DEVICE, *available_devices()])


def _label(info: ModelInfo, fast: ModelInfo | None) -> str:
    """What a model does: its name, how much slower it is than `fast`, and whose it is."""
    mine = " (mine)" if info.origin == "user" else ""
    slower = 1.0 if fast is None else _cost(info) / _cost(fast)
    return f"{info.variant}{mine}" + (f": {slower:.0f} × slower" if slower > _SLOWER else "")


def _cost(info: ModelInfo) -> float:
    """Operations per pixel of a network, up to a factor."""
    return info.layers * (info.features / info.stride) ** 2


class ChoiceBox(ComboBox):
    """Combo box that keeps its value when the choices change, and shortens long texts.

    magicgui's keeps the text instead, so that renaming the chosen layer would choose another.
    """

    value: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.native.setMinimumContentsLength(_SHOWN_LETTERS)  # unless there is less room
        self.native.setMinimumWidth(_NARROWEST)
        self.native.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        ElidedMiddle(self.native)
        explain_long(self.native.model())

    def reset_choices(self, *_: Any) -> None:
        """Refresh the choices; called by napari when layers are added, removed or renamed."""
        chosen = self.value
        with self.changed.blocked():
            self.choices = ()  # or magicgui would put new ones last
            super().reset_choices()
            if chosen in self.choices:
                self.value = chosen
        explain_long(self.native.model())
        if self.value != chosen:
            self.changed.emit(self.value)


class ChannelChoice(ChoiceBox):
    """Choice of the axis of a layer that has channels; hidden where there is nothing to choose.

    `chosen` returns the layer, or None.
    """

    def __init__(self, chosen: Callable[[], Image | None]) -> None:
        self._chosen = chosen
        self._found: int | None = NO_CHANNELS
        super().__init__(
            name="channels",
            label="Channels",
            choices=self._offered,
            visible=False,
            tooltip="Which axis has channels: each has noise and defects of its own. The axes of "
            "the file say it first, if napari has opened the layer from one. All other axes (z, "
            "time) have planes that are alike.",
        )

    def begin(self) -> None:
        """Offer the axes of a newly chosen layer; choose the one that is known to have channels."""
        layer = self._chosen()
        self.reset_choices()
        known = None if layer is None else known_channels(layer)
        is_offered = known in self.choices
        self.value = self._found = known if is_offered else NO_CHANNELS
        has_choice = len(self.choices) > 1
        self.visible = has_choice
        if layer is not None and has_choice and not is_offered:
            source = layer_source(layer)
            if source.path is not None:
                compute_in_background(source.find_origin, partial(self._take_origin, layer))

    def axis_of(self, layer: Image) -> int | None:
        """The axis of a layer that has channels which are no colours."""
        chosen, axis = self._chosen(), self.value
        alike = layer is chosen or (chosen is not None and chosen.data.ndim == layer.data.ndim)
        is_there = alike and not layer.rgb and axis is not None and 0 <= axis < layer.ndim - 2
        return int(axis) if is_there else None

    def told(self) -> int | None:
        """The axis of channels, if the user and neither the file nor the layer has told it."""
        chosen = self._chosen()
        is_found = self.value == self._found
        return None if chosen is None or is_found else self.axis_of(chosen)

    def _offered(self, _: Any) -> list[tuple[str, int]]:
        return [("none", NO_CHANNELS), *((n, axis) for axis, n in plane_axes(self._chosen()))]

    def _take_origin(self, layer: Image, origin: Origin) -> None:
        axis = origin.channel_axis
        if not isalive(self.native) or layer is not self._chosen() or axis not in self.choices:
            return
        is_chosen = self.value != NO_CHANNELS
        self._found = axis
        if not is_chosen:
            self.value = axis


def fit_parts(edit: FileEdit) -> None:
    """Make the button of a file field narrow, and give both parts the field's tooltip."""
    edit.choose_btn.text = "…"
    edit.choose_btn.tooltip = edit.line_edit.tooltip = edit.tooltip


class ModelControls:
    """Choice of a model, by name or file, and of the device."""

    def __init__(self, label: str = "Model", tooltip: str = _RESTORING) -> None:
        self._choices = Choices([(DEFAULT_MODEL, DEFAULT_MODEL)], [DEFAULT_DEVICE])
        self.model = ChoiceBox(
            name="model",
            label=label,
            choices=lambda _: [*self._choices.models, (FROM_FILE, FROM_FILE)],
            tooltip=tooltip,
        )
        self.model_file = FileEdit(
            name="model_file",
            label="File",
            filter="*.safetensors",
            tooltip="A model file (.safetensors).",
            visible=False,
        )
        fit_parts(self.model_file)
        self.device = ChoiceBox(
            name="device",
            label="Device",
            choices=lambda _: self._choices.devices,
            tooltip="Where to compute. auto takes a GPU if there is one.",
        )
        self._wanted: dict[str, Any] = {}
        self.model.changed.connect(self._show_file)

    def want(self, parameters: Mapping[str, Any]) -> None:
        """Choose a remembered model and device as soon as they are offered."""
        self._wanted = {name: parameters.get(name) for name in ("model", "device")}
        self._choose_wanted()

    def offer(self, choices: Choices, model: str | None = None) -> None:
        """Show the available models and devices, and choose a model if one is named."""
        self._choices = choices
        self.model.reset_choices()
        self.device.reset_choices()
        self._choose_wanted()
        self._wanted = {}
        if model in self.model.choices:
            self.model.value = model

    def arguments(self) -> dict[str, str]:
        """The model (name or path) and the device; `ValueError`, for the user, without a file."""
        return {"model": self._name_or_path(), "device": self.device.value}

    def _name_or_path(self) -> str:
        if self.model.value != FROM_FILE:
            return str(self.model.value)
        path = str(self.model_file.value)
        if not path.endswith(".safetensors"):
            raise ValueError("choose a model file (.safetensors) under File, or another model")
        return path

    def _choose_wanted(self) -> None:
        for box in (self.model, self.device):
            if self._wanted.get(box.name) in box.choices:
                box.value = self._wanted[box.name]

    def _show_file(self) -> None:
        self.model_file.visible = self.model.value == FROM_FILE


def widen_unlabelled(container: Container) -> None:
    """Give rows without a label the whole width.

    magicgui puts a label before everything, here an empty one, and in a narrow dock with a large
    font there is no room for buttons beside it. What keeps its room while it is hidden does so in
    its row, which is hidden with it.
    """
    for row in container:
        parent = row.native.parentWidget()
        layout = parent.layout()
        if not row.label and layout is not container.native.layout():
            layout.itemAt(0).widget().hide()
            if row.native.sizePolicy().retainSizeWhenHidden():
                policy = parent.sizePolicy()
                policy.setRetainSizeWhenHidden(True)
                parent.setSizePolicy(policy)


class OptionControls(Mapping[str, ValueWidget]):
    """The controls that the table of options describes, by the names of the options.

    `defaults` are the options and their defaults; those without a control in the table are left
    out.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        rows = {name: row.control for name, row in OPTIONS.items() if name in defaults}
        self._rows = {name: control for name, control in rows.items() if control is not None}
        self._controls = {n: _control(n, c, defaults[n]) for n, c in self._rows.items()}

    def __getitem__(self, name: str) -> ValueWidget:
        return self._controls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._controls)

    def __len__(self) -> int:
        return len(self._controls)

    def arguments(self) -> dict[str, Any]:
        """The values of the controls, as arguments of the restoration functions."""
        return {name: self._argument(name) for name in self}

    def _argument(self, name: str) -> Any:
        row, value = self._rows[name], self[name].value
        return row.values[0 if value else 1] if isinstance(row, Tick) else value


def _control(name: str, row: Number | Choice | Tick, default: Any) -> ValueWidget:
    if isinstance(row, Tick):
        is_on = default == row.values[0]
        return CheckBox(name=row.name, label="", text=row.text, value=is_on, tooltip=row.tooltip)
    shared: dict[str, Any] = {"name": name, "label": row.label, "tooltip": row.tooltip}
    if isinstance(row, Choice):
        return ChoiceBox(choices=list(row.choices), value=default, **shared)
    kind = SpinBox if isinstance(row.step, int) else FloatSpinBox
    return kind(value=default, min=row.low, max=row.high, step=row.step, **shared)


def make_status(tooltip: str, lines: int = 0) -> Label:
    """Status line, hidden while it is empty; it keeps the room of some `lines` all the same."""
    status = Label(label="", tooltip=tooltip, visible=False)
    status.native.setWordWrap(True)
    policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    policy.setRetainSizeWhenHidden(bool(lines))
    status.native.setSizePolicy(policy)
    if lines:
        RoomForLines(status.native, lines)
        status.native.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    return status


class RoomForLines(QObject):
    """Event filter that keeps a text as high as some lines of it, whatever it says."""

    def __init__(self, text: QLabel, lines: int) -> None:
        super().__init__(text)
        self._lines = lines
        self._make_room(text)
        text.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Make room for larger letters; called by Qt."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.Polish, QEvent.Type.Show):
            self._make_room(watched)
        return False

    def _make_room(self, text: Any) -> None:
        metrics = text.fontMetrics()
        text.setMinimumHeight(self._lines * metrics.lineSpacing() + _AROUND_LINES)


def show_status(status: Label, text: str) -> None:
    """Set the text of a status line; an empty one hides it."""
    status.value = text
    status.visible = bool(text)


class CommonControls:
    """Controls of all tasks: the layer, the model, the simple options of a verb, the device."""

    def __init__(self, layers: Callable[..., list[Any]], defaults: Mapping[str, Any]) -> None:
        self.image = ChoiceBox(
            name="image",
            label="Image",
            choices=layers,
            tooltip="Layer to restore. All its planes (z, time) are restored, one by one.",
        )
        self._models = ModelControls()
        self.want = self._models.want
        self.model, self.model_file = self._models.model, self._models.model_file
        self.device = self._models.device
        self.option = OptionControls(defaults)

    @property
    def source(self) -> list[Widget]:
        """Controls of what is restored, and by which model."""
        return [self.image, self.model, self.model_file]

    @property
    def remembered(self) -> list[ValueWidget]:
        """The controls whose values are kept between sessions."""
        return [self.model, self.model_file, *self.option.values(), self.device]

    @property
    def computing(self) -> list[Widget]:
        """Controls of how it is computed."""
        return [*self.option.values(), self.device]

    def offer(self, choices: Choices, model: str | None = None) -> None:
        """Show the available models and devices, and choose a model if one is named."""
        self._models.offer(choices, model)

    def arguments(self) -> dict[str, Any]:
        """The values of the controls, as arguments of the restoration functions."""
        return {**self._models.arguments(), **self.option.arguments()}


class ElidedMiddle(QObject):
    """Event filter that elides the text of a combo box in its middle.

    Qt cuts off the end, which tells a result from its source. Open lists are elided by Qt.
    """

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Paint the elided text, and add the full one to the tooltip; called by Qt."""
        if not isinstance(watched, QComboBox):
            return False
        if event.type() == QEvent.Type.Paint:
            _paint(watched)
            return True
        name = watched.currentText()
        if event.type() != QEvent.Type.ToolTip or shown_text(watched) == name:
            return False
        QToolTip.showText(QCursor.pos(), f"{name}\n\n{watched.toolTip()}", watched)
        return True


def shown_text(box: QComboBox) -> str:
    """The text of a combo box, elided to the room for it."""
    control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
    room = box.style().subControlRect(control, _option(box), field, box).width() - _MARGIN
    middle = Qt.TextElideMode.ElideMiddle
    return str(box.fontMetrics().elidedText(box.currentText(), middle, room))


def explain_long(names: QAbstractItemModel) -> None:
    """Give long items of a list their text as tooltip."""
    for row in range(names.rowCount()):
        index = names.index(row, 0)
        name = str(index.data())
        if len(name) > _LONG:
            names.setData(index, name, Qt.ItemDataRole.ToolTipRole)


def _paint(box: QComboBox) -> None:
    option = _option(box)
    option.currentText = shown_text(box)
    painter = QStylePainter(box)
    painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
    painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def _option(box: QComboBox) -> QStyleOptionComboBox:
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    return option
