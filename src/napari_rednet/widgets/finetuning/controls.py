"""The controls of fine-tuning: images, task, base model, method, length and name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from magicgui.widgets import Container, FloatSpinBox, LineEdit, Select, SpinBox
from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QSizePolicy

from napari_rednet.tasks import TASKS, VERBS
from napari_rednet.widgets.shared.controls import (
    FROM_FILE,
    LOOKING,
    ChannelChoice,
    ChoiceBox,
    Choices,
    ModelControls,
    explain_long,
)
from napari_rednet.widgets.shared.layers import layer_image

_METHODS = {
    "paired": "pairs with the target",
    "clean": "the clean target alone",
    "pseudo-clean": "restored images",
}
_WAYS = {
    "paired": "Learns from pairs: an image and its clean target (supervised, as CARE does).",
    "clean": "Learns from clean images, which it makes noisy itself (simulated noise).",
    "pseudo-clean": "Learns from noisy images alone: what the base model makes of them counts as "
    "clean (self-training).",
}
_FROM_GOOD = "Learns from good images, which it makes worse itself."
TAKES_TARGETS = ("denoise", "deblock")
LABELS = MappingProxyType({task: VERBS[task].label for task in TASKS})
"""For each task, the name of the window that restores with its models."""
MINUTES, STEPS = "minutes", "steps"
_LIST_ROWS = 3.5
_LONGEST_NAME = 40
_NARROWEST = 66
# As wide as the longest, Channels: those of other windows would be too wide for a narrow dock here.
_LABELS = "QLabel { min-width: 4.8em; }"


@dataclass(frozen=True)
class ChosenLayers:
    """The chosen task, images and target; the target is None if there is none."""

    task: str
    images: Sequence[Image]
    target: Image | None


def find_way(chosen: ChosenLayers, method: str | None) -> tuple[str, bool]:
    """Text on the learning method or on what is missing, and True if fine-tuning is possible."""
    problem = _find_problem(chosen)
    if problem:
        return problem, False
    if "torch" not in sys.modules:
        return LOOKING, False  # it is being imported in the background
    try:
        way = _choose(chosen, method)
    except ValueError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}.", False
    from_good = way == "clean" and chosen.task != "denoise"
    return (_FROM_GOOD if from_good else _WAYS[way]), True


def possible_methods(chosen: ChosenLayers) -> list[tuple[str, str | None]]:
    """(label, method) for "automatic" and, if there are several, for all methods that fit."""
    is_known = "torch" in sys.modules
    possible = [(text, m) for m, text in _METHODS.items() if is_known and _is_possible(chosen, m)]
    return [("automatic", None), *(possible if len(possible) > 1 else [])]


def _find_problem(chosen: ChosenLayers) -> str:
    if not chosen.images and chosen.target is None:
        return "Choose one or several image layers."
    if chosen.target in chosen.images:
        return "The target is among the images: click it in the list to take it out."
    if chosen.target is not None and len(chosen.images) > 1:
        return "A target goes with one image: choose one, or merge them to stacks."
    return ""


def _choose(chosen: ChosenLayers, method: str | None) -> str:
    from napari_rednet.finetuning import choose_method

    has_images, has_target = bool(chosen.images), chosen.target is not None
    return choose_method(chosen.task, method, images=has_images, targets=has_target)


def _is_possible(chosen: ChosenLayers, method: str) -> bool:
    try:
        _choose(chosen, method)
    except ValueError:
        return False
    return True


class LayerList(Select):
    """A list of layers; a click selects or deselects a layer."""

    value: Any
    choices: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.native.setSelectionMode(QAbstractItemView.SelectionMode.MultiSelection)
        row = self.native.fontMetrics().height() + 4
        self.native.setFixedHeight(round(_LIST_ROWS * row))
        # Long names are shortened, so that they do not widen the dock.
        self.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.native.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.native.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def reset_choices(self, *_: Any) -> None:
        """Refresh the list and keep the selection; select the first layer if the list was empty."""
        was_empty, chosen = not self.choices, self.value
        with self.changed.blocked():
            self.choices = ()  # magicgui keeps choices by text: renamed layers would move
            super().reset_choices()
            kept = [layer for layer in chosen if layer in self.choices]
            self.value = list(self.choices[:1]) if was_empty else kept
        explain_long(self.native.model())
        if self.value != chosen:
            self.changed.emit(self.value)


class FineTuneControls(Container):
    """The controls of fine-tuning; `layers` returns the image layers to choose from."""

    def __init__(self, layers: Callable[[], list[Image]]) -> None:
        super().__init__()
        # magicgui measures labels without napari's larger font; this aligns the fields.
        self.native.setStyleSheet(_LABELS)
        self.margins = (0, 0, 0, 0)
        self._suggested = ""
        self._make_sources(layers)
        self._make_model()
        self._make_length()
        self.extend([self.images, self.target, self.channels, self.task])
        self.extend([self.model, self.model_file])
        self.extend([self.method, self.length, self.device, self.model_name])
        self.native.layout().addStretch()
        self._connect()
        self._show()

    # What they say -------------------------------------------------------------------------

    @property
    def layers(self) -> list[Image]:
        """All layers to learn from, the target included."""
        target = self._chosen_target
        return [*self.images.value, *([] if target is None else [target])]

    @property
    def way(self) -> str:
        """Text on how the model will learn, or on what is missing."""
        return find_way(self._chosen_layers, self.method.value)[0]

    @property
    def fits(self) -> bool:
        """True if the choices allow fine-tuning."""
        return find_way(self._chosen_layers, self.method.value)[1]

    def arguments(self) -> dict[str, Any]:
        """Arguments of `prepare_fine_tuning`; a `ValueError` is worded for the user."""
        from napari_rednet.models.registry import check_name

        target = self._chosen_target
        in_steps = self.unit.value == STEPS
        return {
            "images": _arrays(self.images.value),
            "targets": None if target is None else _arrays([target]),
            "channel_axis": self._channel_axis(),
            "task": self.task.value,
            **self._models.arguments(),
            "method": self.method.value,
            "minutes": self.minutes.value,
            "steps": self.steps.value if in_steps else None,
            "name": check_name(self.model_name.value.strip()),
        }

    def offer(self, choices: Choices) -> None:
        """Show the available models and devices."""
        self._models.offer(choices)
        self._show()

    def set_theme(self, name: str) -> None:
        """Highlight chosen layers in the colour of napari's own layer list."""
        colour = get_theme(name).current
        style = f"QListWidget::item:selected {{ background-color: {colour}; }}"
        self.images.native.setStyleSheet(style)

    def reset_choices(self, *_: Any) -> None:
        """Refresh the layer choices."""
        super().reset_choices()
        self._show()

    @property
    def _chosen_layers(self) -> ChosenLayers:
        return ChosenLayers(self.task.value, self.images.value, self._chosen_target)

    @property
    def _chosen_target(self) -> Image | None:
        return self.target.value if self.task.value in TAKES_TARGETS else None

    def _channel_axis(self) -> int | None:
        axes = {
            layer_image(layer, channel=self.channels.axis_of(layer)).channel_axis
            for layer in self.layers
        }
        if len(axes) > 1:
            raise ValueError("some of the layers have channels and some have none; choose either")
        return axes.pop()

    # The window ----------------------------------------------------------------------------

    def _make_sources(self, layers: Callable[[], list[Image]]) -> None:
        self.images = LayerList(
            name="images",
            label="Images",
            choices=lambda _: layers(),
            tooltip="Layers to learn from; click to choose one or several. Noisy images will do. "
            "For other tasks than denoising: good images.",
        )
        self.target = ChoiceBox(
            name="target",
            label="Target",
            choices=lambda _: [("(none)", None), *((layer.name, layer) for layer in layers())],
            tooltip="A clean image of the same scene, of the same shape, if there is one. "
            "Without images, denoising learns from it alone. A second noisy frame as the target "
            "(Noise2Noise) teaches little: choose it among the images instead.",
        )
        self.task = ChoiceBox(
            name="task",
            label="Task",
            choices=[(label, task) for task, label in LABELS.items()],
            tooltip="What the new model is for.",
        )
        self.channels = ChannelChoice(lambda: next(iter(self.layers), None))
        self._layer: Image | None = None

    def _make_model(self) -> None:
        self._models = ModelControls("Base", "The model to start from.")
        self.model, self.model_file = self._models.model, self._models.model_file
        self.device = self._models.device
        self.method = ChoiceBox(
            name="method",
            label="Method",
            choices=lambda _: possible_methods(self._chosen_layers),
            tooltip="How to learn. automatic takes what suits the images; the others are for "
            "those who know better.",
        )

    def _make_length(self) -> None:
        self.minutes = FloatSpinBox(
            value=10, min=0.1, max=10_000, step=1, tooltip="How many minutes to learn."
        )
        self.steps = SpinBox(
            value=2000, min=1, max=10_000_000, step=100, tooltip="How many steps to learn."
        )
        self.minutes.native.setDecimals(1)
        self.unit = ChoiceBox(
            choices=[("min", MINUTES), ("steps", STEPS)],
            tooltip="Whether minutes or steps are counted. It can be stopped at any time.",
        )
        self.unit.native.setMinimumContentsLength(len(STEPS))
        for part in (self.minutes, self.steps, self.unit):
            part.native.setMinimumWidth(_NARROWEST)
        self.length = Container(
            label="Length",
            widgets=[self.minutes, self.steps, self.unit],
            layout="horizontal",
            labels=False,
        )
        self.length.margins = (0, 0, 0, 0)
        self.model_name = LineEdit(
            name="model_name",
            label="Name",
            tooltip="What the new model will be called in the lists of models.",
        )

    def _connect(self) -> None:
        for control in (self.images, self.target, self.task, self.model, self.method, self.unit):
            control.changed.connect(self._show)
        for box in (self.target, self.method):
            box.native.currentIndexChanged.connect(partial(_tell_none, box))

    def _show(self, *_: Any) -> None:
        """Show the controls that apply to the current choices."""
        is_in_steps = self.unit.value == STEPS
        self.target.visible = self.task.value in TAKES_TARGETS
        self.minutes.visible, self.steps.visible = not is_in_steps, is_in_steps
        first = next(iter(self.layers), None)
        if first is not self._layer:
            self._layer = first
            self.channels.begin()
        self.method.reset_choices()
        self.method.visible = len(self.method.choices) > 1
        self._suggest_name()

    def _suggest_name(self) -> None:
        """Name the model after the first layer and the base model, unless a name was typed."""
        if self.model_name.value != self._suggested:
            return
        first = self.layers[0].name if self.layers else "mine"
        base = "tuned" if self.model.value == FROM_FILE else str(self.model.value)
        words = re.sub(r"[^\w-]+", " ", first)[:_LONGEST_NAME].strip(" -") or "mine"
        self._suggested = f"{words}-{base}"[: _LONGEST_NAME + 15]
        self.model_name.value = self._suggested
        self.model_name.native.setCursorPosition(0)  # show the beginning of long names


def _tell_none(box: ChoiceBox, *_: Any) -> None:
    """Emit `changed` for the choice None ("(none)" or "automatic"), which magicgui does not."""
    if box.value is None:
        box.changed.emit(None)


def _arrays(layers: list[Image]) -> list[Any] | None:
    """Full-resolution arrays of layers, without alpha; None if there are no layers."""
    return [layer_image(layer).array for layer in layers] or None
