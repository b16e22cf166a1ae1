"""Controls that choose a point spread function: generated, or an image layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from magicgui.widgets import FloatSpinBox
from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Layer

from napari_rednet import psf
from napari_rednet.psf import Microscope
from napari_rednet.widgets.shared.controls import ChoiceBox, make_status, show_status
from napari_rednet.widgets.shared.layers import LayerSource, full_resolution, layer_source

LAYER = "image layer"
_MASS, _MIDDLE = "centre of mass", "middle of the layer"
_CENTERS = {"mass": f"“{_MASS}” under Centre", "array": f"“{_MIDDLE}” under Centre"}
# Pixels; larger layers are images, not PSFs.
_LARGEST = 1024**2
_APERTURE = ("Aperture", 1.2, "Numerical aperture of the objective.")
_PIXEL, _STEP = "Pixel size", "Z step"
_SIDE = (_PIXEL, 0.1, "Side of a pixel in the sample, in µm: that of the layer, if it tells.")
_LENGTHS = [
    _SIDE,
    (_STEP, 0.3, "Distance of the planes, in µm: that of the layer, if it tells."),
    ("Index", 1.33, "Refractive index of the immersion medium: 1.33 water, 1.515 oil."),
]
_EMISSION = ("Wavelength", 0.52, "Of the emitted light, in µm.")
PLANES, VOLUMES = "Gaussian", "widefield, z-stack"
"""The kinds for layers that nothing else is known of: without z, and with distances of planes."""
# For each kind: the function, and label, default and tooltip of each argument.
_GENERATED: dict[str, tuple[Callable[..., Any], list[tuple[str, float, str]]]] = {
    PLANES: (psf.gaussian, [("Width", 1.6, "Standard deviation in pixels.")]),
    "disk (out of focus)": (psf.disk, [("Radius", 3.0, "In pixels.")]),
    "motion": (
        psf.motion,
        [("Length", 10.0, "In pixels."), ("Angle", 0.0, "In degrees, from the horizontal.")],
    ),
    "widefield": (
        psf.widefield,
        [("Aperture", 1.4, "Numerical aperture of the objective."), _EMISSION, _SIDE],
    ),
    VOLUMES: (psf.widefield3d, [_APERTURE, _EMISSION, *_LENGTHS]),
    "confocal, z-stack": (
        psf.confocal3d,
        [
            _APERTURE,
            _EMISSION,
            ("Excitation", 0.488, "Wavelength of the exciting light, in µm."),
            *_LENGTHS,
            ("Pinhole", 1.0, "Diameter in Airy units."),
        ],
    ),
}

_OF_VOLUMES = [kind for kind, (make, _) in _GENERATED.items() if make.__name__.endswith("3d")]


@dataclass(frozen=True)
class ChosenPsf:
    """A point spread function, a (Y, X) array, and where it comes from.

    `made_by` is the name of a function of `napari_rednet.psf`, called with `values`, or a layer.
    `center` tells where in the array the point is.
    """

    array: Any
    made_by: str | LayerSource
    values: tuple[float, ...] = ()
    center: psf.Center = "array"

    def record(self) -> dict[str, Any]:
        """The PSF in JSON types."""
        if isinstance(self.made_by, LayerSource):
            return asdict(self.made_by.find_origin())
        return {"function": self.made_by, "values": list(self.values)}


class PsfControls:
    """Choice of a PSF, generated or from a layer; `generated` is the generated kind chosen last.

    `wanted` is the one that was chosen last by the user, or remembered. `fit` chooses a kind that
    suits a layer, unless the user has chosen one since `begin`.
    """

    def __init__(self, layers: Callable[..., list[Any]]) -> None:
        self.kind = ChoiceBox(
            name="psf",
            label="Blur",
            choices=[*_GENERATED, LAYER],
            tooltip="Shape of the blur; an image layer may hold a measured one, e.g. of a bead. "
            "Those of a z-stack deblur volumes instead of planes.",
        )
        self.values = {kind: _boxes(kind) for kind in _GENERATED}
        self.layer = ChoiceBox(
            name="psf_layer",
            label="PSF layer",
            choices=layers,
            tooltip="Layer with the image of a point, a plane or a z-stack; its background should "
            "be 0.",
        )
        # Centre of mass first: a bead that was cut out by hand may lie anywhere.
        self.center = ChoiceBox(
            name="center",
            label="Centre",
            choices=[(_MASS, "mass"), (_MIDDLE, "array")],
            tooltip="Where in the layer the point is. Beads that were cut out by hand lie "
            "anywhere; kernels of other programs have it in the middle.",
        )
        self.remark = make_status("What to know about this PSF.")
        self.generated = self.wanted = self.kind.value
        self._is_free, self._is_own = False, False
        self.kind.changed.connect(self._show_kind)
        for box in chain(*self.values.values()):
            box.changed.connect(self._note_choice)
        for control in (self.layer, self.center):
            control.changed.connect(self._show_remark)
        self._show_kind()

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        return [*self.remembered, self.remark]

    @property
    def remembered(self) -> list[ValueWidget]:
        """The controls whose values are kept between sessions."""
        return [self.kind, *chain(*self.values.values()), self.layer, self.center]

    def show(self, *, is_used: bool) -> None:
        """Show the controls, or hide all where there is no blur to undo."""
        for control in self.widgets:
            control.visible = is_used and control is self.kind
        if is_used:
            self._show_kind()

    def chosen(self) -> Any:
        """The layer, or the kind and its values."""
        kind = self.kind.value
        return self.layer.value if kind == LAYER else (kind, *self._values(kind))

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer; None chooses the last generated kind."""
        with self._own_choice():
            if layer is None:
                self.kind.value = self.generated
            else:
                self.layer.value, self.kind.value = layer, LAYER

    def begin(self) -> None:
        """What is chosen now is no choice of the user's, as what is remembered of the last run."""
        self._is_free = True

    def fit(self, sizes: Mapping[str, float]) -> None:
        """Take the sizes of the pixels, in µm, that a layer tells along X and Z, and what suits."""
        told = {_PIXEL: sizes.get("X"), _STEP: sizes.get("Z")}
        with self._own_choice():
            for box in chain(*self.values.values()):
                size = told.get(box.label)
                if size is not None:
                    box.value = size
            suits = (self.generated in _OF_VOLUMES) == ("Z" in sizes)
            if self._is_free and self.kind.value != LAYER and not suits:
                self.kind.value = VOLUMES if "Z" in sizes else PLANES

    @contextmanager
    def _own_choice(self) -> Iterator[None]:
        self._is_own = True
        try:
            yield
        finally:
            self._is_own = False

    def psf(self) -> ChosenPsf:
        """The chosen PSF; `ValueError` if a value is out of range or no layer is chosen."""
        if self.kind.value == LAYER:
            if self.layer.value is None:
                raise ValueError("choose a layer that holds the PSF, or another blur")
            layer = self.layer.value
            source = layer_source(layer)
            return ChosenPsf(full_resolution(layer), source, center=self.center.value)
        values = self._values(self.kind.value)
        return ChosenPsf(_made(self.kind.value, values), _function(self.kind.value), values)

    def microscope(self) -> Microscope | None:
        """The microscope whose PSF is chosen; None for other kinds."""
        if self.kind.value == LAYER:
            return None
        kind, values = _function(self.kind.value), self._values(self.kind.value)
        if kind == "confocal3d":
            aperture, wavelength, excitation, side, step, index, pinhole = values
            return Microscope(aperture, wavelength, side, step, index, excitation, pinhole)
        if kind == "widefield":
            aperture, wavelength, side = values
            return Microscope(aperture, wavelength, side)
        if kind == "widefield3d":
            aperture, wavelength, side, step, index = values
            return Microscope(aperture, wavelength, side, step, index)
        return None

    def _values(self, kind: str) -> tuple[float, ...]:
        return tuple(box.value for box in self.values[kind])

    def _show_kind(self) -> None:
        self._note_choice()
        if self.kind.value != LAYER:
            self.generated = self.kind.value
            if not self._is_own:
                self.wanted = self.kind.value
        for kind, boxes in self.values.items():
            for box in boxes:
                box.visible = kind == self.kind.value
        self.layer.visible = self.center.visible = self.kind.value == LAYER
        self._show_remark()

    def _note_choice(self) -> None:
        if not self._is_own:
            self._is_free = False

    def _show_remark(self) -> None:
        layer = self.layer.value
        is_used = self.kind.value == LAYER and layer is not None
        show_status(
            self.remark, find_remarks(full_resolution(layer), self.center.value) if is_used else ""
        )


