"""Ways to look at two layers: in turns, side by side; `split_view` has that with a line."""

from __future__ import annotations

from typing import Any, ClassVar

from napari.components.overlays import TextOverlay
from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer

_NAME_LETTERS = 28


class PairView:
    """Shows two layers and no other image; `stop` puts everything back as it was.

    Parameters
    ----------
    viewer : Viewer
        Whose layers they are.
    before, after : Image
        The layers.

    Attributes
    ----------
    hides : type of Layer
        Which other layers are hidden.
    """

    hides: ClassVar[type[Layer]] = Image  # others may mark what is to be looked at

    def __init__(self, viewer: Viewer, before: Image, after: Image) -> None:
        self.viewer, self.before, self.after = viewer, before, after
        self._borrowed = Borrowed()
        self._overlays: list[str] = []

    @property
    def layers(self) -> tuple[Image, ...]:
        """Layers without which the view ends."""
        return self.before, self.after

    def start(self) -> None:
        """Show the pair."""
        for layer in self.viewer.layers:
            if isinstance(layer, self.hides):
                self._borrowed.set(layer, "visible", layer in (self.before, self.after))

    def stop(self) -> None:
        """Put everything back."""
        for name in self._overlays:
            self.viewer.canvas.overlays.pop(name, None)
        self._overlays.clear()
        self._borrowed.give_back()

    def _write(self, side: str, layer: Image) -> None:
        """Write the name of a layer onto the canvas, on the left or on the right."""
        overlays, name, text = self.viewer.canvas.overlays, f"rednet_{side}", _short(layer.name)
        if name in self._overlays:
            overlays[name].text = text
            return
        overlays[name] = TextOverlay(text=text, position=f"top_{side}", visible=True)
        self._overlays.append(name)


class SideBySide(PairView):
    """Both layers in the grid, before on the left."""

    hides = Layer  # each would take a place in the grid

    def start(self) -> None:
        """Show the pair, each with its name."""
        super().start()
        layers, grid = self.viewer.layers, self.viewer.canvas.grid
        for layer in (self.before, self.after):
            self._borrowed.set(layer.name_overlay, "visible", True)
        in_order = layers.index(self.before) < layers.index(self.after)
        for name, value in (
            ("stride", 1 if in_order else -1),
            ("shape", (1, 2)),
            ("enabled", True),
        ):
            self._borrowed.set(grid, name, value)
        self.viewer.fit_to_view()


class Blink(PairView):
    """One layer after the other, in the same place.

    Parameters
    ----------
    rate : float
        Changes per second.
    window : QObject
        With which it ends at the latest.
    """

    def __init__(
        self, viewer: Viewer, before: Image, after: Image, rate: float, window: QObject
    ) -> None:
        super().__init__(viewer, before, after)
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._turn)
        self.rate = rate

    @property
    def rate(self) -> float:
        """Changes per second."""
        return 1000 / float(self._timer.interval())

    @rate.setter
    def rate(self, rate: float) -> None:
        self._timer.setInterval(round(1000 / rate))

    def start(self) -> None:
        """Show the first, and begin."""
        super().start()
        self._show(self.before)
        self._timer.start()

    def stop(self) -> None:
        """End, with both as they were."""
        self._timer.stop()
        self._timer.deleteLater()
        super().stop()

    def _turn(self) -> None:
        self._show(self.before if self.after.visible else self.after)

    def _show(self, shown: Image) -> None:
        for layer in (self.before, self.after):
            self._borrowed.set(layer, "visible", layer is shown)
        self._write("left", shown)


def _short(name: str) -> str:
    """A name that leaves room for the other one."""
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"


class Borrowed:
    """Remembers what attributes were before they were set.

    What the user has changed in the meantime stays as the user wants it.
    """

    def __init__(self) -> None:
        self._settings: dict[tuple[int, str], _Setting] = {}

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute that can be put back; it may be set again and again."""
        setting = self._settings.setdefault((id(owner), name), _Setting(owner, name))
        setting.change(value)

    def give_back(self) -> None:
        """Put everything back as it was, the last first."""
        for setting in reversed(self._settings.values()):
            setting.put_back()
        self._settings.clear()


class _Setting:
    """An attribute: what it was, and what it was set to."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name  # kept alive, so that its id stays its own
        self._before = self._ours = getattr(owner, name)

    def change(self, value: Any) -> None:
        setattr(self._owner, self._name, value)
        # As it is kept there, which may be another type.
        self._ours = getattr(self._owner, self._name)

    def put_back(self) -> None:
        if getattr(self._owner, self._name) == self._ours:
            setattr(self._owner, self._name, self._before)
