"""The Models window: lists models and shows their cards; adds, renames and removes the user's."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_rednet.widgets.shared import known_models, models_changed
from napari_rednet.widgets.shared.controls import LOOKING
from napari_rednet.widgets.shared.docks import (
    TabIfCrowded,
    ask_file,
    ask_name,
    confirm,
    shown_errors,
)
from napari_rednet.widgets.shared.style import make_button, set_look
from napari_rednet.widgets.shared.worker import compute_in_background

if TYPE_CHECKING:
    from napari_rednet.models import DamagedModel, ModelInfo

    Listed = ModelInfo | DamagedModel

_COLUMNS = ("Name", "Task", "Origin")
_ORIGINS = {"installed": "installed", "user": "mine"}
_SHOWN_ROWS = 6
_BETWEEN_BUTTONS = 4  # large fonts leave little room
_LOWEST_CARD, _INDENT = 80, 14
_NONE_SELECTED = "Select a model to read what it is for, and where it fails."


class ModelsWidget(QWidget):
    """All models in a table, and the card of the selected one.

    The user's can be added, renamed and removed.
    """

    def __init__(self) -> None:
        super().__init__()
        set_look(self)
        TabIfCrowded(self)
        self._models: list[Listed] = []
        self.setAcceptDrops(True)
        self.table = _make_table()
        self.card = _make_card()
        self.add_button = make_button("Add…", "Copy a model file into your models.")
        self.rename_button = make_button("Rename…", "Rename the selected model of your own.")
        self.remove_button = make_button("Remove…", "Delete the selected model of your own.")
        self._arrange()
        self._connect()
        self._show_what_can_be_done()
        self._find_models()

    def select(self, name: str) -> None:
        """Select a model."""
        names = [info.name for info in self._models]
        if name in names:
            self.table.selectRow(names.index(name))

    @property
    def selected(self) -> Listed | None:
        """The selected model, or damaged file."""
        rows = self.table.selectionModel().selectedRows()
        return self._models[rows[0].row()] if rows else None

    # What the buttons do -------------------------------------------------------------------

    def _add(self) -> None:
        from napari_rednet.models import add_model
        from napari_rednet.models.registry import describe

        with shown_errors():
            path = ask_file(self)
            if path is None:
                return
            name = ask_name(self, "Add a model", describe(path, "user").name)
            if name is not None:
                self.select(add_model(path, name).name)

    def _rename(self) -> None:
        from napari_rednet.models import rename_model

        info = self.selected
        if info is None:
            return
        name = ask_name(self, "Rename a model", info.name)
        if name not in (None, info.name):
            with shown_errors():
                self.select(rename_model(info.name, name).name)

    def _remove(self) -> None:
        from napari_rednet.models import remove_model

        info = self.selected
        if info is None:
            return
        question = f"Remove the model “{info.name}”? Its file will be deleted."
        if confirm(self, "Remove a model", question):
            with shown_errors():
                remove_model(info.path.stem)

    # Dropped files -------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Take files of models, and nothing else; called by Qt."""
        if self.add_button.isEnabled() and _model_files(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Add the models under the names that they have; called by Qt."""
        from napari_rednet.models import add_model

        event.acceptProposedAction()
        for path in _model_files(event):
            with shown_errors():
                self.select(add_model(path).name)

    # The window ----------------------------------------------------------------------------

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(_BETWEEN_BUTTONS)
        for button in (self.add_button, self.rename_button, self.remove_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        layout.addWidget(self.card, stretch=1)

    def _connect(self) -> None:
        self.add_button.clicked.connect(self._add)
        self.rename_button.clicked.connect(self._rename)
        self.remove_button.clicked.connect(self._remove)
        self.table.itemSelectionChanged.connect(self._show_what_can_be_done)
        models_changed.connect(self._find_models)

    def _find_models(self) -> None:
        if not isalive(self):
            models_changed.disconnect(self._find_models)
        elif "torch" in sys.modules:
            self._show(_all_models())
        else:
            # Importing torch would keep the window from opening for seconds.
            compute_in_background(_all_models, self._show)

    def _show(self, models: list[Listed]) -> None:
        if not isalive(self):
            return
        selected = self.selected
        self._models = models
        self.table.setRowCount(len(models))
        for row, info in enumerate(models):
            for column, text in enumerate(_texts(info)):
                self.table.setItem(row, column, _make_item(text, info))
        self.table.clearSelection()
        if selected is not None:
            self.select(selected.name)
        self._show_what_can_be_done()

    def _show_card(self, info: Listed | None) -> None:
        """Show what the selected model is for, or what is wrong with it."""
        if info is None:
            self.card.setPlainText(_NONE_SELECTED if self._models else LOOKING)
        elif _as_model(info) is None:
            self.card.setPlainText(getattr(info, "reason", ""))
        else:
            from napari_rednet.models import model_card

            with shown_errors():  # it may have gone since
                self.card.setMarkdown(model_card(info.path).as_markdown())

    def _show_what_can_be_done(self) -> None:
        info = self.selected
        self._show_card(info)
        model = None if info is None else _as_model(info)
        is_damaged = info is not None and model is None
        own = model is not None and model.origin == "user"
        self.add_button.setEnabled(bool(self._models))
        self.rename_button.setEnabled(own)
        self.remove_button.setEnabled(own or is_damaged)


def _model_files(event: QDropEvent) -> list[Path]:
    """The files of models among what is dragged."""
    paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
    return [path for path in paths if path.suffix == ".safetensors"]


def _all_models() -> list[Listed]:
    """The models, and then the files among the user's that are none."""
    from napari_rednet.models import damaged_models

    return [*known_models(), *damaged_models()]


def _as_model(info: Listed) -> ModelInfo | None:
    """The model; None for a damaged file."""
    from napari_rednet.models import ModelInfo

    return info if isinstance(info, ModelInfo) else None


def _texts(info: Listed) -> tuple[str, str, str]:
    """What the columns say."""
    model = _as_model(info)
    if model is None:
        return info.name, "damaged", _ORIGINS["user"]
    return model.name, model.task.replace("_", "-"), _ORIGINS[model.origin]


def _make_item(text: str, info: Listed) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(_tip(info))
    return item


def _tip(info: Listed) -> str:
    model = _as_model(info)
    if model is None:
        return f"<qt>{escape(getattr(info, 'reason', ''))}</qt>"
    network = f"RED{model.layers}, stride {model.stride}, {model.features} feature maps"
    return f"{model.name}: {network}"


def _make_card() -> QTextBrowser:
    card = QTextBrowser()
    card.document().setIndentWidth(_INDENT)
    card.setToolTip("What the selected model does, learned from, and where it fails.")
    card.setOpenLinks(False)
    card.setMinimumHeight(_LOWEST_CARD)
    card.setFrameShape(QFrame.Shape.NoFrame)
    return card


def _make_table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setToolTip("The models; those of your own can be renamed and removed.")
    table.setTabKeyNavigation(False)  # Tab leaves the table, arrow keys move in it
    table.setShowGrid(False)
    table.setWordWrap(False)  # lines may break at the hyphens of names
    table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    table.verticalHeader().hide()
    table.setMinimumHeight(_SHOWN_ROWS * table.verticalHeader().defaultSectionSize())
    header = table.horizontalHeader()
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    header.setHighlightSections(False)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    for column in (0, 1):  # in a large font there is no room for all of a task
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
    return table