def _function(kind: str) -> str:
    return _GENERATED[kind][0].__name__


# A run, its estimate and its preview ask for the same.
@lru_cache(maxsize=4)
def _made(kind: str, values: tuple[float, ...]) -> Any:
    made = _GENERATED[kind][0](*values)
    made.setflags(write=False)
    return made


def find_remarks(array: Any, center: psf.Center) -> str:
    """Remarks on a PSF layer, in sentences; empty where a run would refuse the PSF."""
    if not isinstance(array, np.ndarray) or array.size > _LARGEST:
        return ""
    try:
        found = [psf.center_remark(array, center, _CENTERS), psf.rim_remark(array)]
    except (TypeError, ValueError):
        return ""
    return " ".join(f"{remark[0].upper()}{remark[1:]}." for remark in found if remark)


def _boxes(kind: str) -> list[FloatSpinBox]:
    """The fields for the values of a kind of blur."""
    fields = _GENERATED[kind][1]
    return [_box(f"{kind} {label}", label, value, tooltip) for label, value, tooltip in fields]


def _box(name: str, label: str, value: float, tooltip: str) -> FloatSpinBox:
    # The spin box rounds to what its first step shows, and lengths are in micrometres.
    digits, step = (4, 0.01) if "µm" in tooltip else (3, 0.1)
    box = FloatSpinBox(
        name=name, label=label, tooltip=tooltip, min=-1e6, max=1e6, step=10.0**-digits
    )
    box.native.setSingleStep(step)
    box.value = value
    return box
