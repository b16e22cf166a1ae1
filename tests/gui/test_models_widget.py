"""The Models widget, and how the other windows follow the models."""

import gc
import os
import threading
import weakref
from dataclasses import replace

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QMessageBox
from tests.conftest import small_model

import napari_rednet as nr
from napari_rednet.models import user_models_folder
from napari_rednet.widgets import DenoiseWidget, ModelsWidget, models
from napari_rednet.widgets.shared import docks, model_chosen, models_changed
from napari_rednet.widgets.shared.controls import FROM_FILE, _label

LONG = 60_000


@pytest.fixture
def mine():
    """A model of the user's."""
    return nr.add_model(small_model("denoise"), "my cells")


@pytest.fixture
def widget(dock):
    return dock("Models")


def rows(widget):
    table = widget.table
    columns = range(table.columnCount())
    return [[table.item(row, c).text() for c in columns] for row in range(table.rowCount())]


def offered(widget):
    return [
        widget.common.model.native.itemText(i) for i in range(widget.common.model.native.count())
    ]


def buttons(widget):
    enabled = (widget.add_button, widget.rename_button, widget.remove_button)
    return tuple(button.isEnabled() for button in enabled)


def followers():
    return len(models_changed) + len(model_chosen)


def answer(monkeypatch, **answers):
    """Answers of the dialogs, which would wait for ever."""
    for dialog, given in answers.items():
        monkeypatch.setattr(models, dialog, lambda *_, given=given: given)


def saved(folder, task="denoise"):
    path = folder / "from a friend.safetensors"
    small_model(task).save(path)
    return path


# The table -----------------------------------------------------------------------------------


def test_all_models_are_listed(mine, widget):
    listed = rows(widget)
    assert ["denoise-fast", "denoise", "installed"] in listed
    assert ["sr-fast", "super-resolve", "installed"] in listed
    assert listed[-1] == ["my cells", "denoise", "mine"]


def test_only_models_of_ones_own_can_be_changed(mine, widget):
    assert buttons(widget) == (True, False, False)
    widget.select("denoise-fast")
    assert buttons(widget) == (True, False, False)
    widget.select("my cells")
    assert buttons(widget) == (True, True, True)
    nr.remove_model("my cells")
    assert buttons(widget) == (True, False, False)


def test_the_selection_stays_when_models_come_and_go(mine, widget):
    widget.select("my cells")
    nr.add_model(small_model("deblock"), "another")
    assert widget.selected.name == "my cells"
    nr.rename_model("my cells", "renamed")
    assert widget.selected is None


def test_it_fits_a_narrow_dock_and_explains_itself(widget):
    assert widget.minimumSizeHint().width() <= 320
    for button in (widget.add_button, widget.rename_button, widget.remove_button):
        assert button.toolTip()


# The buttons ---------------------------------------------------------------------------------


def test_clicks_add_rename_and_remove(make_napari_viewer, qtbot, monkeypatch, tmp_path):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Models")
    qtbot.waitExposed(widget)

    def click(button):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    answer(monkeypatch, ask_file=saved(tmp_path), ask_name="cells")
    click(widget.add_button)
    assert widget.selected.name == "cells"
    answer(monkeypatch, ask_name="nuclei")
    click(widget.rename_button)
    assert widget.selected.name == "nuclei"
    assert os.listdir(user_models_folder()) == ["nuclei.safetensors"]
    answer(monkeypatch, confirm=True)
    click(widget.remove_button)
    assert os.listdir(user_models_folder()) == []
    assert "nuclei" not in [name for name, *_ in rows(widget)]


def test_dialogs_can_be_cancelled(mine, widget, monkeypatch, tmp_path, notifications):
    widget.select("my cells")
    answer(monkeypatch, ask_file=None, ask_name=None, confirm=False)
    for button in (widget.add_button, widget.rename_button, widget.remove_button):
        button.click()
    answer(monkeypatch, ask_file=saved(tmp_path))
    widget.add_button.click()
    assert rows(widget)[-1][0] == "my cells"
    assert notifications() == []


def test_the_name_of_the_file_is_suggested(widget, monkeypatch, tmp_path):
    suggested = []
    answer(monkeypatch, ask_file=saved(tmp_path))
    monkeypatch.setattr(models, "ask_name", lambda *arguments: suggested.append(arguments[-1]))
    widget.add_button.click()
    assert suggested == ["from a friend"]


