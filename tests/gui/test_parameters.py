"""Parameters that are remembered, named, and copied as code."""

import json
import re
import shlex

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QInputDialog
from tests.conftest import small_model
from tests.test_cli import call as run_command

import napari_rednet as nr
from napari_rednet.widgets.restore import FOUND
from napari_rednet.widgets.restore.paired_layers import WHOLE, Place
from napari_rednet.widgets.restore.psf_controls import LAYER
from napari_rednet.widgets.shared import persistence
from napari_rednet.widgets.shared.controls import FROM_FILE
from napari_rednet.widgets.shared.docks import Described

LONG = 60_000
TYPED = {"gain": 1.5, "offset": 90.0, "read_noise": 12.0}


@pytest.fixture
def in_file(viewer, noisy, tmp_path):
    """A stack that was opened from a file, and that file."""
    stack = np.stack([noisy[:40, :48], noisy[20:60, 30:78]])
    tifffile.imwrite(tmp_path / "cell.tif", stack, photometric="minisblack")
    (layer,) = viewer.open(tmp_path / "cell.tif", plugin="napari")
    return layer


@pytest.fixture
def tiny(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def choose_file(widget, path):
    widget.common.model.value = FROM_FILE
    widget.common.model_file.value = path


@pytest.mark.parametrize("is_there", [True, False])
def test_layers_are_remembered_by_their_names(viewer, dock, run, noisy, is_there):
    square = np.array([[10, 10], [10, 60], [60, 60], [60, 10]])
    viewer.add_image(noisy)
    holes = viewer.add_labels((noisy > 1500).astype(np.uint8), name="holes")
    viewer.add_shapes([square], name="background")
    bead = viewer.add_image(np.outer([1, 2, 1], [1, 2, 1]), name="bead")
    inpaint, deblur = dock("Inpaint"), dock("Deblur")
    for widget in (inpaint, deblur):
        widget.common.image.value = viewer.layers[0]
    inpaint.mask.value, deblur.psf.layer.value = holes, bead
    deblur.psf.kind.value = LAYER
    deblur.noise.place.value = Place(viewer.layers["background"])
    for widget in (inpaint, deblur):
        run(widget)
        widget.native.close()
    if not is_there:
        for name in ("holes", "background", "bead"):
            viewer.layers.remove(name)
    inpaint, deblur = dock("Inpaint"), dock("Deblur")
    if is_there:
        assert inpaint.mask.value is holes
        assert deblur.psf.layer.value is bead
        assert deblur.noise.place.value == Place(viewer.layers["background"])
    else:
        assert inpaint.mask.value == FOUND
        assert deblur.noise.place.value == WHOLE


def test_the_shown_plane_is_remembered_though_a_2d_layer_is_offered_first(viewer, dock, run, noisy):
    stack = viewer.add_image(np.stack([noisy[:40, :48]] * 2))
    widget = dock()
    widget.noise.place.value = Place(shown_only=True)
    plane = viewer.add_image(noisy[:40, :48])
    widget.common.image.value = plane
    assert widget.noise.place.value == WHOLE
    run(widget)
    widget.common.image.value = stack
    assert widget.noise.place.value == Place(shown_only=True)

    other = ViewerModel()
    other.add_image(noisy[:40, :48])
    again = dock("Denoise", other)
    assert again.noise.place.value == WHOLE
    shapes = other.add_shapes([np.array([[5, 5], [5, 30], [30, 30], [30, 5]])])
    again.noise.place.value = Place(shapes)
    stack = other.add_image(np.stack([noisy[:40, :48]] * 2))
    again.common.image.value = stack
    assert again.noise.place.value == Place(shapes, shown_only=True)
    other.layers.remove(shapes)
    assert again.noise.place.value == Place(shown_only=True)
    again.noise.place.value = WHOLE
    again.common.image.value = other.layers[0]
    again.common.image.value = stack
    assert again.noise.place.value == WHOLE


def press(widget, text):
    """Choose an entry of the menu, as it is when it opens."""
    widget.menu.menu.aboutToShow.emit()
    for menu in (widget.menu.menu, widget.menu.presets, widget.menu.unwanted):
        for action in menu.actions():
            if action.text() == text and action.isVisible():
                action.trigger()
                return
    raise AssertionError(f"no {text!r} in the menu")


def copied(widget, text):
    press(widget, text)
    return QApplication.clipboard().text()


def run_python(text):
    names = {}
    exec(text, names)
    return names["restored"]


def run_line(text):
    _, *words = shlex.split(text)
    code, printed = run_command(*words)
    assert code == 0, printed
    return tifffile.imread(words[2])


def test_copied_code_gives_what_run_gave(viewer, dock, run, in_file, tiny):
    widget = dock()
    choose_file(widget, tiny)
    widget.noise.mode.value = "manual"
    for name, value in TYPED.items():
        widget.noise.fields[name].value = str(value)
    widget.option["strength"].value = 0.7
    python, line = (copied(widget, f"Copy as {form}") for form in ("Python", "command line"))
    assert in_file.source.path in python
    assert "ensemble" not in python
    run(widget)
    result = viewer.layers[-1]
    np.testing.assert_array_equal(run_python(python), result.data)
    np.testing.assert_array_equal(run_line(line), result.data)
    widget.option["strength"].value = 2.0
    made = copied(widget, "Copy how “cell denoised” was made as Python")
    assert made == python
    assert copied(widget, "Copy as Python") != python


def test_code_of_a_plane(viewer, dock, run, in_file, tiny, notifications):
    widget = dock()
    choose_file(widget, tiny)
    viewer.dims.set_current_step(0, 1)
    widget.extent.planes.value = "shown"
    run(widget)
    python = copied(widget, "Copy how “cell denoised” was made as Python")
    np.testing.assert_array_equal(run_python(python), viewer.layers[-1].data)
    press(widget, "Copy as command line")
    assert any("copy as Python instead" in message for message in notifications())


def test_code_of_a_mask_names_its_file_until_it_is_painted_on(
    viewer, dock, in_file, tmp_path, notifications
):
    painted = np.zeros((40, 48), np.uint8)
    painted[5:9, 5:9] = 1
    tifffile.imwrite(tmp_path / "holes.tif", painted)
    mask = viewer.open(tmp_path / "holes.tif", plugin="napari", layer_type="labels")[0]
    widget = dock("Inpaint")
    widget.common.image.value, widget.mask.value = in_file, mask
    python = copied(widget, "Copy as Python")
    assert "holes.tif" in python
    expected = nr.inpaint(in_file.data, painted)
    np.testing.assert_array_equal(run_python(python), expected)
    mask.paint((20, 20), 1)
    assert "MASK.tif" in copied(widget, "Copy as Python")
    assert "MASK.tif stands for" in notifications()[-1]


def test_without_an_image_there_is_nothing_to_copy(dock, notifications):
    press(dock(), "Copy as Python")
    assert "open an image first" in notifications()[-1]


def test_the_last_parameters_come_back_in_the_next_session(viewer, dock, run, in_file, tiny):
    widget = dock()
    choose_file(widget, tiny)
    widget.noise.mode.value = "manual"
    widget.noise.fields["read_noise"].value = "31.25"
    widget.option["strength"].value = 1.7
    widget.common.device.value = "cpu"
    widget.option["strength"].value = 1.6
    run(widget)
    widget.option["strength"].value = 0.3  # not run
    other = ViewerModel()
    other.add_image(in_file.data)
    again = dock("Denoise", other)
    assert again.parameters() == {**widget.parameters(), "strength": 1.6}
    assert again.noise.models() == [nr.NoiseModel(read_noise=31.25)]
    fresh = dock("Deblock", other)
    assert fresh.parameters()["device"] == "auto"
    press(again, "Defaults")
    assert again.parameters() == {
        "model": "fast",
        "model_file": str(tiny),
        "device": "auto",
        "place": "whole layer",
        "along": None,
        "repair": True,
        "ensemble": False,
        "strength": 1.0,
        "fractions": False,
        "noise": None,
    }
    assert [field.value for field in again.noise.fields.values()] == [""] * 5


def test_presets_are_saved_chosen_and_deleted(dock, monkeypatch, notifications):
    widget = dock("Deblur")
    monkeypatch.setattr(QInputDialog, "exec", lambda dialog: True)
    monkeypatch.setattr(QInputDialog, "textValue", lambda dialog: "a & b")
    widget.psf.kind.value = "motion"
    widget.psf.values["motion"][1].value = 30.0
    widget.option["ensemble"].value = True
    press(widget, "Save as preset…")
    wanted = widget.parameters()
    press(widget, "Defaults")
    assert widget.parameters() != wanted
    press(widget, "a && b")
    assert widget.parameters() == wanted
    widget.menu.menu.aboutToShow.emit()
    widget.menu.unwanted.actions()[0].trigger()
    assert persistence.presets("deblur") == {}
    monkeypatch.setattr(QInputDialog, "textValue", lambda dialog: " ")
    press(widget, "Save as preset…")
    assert "needs a name" in notifications()[-1]


def test_parameters_that_no_longer_fit_are_left_out(dock):
    strange = {"model": "gone", "device": 5, "scale": 9, "ensemble": "yes", "new": [1]}
    persistence.remember("super_resolve", strange)
    widget = dock("Super-resolve")
    assert widget.parameters()["scale"] == 2
    assert widget.parameters()["model"] == "fast"
    assert widget.parameters()["ensemble"] is False
    persistence.remember("denoise", {"strength": 77.0, "noise": [{"gain": "much"}, 3]})
    assert dock().parameters()["strength"] == 1.0
    assert dock().parameters()["noise"] is None


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"last": 3}', '{"last": {"denoise": [1]}}'])
def test_a_damaged_file_is_ignored_and_replaced(content):
    persistence.parameters_file().write_text(content)
    assert persistence.last_parameters("denoise") == {}
    assert persistence.presets("denoise") == {}
    persistence.remember("denoise", {"strength": 2.0})
    persistence.save_preset("denoise", "mine", {"strength": 3.0})
    assert persistence.last_parameters("denoise") == {"strength": 2.0}
    assert persistence.presets("denoise") == {"mine": {"strength": 3.0}}
    assert json.loads(persistence.parameters_file().read_text())
    assert len(list(persistence.parameters_file().parent.iterdir())) == 1


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAPARI_REDNET_CONFIG", str(tmp_path / "file"))
    persistence.remember("denoise", {"strength": 2.0})
    assert persistence.last_parameters("denoise") == {}
    with pytest.raises(ValueError, match="presets cannot be kept"):
        persistence.save_preset("denoise", "mine", {})


