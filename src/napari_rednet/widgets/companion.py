"""The layer that comes with the image of a sample: chosen with it, until the user chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from magicgui.widgets.bases import ValueWidget
from napari.layers import Image, Layer

from napari_rednet.sample_data import ROLE, SAMPLE
from napari_rednet.widgets.controls import ChoiceBox


class Companion:
    """Chooses what comes with the chosen image, as long as the user has chosen nothing.

    When another image is chosen, or the layer is removed, the choice is taken back. What a window
    remembers from its last run is no choice: it is there before this begins.

    Parameters
    ----------
    role : str
        What the layer is to the image, in the metadata of samples.
    image : ChoiceBox
        The image.
    layers : ChoiceBox
        Offers such layers.
    controls : sequence of ValueWidget
        All with which users choose.
    chosen : callable
        Returns what they say: the layer, if one is used.
    choose : callable
        Takes the layer; None to take the choice back.

    Attributes
    ----------
    layer : Layer or None
        What has been chosen for the user.
    """

    def __init__(
        self,
        role: str,
        image: ChoiceBox,
        layers: ChoiceBox,
        controls: Sequence[ValueWidget],
        chosen: Callable[[], Any],
        choose: Callable[[Layer | None], None],
    ) -> None:
        self._role, self._image, self._layers = role, image, layers
        self._controls, self._chosen, self._choose = controls, chosen, choose
        self._known: Any = None
        self._is_free = False
        self.layer: Layer | None = None

    def begin(self) -> None:
        """Choose from now on."""
        self._known, self._is_free = self._chosen(), True
        for control in self._controls:
            control.changed.connect(self._notice)
        self._image.changed.connect(self.update)
        self.update()

    def update(self) -> None:
        """Choose what there is now; to be called when layers have come or gone."""
        found = find_companion(self._image.value, self._role, self._layers.choices)
        if self._is_free and found is not self.layer:
            self._choose(found)
            self.layer, self._known, self._is_free = found, self._chosen(), True

    def _notice(self) -> None:
        """Something else is chosen: by the user, unless what was chosen is no longer there."""
        known, self._known = self._known, self._chosen()
        if self._known == known:
            return
        self._is_free = known is None or (
            isinstance(known, Layer) and known not in self._layers.choices
        )
        if not self._is_free:
            self.layer = None


def find_companion(image: Image | None, role: str, layers: Iterable[Any]) -> Layer | None:
    """The layer that has a role to the image of a sample, or to what was made of it."""
    sample = None if image is None else image.metadata.get(SAMPLE)
    if sample is None:
        return None
    layers = (layer for layer in layers if isinstance(layer, Layer) and layer is not image)
    wanted = {SAMPLE: sample, ROLE: role}.items()
    return next((layer for layer in layers if wanted <= layer.metadata.items()), None)
