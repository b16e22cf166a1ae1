"""The menu of a window: presets, Batch with the same settings, code to copy, what is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from magicgui.widgets import PushButton
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QAction, QApplication, QMenu

from napari_rednet.provenance import Call, as_command_line, as_python
from napari_rednet.widgets.shared import persistence
from napari_rednet.widgets.shared.docks import Described, ask_name, shown_errors
from napari_rednet.widgets.shared.layers import made_by

_COPIES: dict[str, Callable[[Call], str]] = {
    "Python": as_python,
    "command line": as_command_line,
}


class HasParameters(Protocol):
    """A widget whose controls have values to keep."""

    verb: Any

    def parameters(self) -> dict[str, Any]:
        """The values of the controls, in JSON types."""

    def set_parameters(self, parameters: persistence.Parameters) -> None:
        """Set the controls."""


class PresetMenu:
    """A button with a menu of defaults and presets; the widget has its defaults as it is now.

    The last entry tells what an issue needs to be told.
    """

    def __init__(self, widget: HasParameters, tooltip: str = "Defaults and presets.") -> None:
        self._widget, self._defaults = widget, widget.parameters()
        self.button = PushButton(text="More", tooltip=tooltip)
        self.menu = QMenu(self.button.native)
        self.menu.setToolTipsVisible(True)
        self._add("Defaults", "Give all parameters their first values.", self._set_defaults)
        self.presets, self.unwanted = QMenu("Presets", self.menu), QMenu("Delete preset", self.menu)
        self.menu.addMenu(self.presets)
        self._add("Save as preset…", "Give the present parameters a name.", self._save)
        self.menu.addMenu(self.unwanted)
        self._add_more()
        self.menu.addSeparator()
        told = "Versions, devices, models and folders, to paste into an issue."
        self._add("About…", told, self._tell_about)
        self.menu.aboutToShow.connect(self.update)
        self.button.native.setMenu(self.menu)

    def update(self) -> None:
        """Update the menu; called before it opens."""
        names = list(persistence.presets(self._widget.verb))
        for menu, act in ((self.presets, self._choose), (self.unwanted, self._delete)):
            menu.clear()
            menu.menuAction().setVisible(bool(names))
            for name in names:
                menu.addAction(name.replace("&", "&&")).triggered.connect(partial(act, name))

    def _add_more(self) -> None:
        """Add entries of other menus, before the last one."""

    def _tell_about(self) -> None:
        Described(self.button.native.window())

    def _add(self, text: str, tooltip: str, act: Callable[..., None]) -> QAction:
        action = self.menu.addAction(text)
        action.setToolTip(tooltip)
        action.triggered.connect(act)
        return action

    def _set_defaults(self) -> None:
        self._widget.set_parameters(self._defaults)

    def _choose(self, name: str, *_: Any) -> None:
        self._widget.set_parameters(persistence.presets(self._widget.verb).get(name, {}))

    def _save(self) -> None:
        name = ask_name(self.button.native, "Save as preset", "")
        if name is not None:
            with shown_errors():
                persistence.save_preset(self._widget.verb, name, self._widget.parameters())

    def _delete(self, name: str, *_: Any) -> None:
        with shown_errors():
            persistence.delete_preset(self._widget.verb, name)


class ParameterMenu(PresetMenu):
    """The menu of a window that restores layers, with code to copy.

    Parameters
    ----------
    present_call : callable
        Returns what a run would do now; None without a layer.
    told_channels : callable
        Returns the axis of channels that the user has told, and no file or layer.
    part : callable
        Names the part of the layer that would be restored; empty if it is all of it.
    """

    def __init__(
        self,
        widget: HasParameters,
        viewer: Viewer,
        present_call: Callable[[], Call | None],
        told_channels: Callable[[], int | None],
        part: Callable[[], str],
    ) -> None:
        self._present_call, self._viewer = present_call, viewer
        self._told_channels, self._part = told_channels, part
        super().__init__(widget, "Defaults, presets, and code that does the same.")

    def _add_more(self) -> None:
        """Batch, and code to copy."""
        self.menu.addSeparator()
        self._add("Apply to files…", "Open Batch with these settings.", self._apply_to_files)
        self._add_copies("Copy as {}", "Code that does what Run would do now.", self._copy_present)
        self.menu.addSeparator()
        self.result_copies = self._add_copies("", "Code that made this layer.", self._copy_result)

    def update(self) -> None:
        """Show what there is now; called before the menu opens."""
        super().update()
        layer = self._active_layer
        for form, action in zip(_COPIES, self.result_copies, strict=True):
            action.setVisible(made_by(layer) is not None)
            name = "" if layer is None else layer.name.replace("&", "&&")
            action.setText(f"Copy how “{name}” was made as {form}")

    def _add_copies(self, text: str, tooltip: str, act: Callable[..., None]) -> list[QAction]:
        return [self._add(text.format(form), tooltip, partial(act, form)) for form in _COPIES]

    def _apply_to_files(self) -> None:
        with shown_errors():
            parameters = self._widget.parameters()
            _, batch = self._viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
            batch.controls.adopt(self._widget.verb, parameters, self._told_channels(), self._part())

    def _copy_present(self, form: str, *_: Any) -> None:
        with shown_errors():
            call = self._present_call()
            if call is None:
                raise ValueError("open an image first: there is nothing to restore")
            _copy(call, form)

    def _copy_result(self, form: str, *_: Any) -> None:
        call = made_by(self._active_layer)
        if call is not None:
            with shown_errors():
                _copy(call, form)

    @property
    def _active_layer(self) -> Any:
        return self._viewer.layers.selection.active


def _copy(call: Call, form: str) -> None:
    text = _COPIES[form](call)
    QApplication.clipboard().setText(text)
    unknown = [name for name in ("IMAGE.tif", "PSF.tif", "MASK.tif") if name in text]
    if unknown:
        show_info(
            f"Copied as {form}. Save what {' and '.join(unknown)} stands for to a file first."
        )
    else:
        show_info(f"Copied as {form}.")