def when_asked(act):
    """Do something with the dialog that is about to open."""
    QTimer.singleShot(200, lambda: act(QApplication.activeModalWidget()))


def test_the_dialogs_give_what_the_user_says(widget):
    def type_name(dialog):
        dialog.setTextValue(f" {dialog.textValue()} 2 ")
        dialog.accept()

    when_asked(type_name)
    assert docks.ask_name(widget, "Rename a model", "cells") == "cells 2"
    when_asked(lambda dialog: dialog.reject())
    assert docks.ask_name(widget, "Rename a model", "cells") is None
    for button, answered in (("Yes", True), ("No", False)):
        standard = getattr(QMessageBox.StandardButton, button)
        when_asked(lambda dialog, standard=standard: dialog.button(standard).click())
        assert docks.confirm(widget, "Remove a model", "Remove it?") is answered


@pytest.mark.parametrize(
    ("name", "message"),
    [("a/b", "must have 1 to 60"), ("fast", "belongs to the package"), ("other", "already")],
)
def test_errors_are_shown(mine, widget, monkeypatch, tmp_path, notifications, name, message):
    nr.add_model(small_model("deblock"), "other")
    answer(monkeypatch, ask_file=saved(tmp_path), ask_name=name)
    widget.add_button.click()
    widget.select("my cells")
    widget.rename_button.click()
    assert len(notifications()) == 2
    assert all(message in shown for shown in notifications())
    assert [name for name, *_ in rows(widget)][-2:] == ["my cells", "other"]


def test_damaged_files_are_refused(widget, monkeypatch, tmp_path, notifications):
    path = saved(tmp_path)
    path.write_bytes(b"nonsense")
    answer(monkeypatch, ask_file=path, ask_name="cells")
    widget.add_button.click()
    (message,) = notifications()
    assert "damaged or not a safetensors file" in message


def test_a_model_whose_file_has_vanished_is_reported(mine, widget, monkeypatch, notifications):
    widget.select("my cells")
    mine.path.unlink()
    answer(monkeypatch, confirm=True)
    widget.remove_button.click()
    (message,) = notifications()
    assert "no model 'my cells'" in message


# Other windows -------------------------------------------------------------------------------


def test_open_widgets_follow(dock):
    denoise, deblock = dock("Denoise"), dock("Deblock")
    nr.add_model(small_model("denoise"), "my cells")
    assert "my cells (mine)" in offered(denoise)
    assert "my cells (mine)" not in offered(deblock)
    nr.rename_model("my cells", "ours")
    assert "ours (mine)" in offered(denoise)
    nr.remove_model("ours")
    assert not [label for label in offered(denoise) if "mine" in label]
    assert offered(denoise)[0] == "fast"


@pytest.mark.parametrize("chosen", ["my cells", FROM_FILE, "fast"])
def test_the_choice_stays(mine, dock, chosen):
    widget = dock()
    widget.common.model.value = chosen
    nr.add_model(small_model("denoise"), "another")
    assert widget.common.model.value == chosen
    nr.remove_model("another")
    assert widget.common.model.value == chosen


def test_a_removed_choice_falls_back_to_fast(mine, dock):
    widget = dock()
    widget.common.model.value = "my cells"
    nr.remove_model("my cells")
    assert widget.common.model.value == "fast"


def test_chosen_selects_in_all_widgets_of_the_task(mine, dock):
    denoise, deblur, deblock = dock("Denoise"), dock("Deblur"), dock("Deblock")
    model_chosen.emit("denoise", "my cells")
    assert denoise.common.model.value == deblur.common.model.value == "my cells"
    assert deblock.common.model.value == "fast"
    model_chosen.emit("denoise", "unknown")
    assert denoise.common.model.value == "my cells"


def test_chosen_looks_for_models_first(mine, dock):
    widget = dock()
    mine.path.rename(mine.path.with_stem("by hand"))
    model_chosen.emit("denoise", "by hand")
    assert widget.common.model.value == "by hand"


def test_the_chosen_model_is_used(mine, viewer, dock, run, noisy):
    viewer.add_image(noisy)
    widget = dock()
    model_chosen.emit("denoise", "my cells")
    run(widget)
    assert viewer.layers[-1].metadata["napari_rednet"]["model"] == "my cells"


