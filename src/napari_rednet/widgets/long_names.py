"""Long names, as layers have them: shortened in the middle, and told in full by tooltips."""

from __future__ import annotations

from qtpy.QtCore import QAbstractItemModel, QEvent, QObject, Qt
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QToolTip

_MARGIN = 2  # around the text, on which styles differ
_LONG = 20  # letters, more than which a narrow dock may have no room for


class ElidedMiddle(QObject):
    """Draws the text of a combo box with an ellipsis in its middle, if it is too long.

    Qt cuts off the end, which is what tells a result from its source. Lists it shortens itself.

    Parameters
    ----------
    box : QComboBox
        Whose text is drawn.
    """

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Draw and explain as Qt does, but for the text; called by Qt."""
        if not isinstance(watched, QComboBox):
            return False
        if event.type() == QEvent.Type.Paint:
            _paint(watched)
            return True
        name = watched.currentText()
        if event.type() != QEvent.Type.ToolTip or shown_text(watched) == name:
            return False
        QToolTip.showText(QCursor.pos(), f"{name}\n\n{watched.toolTip()}", watched)
        return True


def shown_text(box: QComboBox) -> str:
    """The text of a combo box as far as there is room for it."""
    control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
    room = box.style().subControlRect(control, _option(box), field, box).width() - _MARGIN
    middle = Qt.TextElideMode.ElideMiddle
    return str(box.fontMetrics().elidedText(box.currentText(), middle, room))


def explain_long(names: QAbstractItemModel) -> None:
    """Give the long ones of a list themselves as tooltips."""
    for row in range(names.rowCount()):
        index = names.index(row, 0)
        name = str(index.data())
        if len(name) > _LONG:
            names.setData(index, name, Qt.ItemDataRole.ToolTipRole)


def _paint(box: QComboBox) -> None:
    option = _option(box)
    option.currentText = shown_text(box)
    painter = QStylePainter(box)
    painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
    painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def _option(box: QComboBox) -> QStyleOptionComboBox:
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    return option
