"""The Fine-tune widget: runs, what is shown of them, what becomes of the model."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox
from skimage import data
from superqt.utils import WorkerBase
from tests.conftest import small_model

import napari_rednet as nr
from napari_rednet.widgets import finetuning
from napari_rednet.widgets.finetuning import view
from napari_rednet.widgets.finetuning.run import Curve, FineTuningRun
from napari_rednet.widgets.shared import docks
from napari_rednet.widgets.shared.controls import FROM_FILE, NO_CHANNELS
from napari_rednet.widgets.shared.docks import clock

LONG = 60_000
MANY = 1000
NARROW = 320
SCREEN = (1366, 768)


@pytest.fixture
def images():
    """Noisy images, and the same without noise."""
    clean = np.stack([data.camera()[100:196, 150:246], data.camera()[200:296, 150:246]]) * 8.0
    rng = np.random.default_rng(0)
    return rng.poisson(clean / 20).astype(np.uint16) * 20, clean.astype(np.uint16)


@pytest.fixture
def widget(viewer, dock, images, tmp_path):
    """The widget with a noisy layer, about to train a tiny model."""
    viewer.add_image(images[0], name="cells")
    return with_tiny_model(dock("Fine-tune"), tmp_path)


@pytest.fixture
def running(widget, qtbot):
    """The widget in the middle of a run that takes long."""
    widget.controls.steps.value = MANY
    widget.start_button.click()
    qtbot.waitUntil(lambda: done(widget) >= 20, timeout=LONG)
    return widget


@pytest.fixture
def tuned(widget, wait, qtbot):
    """The widget after a run."""
    widget.start_button.click()
    wait(widget)
    assert widget.result.use.isEnabled(), widget.text.text()
    return widget


def with_tiny_model(widget, folder):
    small_model("denoise").save(folder / "tiny.safetensors")
    widget.controls.model.value = FROM_FILE
    widget.controls.model_file.value = folder / "tiny.safetensors"
    widget.controls.unit.value = "steps"
    widget.controls.steps.value = 30
    widget.controls.device.value = "cpu"
    return widget


def done(widget):
    status = widget._run.status
    return 0 if status is None else status.step


def enabled(widget):
    buttons = (widget.start_button, widget.pause_button, widget.stop_button)
    return tuple(button.isEnabled() for button in buttons)


def can_be_shared(widget):
    result = widget.result
    return [button.isEnabled() for button in (result.use, result.save, result.export)]


def answer(monkeypatch, **answers):
    """Answers of the dialogs, which would wait for ever."""
    for dialog, given in answers.items():
        monkeypatch.setattr(view, dialog, lambda *_, given=given: given)


def press(button, asked):
    """Press a button of the question that is about to be asked, and note the question."""

    def answer_it():
        box = QApplication.activeModalWidget()
        asked.append(box.text())
        box.button(getattr(QMessageBox.StandardButton, button)).click()

    QTimer.singleShot(200, answer_it)


def start_again(widget, monkeypatch):
    """Press Start, but say No; return what has been asked."""
    asked = []
    monkeypatch.setattr(finetuning, "confirm", lambda *arguments: asked.append(arguments[-1]))
    widget.start_button.click()
    return asked


# Runs ----------------------------------------------------------------------------------------


def test_start_to_finish(make_napari_viewer, qtbot, wait, images, tmp_path, notifications):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(images[0], name="cells")
    window = viewer.window._qt_window
    window.resize(*SCREEN)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Fine-tune")
    with_tiny_model(widget, tmp_path)
    qtbot.waitExposed(widget)
    assert enabled(widget) == (True, False, False)
    assert can_be_shared(widget) == [False] * 3
    qtbot.mouseClick(widget.start_button, Qt.MouseButton.LeftButton)
    assert enabled(widget) == (False, True, True)
    assert not widget.controls.native.isEnabled()
    wait(widget)
    assert enabled(widget) == (True, False, False)
    assert can_be_shared(widget) == [True] * 3
    assert notifications() == []
    gain, loss = widget.view.curves
    assert len(gain) >= 2
    assert len(loss) >= 1
    assert gain[0].tolist() == [0, 0]
    assert gain[-1, 1] > 0
    assert widget.view.titles == ["before", "base", "now"]
    assert "dB (estimated) over the base after 30 steps" in widget.text.text()
    # The plots have room to be judged, and scroll, so that a small screen has the buttons as well.
    qtbot.waitUntil(widget.view.isVisible)
    qtbot.wait(100)
    assert max(window.height(), window.minimumSizeHint().height()) <= SCREEN[1]
    below = widget.result.mapTo(window, QPoint(0, widget.result.height()))
    assert below.y() < window.height()
    assert widget.view.widget().height() > 400
    assert widget.view.height() > 250
    window.resize(SCREEN[0], 2 * SCREEN[1])
    qtbot.waitUntil(lambda: widget.view.height() > SCREEN[1])  # and all that a high window has


def test_a_target_is_learnt_from_and_shown(viewer, widget, wait, images):
    viewer.add_image(images[1], name="clean")
    widget.controls.target.value = viewer.layers["clean"]
    assert "pairs" in widget.way.text()
    widget.start_button.click()
    wait(widget)
    assert widget.view.titles[-1] == "target"
    assert "estimated" not in widget.text.text()
    assert widget._model.info["training"]["method"] == "paired"


def test_pause_rests_and_resume_goes_on(running, qtbot):
    running.pause_button.click()
    assert running.pause_button.text() == "Resume"
    qtbot.waitUntil(lambda: running.text.text().endswith("paused"), timeout=LONG)
    before = done(running)
    qtbot.wait(700)
    assert done(running) == before
    running.pause_button.click()
    assert running.pause_button.text() == "Pause"
    qtbot.waitUntil(lambda: done(running) > before, timeout=LONG)
    qtbot.waitUntil(lambda: running.text.text().endswith("left"), timeout=LONG)


def test_others_run_while_it_rests(viewer, running, dock, wait, qtbot):
    restoring = dock("Denoise")
    restoring.run.native.click()
    assert "Waiting for: Fine-tuning" in restoring.status.value
    running.pause_button.click()
    wait(restoring)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells denoised"]
    before = done(running)
    running.pause_button.click()
    restoring.run.native.click()
    assert "Waiting for: Fine-tuning" in restoring.status.value
    qtbot.waitUntil(lambda: done(running) > before, timeout=LONG)
    running.stop_button.click()
    wait(restoring)


@pytest.mark.parametrize("paused", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_stop_keeps_the_best(running, wait, qtbot, paused):
    qtbot.waitUntil(lambda: running._run.status.best_gain > 0, timeout=LONG)
    if paused:
        running.pause_button.click()
    running.stop_button.click()
    assert enabled(running) == (False, False, False)
    wait(running)
    assert running._model.info["training"]["gain_over_base_in_db"] > 0
    assert can_be_shared(running) == [True] * 3


def test_another_run_starts_afresh(tuned, wait, monkeypatch):
    canvas = tuned.view._plots.canvas
    monkeypatch.setattr(finetuning, "confirm", lambda *_: True)
    tuned.start_button.click()
    assert can_be_shared(tuned) == [False] * 3
    wait(tuned)
    assert tuned.view._plots.canvas is not canvas
    assert tuned.view.widget() is tuned.view._plots.canvas


def test_start_asks_before_it_drops_a_model(tuned, wait):
    asked, model = [], tuned._model
    press("No", asked)
    tuned.start_button.click()
    assert not tuned.is_running
    assert tuned._model is model
    assert can_be_shared(tuned) == [True] * 3
    press("Yes", asked)
    tuned.start_button.click()
    assert tuned.is_running
    assert can_be_shared(tuned) == [False] * 3
    assert len(asked) == 2
    assert all("“cells-tuned” has not been saved or used" in question for question in asked)
    wait(tuned)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("use", marks=[pytest.mark.window, pytest.mark.slow]),
        "save",
        pytest.param("export", marks=pytest.mark.slow),
    ],
)
def test_start_does_not_ask_about_a_model_that_is_kept(
    tuned, wait, monkeypatch, tmp_path, qtbot, way
):
    answer(monkeypatch, ask_path=tmp_path / ("m.onnx" if way == "export" else "m.safetensors"))
    getattr(tuned.result, way).click()
    qtbot.waitUntil(lambda: can_be_shared(tuned) == [True] * 3, timeout=LONG)
    tuned.controls.model_name.value = "renamed meanwhile"
    assert start_again(tuned, monkeypatch) == []
    assert tuned.is_running
    wait(tuned)
    assert len(start_again(tuned, monkeypatch)) == 1  # the next model is another one
    assert not tuned.is_running


def test_a_model_that_is_no_better_is_not_offered(running, wait, monkeypatch):
    running._run.status = None
    running._run._follow = lambda *_: None
    running.stop_button.click()
    wait(running)
    assert "Nothing better" in running.text.text()
    assert can_be_shared(running) == [False] * 3
    assert start_again(running, monkeypatch) == []
    assert running.is_running


def test_removing_a_layer_stops(viewer, running, wait, notifications):
    viewer.layers.remove("cells")
    wait(running)
    assert running._model is not None
    assert enabled(running) == (False, False, False)
    assert notifications() == []


def test_removing_another_layer_does_not_stop(viewer, running, images):
    viewer.add_image(images[1], name="other")
    viewer.layers.remove("other")
    assert not running._run.is_stopped


@pytest.mark.window
@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_ends_the_run(viewer, running, qtbot, notifications, how):
    if how == "dock":
        viewer.window.remove_dock_widget(running)
        running.deleteLater()
    else:
        viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert notifications() == []


# What is refused -----------------------------------------------------------------------------


def test_small_images_are_refused_in_words(viewer, dock, wait, tmp_path, notifications):
    viewer.add_image(np.random.default_rng(0).normal(size=(40, 40)), name="small")
    widget = with_tiny_model(dock("Fine-tune"), tmp_path)
    widget.start_button.click()
    wait(widget)
    (message,) = notifications()
    assert "at least patch = 64 pixels" in message
    assert enabled(widget) == (True, False, False)
    assert "without a model" in widget.text.text()


def test_gray_and_colour_do_not_mix(viewer, widget, notifications):
    viewer.add_image(data.astronaut()[:128, :128], name="colours", rgb=True)
    widget.controls.images.value = list(viewer.layers)
    widget.start_button.click()
    (message,) = notifications()
    assert "have channels" in message
    assert not widget.is_running


@pytest.mark.parametrize("name", ["", "fast", "a/b"])
def test_bad_names_are_refused_before_the_run(widget, notifications, name):
    widget.controls.model_name.value = name
    widget.start_button.click()
    assert len(notifications()) == 1
    assert not widget.is_running


# The result ----------------------------------------------------------------------------------


@pytest.mark.window
def test_use_now_opens_the_window_and_chooses_the_model(viewer, tuned):
    tuned.controls.model_name.value = "my cells"
    tuned.result.use.click()
    assert "my cells" in [info.name for info in nr.list_models("denoise")]
    denoise = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")[1]
    assert denoise.common.model.value == "my cells"
    assert "my cells" in tuned.controls.model.choices


@pytest.mark.window
def test_use_now_asks_before_it_replaces(tuned, dock, monkeypatch):
    denoise = dock("Denoise")
    before = nr.add_model(small_model("denoise"), "my cells").path
    content = before.read_bytes()
    tuned.controls.model_name.value = "my cells"
    answer(monkeypatch, confirm=False)
    tuned.result.use.click()
    assert before.read_bytes() == content
    assert denoise.common.model.value == "fast"
    answer(monkeypatch, confirm=True)
    tuned.result.use.click()
    assert before.read_bytes() != content
    assert denoise.common.model.value == "my cells"


def test_save_writes_a_model(tuned, monkeypatch, tmp_path, images):
    path = tmp_path / "shared.safetensors"
    tuned.controls.model_name.value = "my cells"
    answer(monkeypatch, ask_path=path)
    tuned.result.save.click()
    model = nr.load_model(path)
    assert model.name == "my cells"
    assert nr.denoise(images[0], model=model).shape == images[0].shape


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("zip", marks=pytest.mark.slow)])
def test_export_writes_a_file(tuned, monkeypatch, tmp_path, qtbot, suffix):
    path = tmp_path / f"shared.{suffix}"
    answer(monkeypatch, ask_path=path)
    tuned.result.export.click()
    assert can_be_shared(tuned) == [True, True, False]
    qtbot.waitUntil(lambda: can_be_shared(tuned) == [True] * 3, timeout=LONG)
    assert path.exists()


def test_errors_of_writing_are_shown(tuned, monkeypatch, tmp_path, qtbot, notifications):
    answer(monkeypatch, ask_path=tmp_path / "nowhere" / "x.safetensors")
    tuned.result.save.click()
    assert "cannot be written" in notifications()[0]
    tuned.result.export.click()
    qtbot.waitUntil(lambda: len(notifications()) > 1, timeout=LONG)
    qtbot.waitUntil(lambda: can_be_shared(tuned) == [True] * 3, timeout=LONG)
    assert len(start_again(tuned, monkeypatch)) == 1


def test_dialogs_can_be_cancelled(tuned, monkeypatch, notifications):
    answer(monkeypatch, ask_path=None)
    tuned.result.save.click()
    tuned.result.export.click()
    assert can_be_shared(tuned) == [True] * 3
    assert notifications() == []
    assert len(start_again(tuned, monkeypatch)) == 1


def test_the_question_gives_what_the_user_says(widget):
    asked = []
    for button, answered in (("Yes", True), ("No", False)):
        press(button, asked)
        assert docks.confirm(widget, "Use a model", "Replace it?") is answered
    assert asked == ["Replace it?"] * 2


@pytest.mark.parametrize(
    ("typed", "chosen", "expected"),
    [
        ("cells", "ONNX (*.onnx)", "cells.onnx"),
        ("cells 2.5", "Models (*.safetensors)", "cells 2.5.safetensors"),
        ("cells.zip", "ONNX (*.onnx)", "cells.zip"),
    ],
)
def test_files_get_a_suffix(tmp_path, typed, chosen, expected):
    path = docks.with_suffix(tmp_path / typed, chosen)
    assert path == tmp_path / expected


# The controls --------------------------------------------------------------------------------


@pytest.mark.window
def test_it_says_how_it_will_learn(viewer, widget, images):
    controls, cells = widget.controls, viewer.layers["cells"]
    clean = viewer.add_image(images[1], name="clean")
    assert controls.images.value == [cells]
    assert "noisy images alone" in widget.way.text()
    assert "self-training" in widget.way.text()
    assert "what the base model makes" in widget.way.text()
    assert not controls.method.native.isVisibleTo(widget)  # there is no choice
    controls.target.value = clean
    assert controls.method.native.isVisibleTo(widget)
    assert controls.method.choices == (None, "paired", "clean")
    controls.method.value = "clean"
    assert "makes noisy" in widget.way.text()
    controls.target.value = None
    assert controls.method.value is None
    assert not controls.method.native.isVisibleTo(widget)
    assert "what the base model makes" in widget.way.text()
    controls.target.value = clean
    controls.method.value = "clean"
    controls.method.value = None
    assert "pairs" in widget.way.text()
    # In the terms of the field as well.
    assert "CARE" in widget.way.text()
    assert "Noise2Noise" in controls.target.tooltip
    controls.images.value = []
    assert "makes noisy" in widget.way.text()
    assert controls.arguments()["images"] is None
    controls.images.value = [cells, clean]
    assert not widget.start_button.isEnabled()
    controls.task.value = "super_resolve"
    assert "good images" in widget.way.text()
    assert controls.arguments()["targets"] is None
    assert widget.start_button.isEnabled()
    controls.images.value = []
    assert not widget.start_button.isEnabled()


def test_chosen_layers_stay_when_layers_come_go_and_are_renamed(viewer, widget, images):
    cells = viewer.layers["cells"]
    other = viewer.add_image(images[1], name="other")
    widget.controls.images.value = [cells, other]
    cells.name = "renamed"
    assert widget.controls.images.value == [cells, other]
    viewer.add_image(images[1], name="third")
    viewer.layers.remove(other)
    assert widget.controls.images.value == [cells]


def test_colours_and_pyramids_are_given_in_full_resolution(viewer, widget, images):
    colours = viewer.add_image(np.zeros((64, 64, 4), np.uint8), name="colours", rgb=True)
    widget.controls.images.value = [colours]
    arguments = widget.controls.arguments()
    assert arguments["channel_axis"] == -1
    assert arguments["images"][0].shape == (64, 64, 3)
    pyramid = viewer.add_image([images[0], images[0][:, ::2, ::2]], name="pyramid")
    widget.controls.images.value = [pyramid]
    assert widget.controls.arguments()["images"][0].shape == images[0].shape


def test_each_channel_has_noise_of_its_own(viewer, widget, wait, images, monkeypatch):
    """Its axis is preset from labels, and can be told; other layers have it in the same place."""
    controls, given = widget.controls, []
    stack = np.stack(images, 1)
    unlabelled = viewer.add_image(stack, name="unlabelled")
    controls.images.value = [unlabelled]
    assert controls.channels.choices == (NO_CHANNELS, 0, 1)
    assert controls.arguments()["channel_axis"] is None
    labelled = viewer.add_image(stack, name="labelled", axis_labels=("z", "c", "y", "x"))
    controls.images.value = [labelled]
    assert controls.arguments()["channel_axis"] == 1
    controls.channels.value = NO_CHANNELS
    assert controls.arguments()["channel_axis"] is None
    controls.images.value = [labelled, unlabelled]
    controls.channels.value = 1
    monkeypatch.setattr(nr.finetuning, "prepare_fine_tuning", lambda **told: given.append(told))
    widget.start_button.click()
    wait(widget)
    assert given[0]["channel_axis"] == 1


def test_a_name_is_suggested_until_one_is_typed(viewer, widget):
    controls = widget.controls
    controls.model.value = "fast"
    assert controls.model_name.value == "cells-fast"
    viewer.layers["cells"].name = "cells: 2 µm/px"
    assert controls.model_name.value == "cells 2 µm px-fast"
    controls.model_name.value = "mine"
    viewer.layers[0].name = "other"
    assert controls.model_name.value == "mine"


def test_models_follow_the_task_and_the_users_models(widget):
    nr.add_model(small_model("deblock"), "jpegs")
    assert "jpegs" not in widget.controls.model.choices
    widget.controls.task.value = "deblock"
    assert "jpegs" in widget.controls.model.choices


def test_it_fits_a_narrow_dock_and_explains_itself(tuned):
    for control in tuned.controls:
        control.visible = True
        assert control.tooltip or control is tuned.controls.length
    QApplication.processEvents()
    assert tuned.minimumSizeHint().width() <= NARROW
    shown = [tuned.start_button, tuned.pause_button, tuned.stop_button, tuned.progress, tuned.text]
    assert all(each.toolTip() for each in [*shown, tuned.way, tuned.view])


def test_themes_are_followed(viewer, tuned):
    dark = tuned.view._plots.figure.get_facecolor()
    viewer.theme = "light"
    assert tuned.view._plots.figure.get_facecolor() > dark


# Parts ---------------------------------------------------------------------------------------


def test_curves_stay_bounded():
    curve = Curve()
    for x in range(10_000):
        curve.add(x, 2 * x)
    points = np.array(curve.points)
    assert 500 <= len(points) <= 1000
    np.testing.assert_allclose(points[:, 1], 2 * points[:, 0])
    assert (np.diff(points[:, 0]) > 0).all()


def test_times_read_well():
    assert [clock(minutes) for minutes in (0, 0.5, 3.333, 63.34)] == [
        "0:00", "0:30", "3:20", "1:03:20",
    ]  # fmt: skip


def test_a_run_knows_nothing_before_it_begins():
    run = FineTuningRun({})
    assert run.status is run.preview is None
    assert not run.is_paused