def test_changes_in_another_thread_are_followed(dock, qtbot):
    widget = dock()
    thread = threading.Thread(target=nr.add_model, args=(small_model("denoise"), "my cells"))
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: "my cells (mine)" in offered(widget))


@pytest.mark.window
def test_closed_windows_follow_no_more(viewer, dock, qtbot):
    before = followers()
    widgets = [dock("Denoise"), dock("Models")]
    assert followers() > before
    for native in (widgets[0].native, widgets[1]):
        viewer.window.remove_dock_widget(native)
        native.deleteLater()
    qtbot.wait(50)
    nr.add_model(small_model("denoise"))
    assert followers() <= before  # less, if others were closed before


def test_following_keeps_no_window_alive(qtbot, viewer):
    windows = [weakref.ref(DenoiseWidget(viewer)), weakref.ref(ModelsWidget())]
    gc.collect()
    assert [window() for window in windows] == [None, None]


@pytest.mark.filterwarnings("ignore:left out of the list of models")
def test_damaged_files_are_shown_and_can_be_removed(mine, dock, monkeypatch):
    for name, content in (("broken", b"no model"), ("-x", mine.path.read_bytes())):
        (user_models_folder() / f"{name}.safetensors").write_bytes(content)
    widget = dock("Models")
    assert rows(widget)[-2:] == [["-x", "damaged", "mine"], ["broken", "damaged", "mine"]]
    widget.select("broken")
    assert "broken.safetensors is damaged" in widget.table.item(len(rows(widget)) - 1, 0).toolTip()
    assert buttons(widget) == (True, False, True)
    answer(monkeypatch, confirm=True)
    widget.remove_button.click()
    widget.select("-x")
    widget.remove_button.click()
    assert not [row for row in rows(widget) if row[1] == "damaged"]
    assert ["my cells", "denoise", "mine"] in rows(widget)


def drop(widget, *paths):
    """Drag files onto the widget and let go; whether it took them."""
    files = QMimeData()
    files.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    given = files, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, *given)
    # What is under the mouse gets it first: the card, which fills most of the window.
    below = widget.card.viewport()
    QApplication.sendEvent(below, enter)
    if enter.isAccepted():
        QApplication.sendEvent(below, QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, *given))
    return enter.isAccepted()


@pytest.mark.window
def test_a_model_is_added_by_dropping_its_file(widget, tmp_path, qtbot, notifications):
    qtbot.waitUntil(widget.add_button.isEnabled, timeout=LONG)
    small_model("deblock").save(tmp_path / "tiny.safetensors")
    (tmp_path / "cell.tif").write_bytes(b"no model")
    assert not drop(widget, tmp_path / "cell.tif")
    assert drop(widget, tmp_path / "tiny.safetensors", tmp_path / "cell.tif")
    assert ["tiny", "deblock", "mine"] in rows(widget)
    assert widget.selected.name == "tiny"
    assert notifications() == []
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    assert drop(widget, tmp_path / "bad.safetensors")
    assert "bad.safetensors" in notifications()[0]


def test_larger_models_say_how_much_slower_they_are():
    fast = next(info for info in nr.list_models("denoise") if info.variant == "fast")
    best = replace(fast, name="denoise-best", layers=5 * fast.layers)
    mine = replace(best, name="cells", origin="user")
    labels = [_label(info, fast) for info in (fast, best, mine)]
    assert labels == ["fast", "best: 5 × slower", "cells (mine): 5 × slower"]


def test_the_card_of_the_selected_model_is_shown(widget, mine):
    before = widget.card.toPlainText()
    assert before.startswith("Select a model")
    for name in ("denoise-fast", "my cells"):
        widget.select(name)
        shown = " ".join(widget.card.toPlainText().split())
        card = nr.model_card(name)
        assert card.network in shown
        for text in (card.purpose, card.terms, *card.failures, *card.figures):
            assert text.replace("`", "") in shown
    (user_models_folder() / "bad.safetensors").write_bytes(b"no model")
    with pytest.warns(UserWarning, match="bad.safetensors is damaged"):
        nr.rename_model("my cells", "other cells")  # models are looked for again
    widget.select("bad")
    assert "damaged" in widget.card.toPlainText()
    widget.table.clearSelection()
    assert widget.card.toPlainText() == before
