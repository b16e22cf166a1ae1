"""Long names of layers in narrow docks: shortened in the middle, in full in tooltips."""

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent, QImage
from qtpy.QtWidgets import QApplication, QToolTip

from napari_rednet.widgets.shared.controls import shown_text

NARROW = 320
LONG = "20240517_HeLa_H2B-mCherry_60x_position_012_maximum_projection_registered"
RESULT = f"{LONG} (denoised)"


@pytest.fixture
def narrow(make_napari_viewer, qtbot):
    """Dock a widget in a narrow dock of a window with two layers of long names."""
    viewer = make_napari_viewer(show=True)
    for name in (LONG, RESULT):
        viewer.add_image(np.zeros((8, 8)), name=name)

    def open_narrow(name):
        dock, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
        qtbot.waitUntil(dock.isVisible)
        viewer.window._qt_window.resizeDocks([dock], [NARROW], Qt.Orientation.Horizontal)
        qtbot.waitUntil(lambda: dock.width() == NARROW)
        return widget

    return open_narrow


def drawn(widget):
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    data = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    return data.reshape(image.height(), -1)[:, : image.width()]


def test_both_ends_of_a_long_name_are_drawn(narrow):
    box = narrow("Compare").pair.after.native
    assert box.currentText() == RESULT
    shown = shown_text(box)
    beginning, end = shown.split("…")
    assert RESULT.startswith(beginning)
    assert RESULT.endswith(end)
    assert len(beginning) > 3 < len(end)
    elided = drawn(box)
    box.setItemText(box.currentIndex(), shown)
    assert shown_text(box) == shown
    np.testing.assert_array_equal(drawn(box), elided)
    box.setItemText(box.currentIndex(), "short")
    assert shown_text(box) == "short"


def test_the_list_tells_long_names_in_full(narrow, qtbot):
    widget = narrow("Denoise")
    box = widget.common.image.native
    role = Qt.ItemDataRole.ToolTipRole
    assert [box.itemData(i, role) for i in range(2)] == [LONG, RESULT]
    widget.viewer.layers[0].name = f"{LONG}_again"
    assert box.itemData(0, role) == f"{LONG}_again"
    assert widget.common.device.native.itemData(0, role) is None
    box.showPopup()
    assert box.view().textElideMode() == Qt.TextElideMode.ElideMiddle
    box.hidePopup()


def test_so_do_the_list_to_choose_several_from_and_a_box_that_is_closed(narrow, qtbot):
    images = narrow("Fine-tune").controls.images.native
    assert [images.item(i).toolTip() for i in range(2)] == [LONG, RESULT]
    assert images.textElideMode() == Qt.TextElideMode.ElideMiddle
    box = narrow("Compare").pair.before
    place = QPoint(5, 5)
    event = QHelpEvent(QEvent.Type.ToolTip, place, box.native.mapToGlobal(place))
    QApplication.sendEvent(box.native, event)
    assert QToolTip.text() == f"{LONG}\n\n{box.tooltip}"
    QToolTip.hideText()
