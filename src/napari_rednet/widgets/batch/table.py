"""The table of the files of a batch: what became of each, or how far it is."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, Qt
from qtpy.QtGui import QFont
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from napari_rednet.batch import BatchFile, Outcome
from napari_rednet.widgets.batch.run import BatchRun

_COLUMNS = ("File", "Status")
_STATUS = 1
_WIDEST_STATUS, _SPARE = "running 100 %", 16
_LOWEST = 3


class _Files(QAbstractTableModel):
    """The files of a run; nothing is copied, so that there may be many."""

    def __init__(self) -> None:
        super().__init__()
        self._run: BatchRun | None = None
        self._rows = 0

    def show(self, run: BatchRun) -> None:
        """Show the files of a run, none of which has been looked at."""
        self.beginResetModel()
        self._run, self._rows = run, len(run.files)
        self.endResetModel()

    def refresh(self, first: int, last: int) -> None:
        """Show rows anew."""
        self.dataChanged.emit(self.index(first, 0), self.index(last, _STATUS))

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 - Qt's name
        """The number of files; called by Qt."""
        return self._rows

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, N802 - Qt's name
        """The number of columns; called by Qt."""
        return len(_COLUMNS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The titles; called by Qt."""
        is_title = role == Qt.ItemDataRole.DisplayRole
        return _COLUMNS[section] if is_title and orientation == Qt.Orientation.Horizontal else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows; called by Qt."""
        if role == Qt.ItemDataRole.DisplayRole:
            return self._status(index.row()) if index.column() else self._name(index.row())
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(index.row())
        stands_out = index.column() == _STATUS and self._has_failed(index.row())
        if role == Qt.ItemDataRole.FontRole and stands_out:
            return _bold()
        return None

    def outcome(self, row: int) -> Outcome | None:
        """What became of a file."""
        done = [] if self._run is None else self._run.outcomes
        return done[row] if row < len(done) else None

    def remark(self, row: int) -> str:
        """What is shown below the name of a file: why it failed, or what is odd about it."""
        outcome = self.outcome(row)
        return "" if outcome is None or outcome.status == "skipped" else outcome.reason

    def file(self, row: int) -> BatchFile | None:
        """The file of a row."""
        return None if self._run is None else self._run.files[row]

    def _name(self, row: int) -> str:
        file = self.file(row)
        if file is None:
            return ""
        told = self.remark(row)
        return f"{file.name}\n{_brief(told, file)}" if told else file.name

    def _status(self, row: int) -> str:
        outcome, run = self.outcome(row), self._run
        if outcome is not None:
            return outcome.status
        present = None if run is None else run.present
        if run is None or present is None or present.number != row + 1:
            return "waiting"
        return "stopped" if run.is_over else f"running {100 * run.share:.0f} %"

    def _tooltip(self, row: int) -> str:
        file, outcome = self.file(row), self.outcome(row)
        if file is None:
            return ""
        reason = [] if outcome is None or not outcome.reason else [outcome.reason]
        return "\n".join([f"{file.source} → {file.result}", *reason])

    def _has_failed(self, row: int) -> bool:
        outcome = self.outcome(row)
        return outcome is not None and outcome.status == "failed"


class _OneLine(QStyledItemDelegate):
    """Names without a remark take one line, cut in the middle, and are not wrapped at a hyphen."""

    def initStyleOption(self, option: Any, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Say how a cell is drawn; called by Qt."""
        super().initStyleOption(option, index)
        if "\n" not in str(index.data()):  # which Qt has replaced in the text of `option`
            option.features &= ~QStyleOptionViewItem.ViewItemFeature.WrapText


class FileTable(QTableView):
    """The files of a batch, one of which can be selected."""

    def __init__(self) -> None:
        super().__init__()
        self._files = _Files()
        self._run: BatchRun | None = None
        self._shown = 0
        self.setModel(self._files)
        self.setItemDelegate(_OneLine(self))
        self.setToolTip("The files, and what became of them. Double click opens a result.")
        self._arrange()

    @property
    def selected(self) -> BatchFile | None:
        """The file of the selected row, if it has a result."""
        rows = self.selectionModel().selectedRows()
        outcome = self._files.outcome(rows[0].row()) if rows else None
        has_result = outcome is not None and outcome.status != "failed"
        return self._files.file(rows[0].row()) if has_result else None

    def show_run(self, run: BatchRun) -> None:
        """Show the files of a run and where they stand; only what may have changed is drawn."""
        if run is not self._run or len(run.files) != self._files.rowCount():
            self._run, self._shown = run, 0
            self._files.show(run)
            self._make_room()
        if not run.files:
            return
        last = min(len(run.outcomes), len(run.files) - 1)
        self._files.refresh(self._shown, last)
        for row in range(self._shown, last + 1):
            self._fit_height(row)
        if last > self._shown and not self.selectionModel().hasSelection():
            self.scrollTo(self._files.index(last, 0))
        self._shown = last

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Make room for larger letters; called by Qt."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._make_room()

    def _fit_height(self, row: int) -> None:
        if self._files.remark(row):
            self.resizeRowToContents(row)
            self.setRowHeight(row, self.rowHeight(row) + _SPARE // 2)

    def _fit_all_heights(self, column: int) -> None:
        if column == 0:
            for row in range(min(self._shown + 1, self._files.rowCount())):
                self._fit_height(row)

    def _make_room(self) -> None:
        width = self.fontMetrics().horizontalAdvance(_WIDEST_STATUS) + _SPARE
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + _SPARE // 2)
        self.horizontalHeader().resizeSection(_STATUS, width)

    def _arrange(self) -> None:
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)  # Tab leaves the table, arrow keys move in it
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(0)  # napari's is higher than its text
        self.setMinimumHeight(_LOWEST * self.verticalHeader().defaultSectionSize())
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_STATUS, QHeaderView.ResizeMode.Fixed)
        header.sectionResized.connect(self._fit_all_heights)
        self._make_room()


def _brief(reason: str, file: BatchFile) -> str:
    """A reason without the folders, which are wider than the window; its tooltip has them."""
    for path in (file.source, file.result):
        reason = reason.replace(str(path), path.name)
    return reason.removeprefix(f"{file.source.name} ")


def _bold() -> QFont:
    font = QFont()
    font.setBold(True)
    return font