def test_results_of_others_are_no_results(viewer, dock):
    widget = dock()
    viewer.add_layer(Image(np.zeros((8, 8)), metadata={"napari_rednet": {"sample": 1}}))
    widget.menu.menu.aboutToShow.emit()
    assert not any(action.isVisible() for action in widget.menu.result_copies)


def test_code_names_the_noise_that_was_measured_in_a_place(
    viewer, dock, run, in_file, tiny, notifications
):
    widget = dock()
    choose_file(widget, tiny)
    viewer.dims.set_current_step(0, 1)
    widget.noise.place.value = Place(shown_only=True)
    press(widget, "Copy as Python")
    assert "press Estimate noise first" in notifications()[-1]
    run(widget)
    result = viewer.layers[-1]
    python = copied(widget, "Copy as Python")
    assert "nr.NoiseModel(" in python
    assert python == copied(widget, "Copy how “cell denoised” was made as Python")
    np.testing.assert_array_equal(run_python(python), result.data)
    widget.extent.planes.value = "shown"
    run(widget)
    assert viewer.layers[-1].metadata["napari_rednet"]["crop"] == [[1, 2], None, None]


@pytest.mark.parametrize("name", ["Denoise", "Batch"])
def test_about_tells_what_an_issue_needs(dock, qtbot, name):
    widget = dock(name)
    menu = widget.controls.menu if name == "Batch" else widget.menu
    *_, about = menu.menu.actions()
    assert about.text() == "About…"
    about.trigger()
    (dialog,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, Described)]
    qtbot.waitUntil(dialog.copy.isEnabled, timeout=LONG)
    code, printed = run_command("info")
    assert code == 0
    told = dialog.text.toPlainText()

    shown, said = (re.sub(r"[\d.]+ GB free", "", text).split() for text in (told, printed))
    assert shown == said
    dialog.copy.click()
    assert QApplication.clipboard().text() == told
    dialog.close()
    qtbot.waitUntil(lambda: not isalive(dialog))
