"""Base of the windows with noise controls: denoise, deblur."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets.bases import Widget
from napari.layers import Image, Shapes
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_rednet.widgets.restore.base import RestoreWidget
from napari_rednet.widgets.restore.jobs import plain
from napari_rednet.widgets.restore.noise_controls import AUTOMATIC, NoiseControls
from napari_rednet.widgets.restore.paired_layers import (
    WHOLE,
    Place,
    Region,
    find_region,
    measure_steps,
    places,
)
from napari_rednet.widgets.shared.docks import shown_errors
from napari_rednet.widgets.shared.layers import LayerImage
from napari_rednet.widgets.shared.persistence import Parameters
from napari_rednet.widgets.shared.style import import_plots
from napari_rednet.widgets.shared.worker import Steps

if TYPE_CHECKING:
    from napari_rednet.engine.channel import NoiseModel
    from napari_rednet.noise import NoiseLevels

_MILLISECONDS = 50


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
        return {**arguments, "noise": self.noise.models() or self._region(layer)}

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

    def layer_changed(self, image: LayerImage | None) -> None:
        """Show a noise model for each channel."""
        self.noise.set_channels([""] if image is None else image.channels)
        self._soon.start()

    def complete(self, image: LayerImage, arguments: Mapping[str, Any]) -> Steps:
        """Measure the noise in the region, if there is one."""
        noise = arguments["noise"]
        if not isinstance(noise, Region):
            return (yield from super().complete(image, arguments))
        levels = yield from measure_steps(image, noise)
        return {**arguments, "noise": [one.fit() for one in levels]}

    def steps(self, image: LayerImage, *, noise: Any = None, **arguments: Any) -> Steps:
        """Restore, after estimating the noise if it is not given."""
        if noise is None or isinstance(noise, Region):
            levels = yield from measure_steps(image, noise or Region())
            noise = [one.fit() for one in levels]
            self._behind = dict(zip(noise, levels, strict=True))
        restored, used = yield from super().steps(image, noise=noise, **arguments)
        return restored, {"noise": noise, **used}

    def show_used(self, used: dict[str, Any]) -> None:
        """Show the estimated noise."""
        behind = self._behind
        if all(model in behind for model in used["noise"]):
            self.noise.take_levels([behind[model] for model in used["noise"]])

    def known_used(self) -> dict[str, Any]:
        """The noise measured in a place, which copied code cannot refer to."""
        if self.noise.models() is not None or self.noise.place.value == WHOLE:
            return {}
        if not self.noise.has_levels:
            raise ValueError("press Estimate noise first: the code will name what is measured")
        return {"noise": self.noise.shown_models()}

    # Measuring -----------------------------------------------------------------------------

    def _estimate(self) -> None:
        self._measure(self._take_estimate)

    def _take_estimate(self, levels: list[NoiseLevels]) -> None:
        self.noise.take_levels(levels, instead_of_typed=True)
        self.preview.parameters_changed()

    def _measure_if_open(self) -> None:
        if not self.noise.panel.is_open or self.noise.has_levels:
            return
        if self.is_running:
            self._soon.start()  # later, as the present run may measure it
        else:
            self._measure(self.noise.take_levels)

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
            self.start(steps, "Estimating noise of", take_if_still_asked)

    @property
    def _asked(self) -> tuple[Image | None, Place]:
        """The layer and the place whose noise is asked for."""
        return self.common.image.value, self.noise.place.value

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


def _as_models(noise: Any) -> list[NoiseModel]:
    """Noise models from remembered values; none if these are not valid."""
    from napari_rednet.engine.channel import NoiseModel

    try:
        return [NoiseModel(**level) for level in noise or ()]
    except (TypeError, ValueError):
        return []
