"""Base of the widgets that are told the noise: denoise, deblur."""

from __future__ import annotations

from functools import partial
from typing import Any

from magicgui.widgets import FloatSpinBox
from magicgui.widgets.bases import Widget

from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.noise_controls import NoiseControls
from napari_rednet.widgets.worker import Steps


class NoiseAwareWidget(RestoreWidget):
    """Estimates the noise or takes what is typed; concrete widgets override `noise_steps`."""

    def extra_controls(self) -> list[Widget]:
        """The noise and the strength."""
        self.noise = NoiseControls()
        self.noise.estimate.changed.connect(self._estimate)
        self.runs.starters.append(self.noise.estimate)
        self.strength = FloatSpinBox(
            name="strength",
            label="Strength",
            value=1,
            max=3,
            step=0.1,
            tooltip="Factor on the noise: above 1 smooths more, below 1 keeps more of the noise.",
        )
        return [*self.noise.widgets, self.strength]

    def arguments(self) -> dict[str, Any]:
        """Noise and strength as well."""
        noise = self.noise.models()
        return {**super().arguments(), "noise": noise, "strength": self.strength.value}

    def layer_changed(self, image: LayerImage | None) -> None:
        """Show as many noise models as there are channels."""
        self.noise.set_channels([""] if image is None else image.channels)

    def noise_steps(self, array: Any, **arguments: Any) -> Steps:
        """The steps of the verb."""
        raise NotImplementedError

    def steps(self, image: LayerImage, *, noise: Any = None, **arguments: Any) -> Steps:
        """Estimate the noise unless it is given, and restore."""
        used = (yield from _estimate_steps(image)) if noise is None else noise
        axis = image.channel_axis
        steps = self.noise_steps(image.array, noise=used, channel_axis=axis, **arguments)
        return image.with_alpha((yield from steps)), {"noise": used}

    def show_used(self, used: dict[str, Any]) -> None:
        """Show the noise that was estimated."""
        self.noise.show(used["noise"])

    def _estimate(self) -> None:
        image = self.selected()
        if image is not None:
            self.start(partial(_estimate_steps, image), "Estimating noise of", self.noise.show)


def _estimate_steps(image: LayerImage) -> Steps:
    from napari_rednet.restoration import estimate_noise

    noise = estimate_noise(image.array, channel_axis=image.channel_axis)
    yield 0, 0  # a place to cancel
    return [noise] if isinstance(noise, NoiseModel) else noise
