"""Controls that choose a point spread function: generated, or an image layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from magicgui.widgets import FloatSpinBox
from magicgui.widgets.bases import ValueWidget
from napari.layers import Layer

from napari_rednet import psf
from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import LayerSource, full_resolution, layer_source

LAYER = "image layer"

# Kind: the function, and for each of its arguments a label, a first value and a tooltip.
_GENERATED: dict[str, tuple[Callable[..., Any], list[tuple[str, float, str]]]] = {
    "Gaussian": (psf.gaussian, [("Width", 1.6, "Standard deviation in pixels.")]),
    "disk (out of focus)": (psf.disk, [("Radius", 3.0, "In pixels.")]),
    "motion": (
        psf.motion,
        [("Length", 10.0, "In pixels."), ("Angle", 0.0, "In degrees, from the horizontal.")],
    ),
    "widefield": (
        psf.widefield,
        [
            ("Aperture", 1.4, "Numerical aperture of the objective."),
            ("Wavelength", 0.52, "Of the emitted light, in the unit of the pixel size."),
            ("Pixel size", 0.1, "Side of a pixel in the sample, e.g. in micrometres."),
        ],
    ),
}


@dataclass(frozen=True)
class ChosenPsf:
    """A point spread function, and what it is called.

    Parameters
    ----------
    array : (Y, X) array
        The function itself.
    made_by : str or LayerSource
        The function of `napari_rednet.psf` that made it, or the layer that holds it.
    values : tuple of float
        What that function was given.
    """

    array: Any
    made_by: str | LayerSource
    values: tuple[float, ...] = ()

    def record(self) -> dict[str, Any]:
        """The PSF in plain values."""
        if isinstance(self.made_by, LayerSource):
            return asdict(self.made_by.find_origin())
        return {"function": self.made_by, "values": list(self.values)}


class PsfControls:
    """What the image of a point looks like.

    Parameters
    ----------
    layers : callable
        Returns the layers that may hold a measured PSF.

    Attributes
    ----------
    kind : ChoiceBox
        Of the blur.
    values : dict of str to list of FloatSpinBox
        Those of each kind.
    layer : ChoiceBox
        That holds a measured PSF.
    generated : str
        The kind that was chosen last, layers aside.
    """

    def __init__(self, layers: Callable[..., list[Any]]) -> None:
        self.kind = ChoiceBox(
            name="psf",
            label="Blur",
            choices=[*_GENERATED, LAYER],
            tooltip="Shape of the blur; an image layer may hold a measured one, e.g. of a bead.",
        )
        self.values = {kind: _boxes(kind) for kind in _GENERATED}
        self.layer = ChoiceBox(
            name="psf_layer",
            label="PSF layer",
            choices=layers,
            tooltip="2-D layer with the image of a point; its background should be 0.",
        )
        self.generated = self.kind.value
        self.kind.changed.connect(self._show_kind)
        self._show_kind()

    @property
    def widgets(self) -> list[ValueWidget]:
        """All controls, from top to bottom."""
        return [self.kind, *chain(*self.values.values()), self.layer]

    @property
    def remembered(self) -> list[ValueWidget]:
        """The controls whose values are kept from one session to the next."""
        return self.widgets

    def chosen(self) -> Any:
        """The layer, or the kind and its values."""
        kind = self.kind.value
        return self.layer.value if kind == LAYER else (kind, *self._values(kind))

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer, or None for the kind that was chosen last."""
        if layer is None:
            self.kind.value = self.generated
        else:
            self.layer.value, self.kind.value = layer, LAYER

    def psf(self) -> ChosenPsf:
        """The PSF that is chosen.

        Raises
        ------
        ValueError
            If a value is out of range, or no layer is chosen.
        """
        if self.kind.value == LAYER:
            if self.layer.value is None:
                raise ValueError("choose a layer that holds the PSF, or another blur")
            layer = self.layer.value
            return ChosenPsf(full_resolution(layer), layer_source(layer))
        make = _GENERATED[self.kind.value][0]
        values = self._values(self.kind.value)
        return ChosenPsf(make(*values), make.__name__, values)

    def _values(self, kind: str) -> tuple[float, ...]:
        return tuple(box.value for box in self.values[kind])

    def _show_kind(self) -> None:
        if self.kind.value != LAYER:
            self.generated = self.kind.value
        for kind, boxes in self.values.items():
            for box in boxes:
                box.visible = kind == self.kind.value
        self.layer.visible = self.kind.value == LAYER


def _boxes(kind: str) -> list[FloatSpinBox]:
    """A field for each value of a kind of blur."""
    return [
        FloatSpinBox(
            name=f"{kind} {label}",
            label=label,
            value=value,
            tooltip=tooltip,
            min=-1e6,
            max=1e6,
            step=0.1,
        )
        for label, value, tooltip in _GENERATED[kind][1]
    ]
