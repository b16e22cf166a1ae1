"""The Batch widget, on real folders: runs, their table, results as layers."""

import csv
import gc
import threading
import time
import weakref

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import QRect, Qt
from skimage import data
from superqt.utils import WorkerBase
from tests.conftest import small_model
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.batch.restoring import RECORD
from napari_rednet.io import image_writer, read_image
from napari_rednet.io.ome_zarr import as_zarr_description
from napari_rednet.io.sources import Reading
from napari_rednet.restoration import denoise
from napari_rednet.tasks import VERBS
from napari_rednet.widgets import BatchWidget
from napari_rednet.widgets.batch.run import BatchRequest
from napari_rednet.widgets.layer_files import read_files, read_layer_image
from napari_rednet.widgets.restore.psf_controls import VOLUMES
from napari_rednet.widgets.shared.controls import FROM_FILE

LONG = 60_000
NARROW = 320
NAMES = ("a.tif", "deep/b.tif", "deep/c.tif")


@pytest.fixture
def folder(tmp_path):
    """Three small micrographs, and models that are quick."""
    frames = np.random.default_rng(0).poisson(data.moon()[:192, :64].astype(float))
    for i, name in enumerate(NAMES):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, frames[64 * i : 64 * i + 48].astype(np.uint16))
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        small_model(task).save(tmp_path / f"{task}.safetensors")
    return tmp_path


@pytest.fixture
def widget(dock, folder):
    return filled(dock("Batch"), folder)


@pytest.fixture
def press(wait):
    """Press Run, wait for the end."""

    def press_run(widget):
        widget.run_button.click()
        assert widget.is_running
        wait(widget)

    return press_run


@pytest.fixture
def endless(monkeypatch):
    """The second image takes for ever; gives the event of its being closed."""
    steps, begun, closed = denoise.denoise_steps, [], threading.Event()

    def waiting(image, **options):
        begun.append(image)
        try:
            result = yield from steps(image, **options)
            while len(begun) == 2 and not closed.wait(0.01):
                yield 1, 2
            return result
        finally:
            if len(begun) == 2:
                closed.set()

    with monkeypatch.context() as patch:
        patch.setattr(denoise, "denoise_steps", waiting)
        yield closed


@pytest.fixture
def running(widget, qtbot, endless):
    """The widget in the middle of the second file."""
    widget.run_button.click()
    qtbot.waitUntil(lambda: statuses(widget)[1:2] == ["running 50 %"], timeout=LONG)
    return widget


def filled(widget, folder, task="denoise"):
    """The widget told what to do."""
    widget.controls.task.value = task
    widget.controls.source.value = folder / "in"
    widget.controls.results.value = folder / "out"
    widget.controls.model.value = FROM_FILE
    widget.controls.model_file.value = folder / f"{task}.safetensors"
    widget.controls.device.value = "cpu"
    return widget


def cells(widget, column, role=Qt.ItemDataRole.DisplayRole):
    model = widget.table.model()
    return [model.data(model.index(row, column), role) for row in range(model.rowCount())]


def statuses(widget):
    return cells(widget, 1)


def told(widget):
    return widget.text.text().replace("\u200b", "")


def enabled(widget):
    buttons = (widget.run_button, widget.cancel_button, widget.open_button)
    return tuple(button.isEnabled() for button in buttons)


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def report(folder):
    with (folder / "out/report.csv").open(newline="", encoding="utf-8") as file:
        return [row["status"] for row in csv.DictReader(file)]


def check_results(folder, names=NAMES, verb=nr.denoise, task="denoise", **options):
    for name in names:
        image = tifffile.imread(folder / "in" / name)
        expected = verb(image, model=folder / f"{task}.safetensors", device="cpu", **options)
        np.testing.assert_array_equal(tifffile.imread(folder / "out" / name), expected)


def opened(widget, qtbot, button, row=0):
    """The layers that a button adds for a row."""
    before = len(widget.viewer.layers)
    widget.table.selectRow(row)
    button.click()
    qtbot.waitUntil(lambda: len(widget.viewer.layers) > before, timeout=LONG)
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    return list(widget.viewer.layers)[before:]


# Runs ----------------------------------------------------------------------------------------


def test_start_to_finish_with_a_bad_file(make_napari_viewer, qtbot, wait, folder, notifications):
    viewer = make_napari_viewer(show=True)
    (folder / "in/deep/bad.tif").write_bytes(b"no image")
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
    filled(widget, folder)
    qtbot.waitExposed(widget)
    qtbot.waitUntil(widget.run_button.isEnabled)
    qtbot.mouseClick(widget.run_button, Qt.MouseButton.LeftButton)
    assert enabled(widget) == (False, True, False)
    assert not widget.controls.native.isEnabled()
    wait(widget)
    assert enabled(widget) == (True, False, False)
    assert widget.controls.native.isEnabled()
    assert not widget.progress.isVisible()
    assert statuses(widget) == ["restored", "restored", "failed", "restored"]
    assert told(widget) == "3 restored, 0 skipped, 1 failed"
    name, reason = cells(widget, 0)[2].split("\n")
    assert name == "deep/bad.tif"
    assert reason.startswith("cannot be read as TIFF")
    assert str(folder) in cells(widget, 0, Qt.ItemDataRole.ToolTipRole)[2]
    table, wrapped = widget.table, Qt.TextFlag.TextWordWrap
    room = QRect(0, 0, table.columnWidth(0), 1000)
    needed = table.fontMetrics().boundingRect(room, wrapped, cells(widget, 0)[2]).height()
    assert table.rowHeight(2) >= needed > 2 * table.rowHeight(0)
    assert files_below(folder / "out") == sorted([RECORD, "report.csv", *NAMES])
    assert report(folder) == statuses(widget)
    check_results(folder)
    assert notifications() == []


@pytest.mark.parametrize(
    ("task", "verb", "options"),
    [
        ("super_resolve", nr.super_resolve, {"scale": 3}),
        ("deblock", nr.deblock, {"ensemble": True}),
        ("inpaint", nr.inpaint, {}),
    ],
)
def test_each_task_gives_what_its_function_gives(widget, folder, press, task, verb, options):
    filled(widget, folder, task)
    controls = widget.controls
    if "scale" in options:
        controls.option["scale"].value = options["scale"]
    controls.option["ensemble"].value = options.get("ensemble", False)
    controls.pattern.value = "deep/*.tif"
    press(widget)
    told = "\ndead and hot pixels found: 0" if task == "inpaint" else ""
    assert cells(widget, 0) == [name + told for name in NAMES[1:]]
    assert statuses(widget) == ["restored"] * 2
    check_results(folder, NAMES[1:], verb, task, **options)


def test_typed_noise_and_a_mask_from_a_file_are_used(widget, folder, press):
    controls = filled(widget, folder).controls
    controls.pattern.value = "a.tif"
    controls.noise.value, controls.noise_fields["read_noise"].value = "manual", "30"
    press(widget)
    check_results(folder, ["a.tif"], noise=30)
    filled(widget, folder, "inpaint")
    mask = np.zeros(tifffile.imread(folder / "in/a.tif").shape[-2:], np.uint8)
    mask[5:9, 3:20] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    controls.mask.value, controls.mask_file.value = "from a file", folder / "mask.png"
    controls.existing.value = "overwrite"
    press(widget)
    check_results(folder, ["a.tif"], nr.inpaint, "inpaint", mask=mask > 0)
    controls.mask_file.value = folder / "none.png"
    press(widget)
    assert "none.png cannot be read as an image" in told(widget)


def test_what_exists_is_resumed_left_or_made_again(widget, folder, press):
    press(widget)
    (folder / "in/new.tif").write_bytes((folder / "in/a.tif").read_bytes())
    press(widget)
    assert statuses(widget) == ["skipped", "skipped", "skipped", "restored"]
    assert told(widget) == "1 restored, 3 skipped, 0 failed"
    assert "done before" in cells(widget, 0, Qt.ItemDataRole.ToolTipRole)[0]
    widget.controls.existing.value = "skip"
    widget.controls.option["ensemble"].value = True
    press(widget)
    assert statuses(widget) == ["skipped"] * 4
    widget.controls.existing.value = "overwrite"
    press(widget)
    assert statuses(widget) == ["restored"] * 4
    check_results(folder, ensemble=True)


def test_the_command_and_the_widget_go_on_with_each_other(widget, folder, press):
    model = folder / "denoise.safetensors"
    options = ["--out", folder / "out", "--model", model, "--device", "cpu"]
    assert call("denoise", folder / "in", *options)[0] == 0
    press(widget)
    assert statuses(widget) == ["skipped"] * 3
    widget.controls.existing.value = "overwrite"
    press(widget)
    assert "0 restored, 3 skipped" in call("denoise", folder / "in", *options, "--resume")[1]


def test_a_result_that_no_batch_has_made_is_not_overwritten(widget, folder, press):
    (folder / "out").mkdir()
    (folder / "out/a.tif").write_text("precious")
    press(widget)
    assert statuses(widget) == ["failed", "restored", "restored"]
    assert "exists, and no batch has noted" in cells(widget, 0)[0]
    assert (folder / "out/a.tif").read_text() == "precious"


def test_progress_counts_what_there_is_to_do(running, qtbot):
    assert statuses(running) == ["restored", "running 50 %", "waiting"]
    qtbot.waitUntil(lambda: running.progress.value() == 500)
    assert told(running).startswith("file 2 of 3, ")
    assert told(running).endswith(" left")


def test_a_result_can_be_opened_while_others_are_made(running, qtbot):
    running.table.selectRow(0)
    assert running.open_button.isEnabled()
    running.open_button.click()
    qtbot.waitUntil(lambda: len(running.viewer.layers) == 1, timeout=LONG)
    running.table.selectRow(1)
    assert not running.open_button.isEnabled()


def test_cancel_leaves_nothing_half_written_and_resume_goes_on(
    running, endless, wait, press, folder, notifications
):
    started = time.monotonic()
    running.cancel_button.click()
    assert told(running) == "Stopping…"
    assert enabled(running) == (False, False, False)
    wait(running)
    assert time.monotonic() - started < 3
    assert endless.is_set()
    assert files_below(folder / "out") == [RECORD, "a.tif", "report.csv"]
    assert report(folder) == ["restored"]
    assert statuses(running) == ["restored", "stopped", "waiting"]
    assert "stopped after 1 of 3 files" in told(running)
    press(running)
    assert statuses(running) == ["skipped", "restored", "restored"]
    check_results(folder)
    assert notifications() == []


@pytest.mark.window
@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_ends_the_run(viewer, running, endless, folder, qtbot, notifications, how):
    if how == "dock":
        viewer.window.remove_dock_widget(running)
        running.deleteLater()
    else:
        viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert endless.is_set()
    assert files_below(folder / "out") == [RECORD, "a.tif", "report.csv"]
    assert report(folder) == ["restored"]
    assert notifications() == []


def test_a_second_start_does_nothing(running):
    worker = running._worker
    running._start()
    assert running._worker is worker


# What is refused -----------------------------------------------------------------------------


def test_folders_must_be_chosen(widget, notifications):
    for edit, expected in (("results", "under Results"), ("source", "under Images")):
        getattr(widget.controls, edit).line_edit.value = ""
        widget.run_button.click()
        assert expected in notifications()[-1]
        assert not widget.is_running
    widget.controls.pattern.value = "/etc/*"
    widget.run_button.click()
    assert "below the folder" in notifications()[-1]


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        ("source", "nowhere", "there is no folder"),
        ("source", "empty", "there are no images"),
        ("pattern", "x*.tif", "no images (.tif, .tiff, .png, .jpg or .zarr) match"),
        ("results", "in", "would overwrite"),
        ("results", "out.zarr", "is the name of an image"),
        ("results", "a file", "cannot be written to"),
        ("model_file", "nowhere.safetensors", "nowhere"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    widget, folder, press, notifications, control, value, message
):
    (folder / "empty").mkdir()
    (folder / "a file").write_text("")
    before = files_below(folder)
    edit = getattr(widget.controls, control)
    edit.value = value if control == "pattern" else folder / value
    press(widget)
    (shown,) = notifications()
    assert message in shown
    assert f"Error: {shown}" in told(widget)
    assert files_below(folder) == before
    assert widget.run_button.isEnabled()


def test_a_report_that_cannot_be_written_is_told(widget, folder, press):
    (folder / "out/report.csv").mkdir(parents=True)
    press(widget)
    assert told(widget).startswith("3 restored, 0 skipped, 0 failed\nError: the report")


# Results as layers ---------------------------------------------------------------------------


def test_open_shows_the_result(widget, folder, press, qtbot):
    press(widget)
    (layer,) = opened(widget, qtbot, widget.open_button, row=1)
    assert layer.name == "deep/b.tif denoised"
    np.testing.assert_array_equal(layer.data, tifffile.imread(folder / "out/deep/b.tif"))
    widget.table.doubleClicked.emit(widget.table.model().index(1, 0))
    qtbot.waitUntil(lambda: len(widget.viewer.layers) == 2, timeout=LONG)


def test_before_and_after_lie_in_the_same_place(widget, folder, press, qtbot):
    filled(widget, folder, "super_resolve")
    channels = np.stack([tifffile.imread(folder / "in" / n) for n in NAMES[:2]])
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "in/channels.ome.tif", channels, metadata=metadata)
    press(widget)
    row = cells(widget, 0).index("channels.ome.tif")
    layers = opened(widget, qtbot, widget.compare_button, row)
    assert [layer.data.shape for layer in layers] == [(48, 64)] * 2 + [(96, 128)] * 2
    assert layers[2].name == layers[0].name + " super-resolved"
    assert layers[3].colormap.name == layers[1].colormap.name
    assert layers[3].contrast_limits == layers[1].contrast_limits
    # The second channel is seen through: with its source, it would be twice as bright.
    assert [layer.visible for layer in layers] == [True, False, True, True]
    np.testing.assert_allclose(layers[0].scale, 0.5)
    corners = [layer.extent.world for layer in layers]  # the centres of the outer pixels
    np.testing.assert_allclose(corners[0][0] - 0.25, corners[2][0] - 0.125)
    np.testing.assert_allclose(corners[0][1] + 0.25, corners[2][1] + 0.125)
    assert str(layers[2].units[0]) == str(layers[0].units[0]) == "micrometer"


@pytest.mark.parametrize("button", ["open_button", "compare_button"])
def test_a_hot_pixel_does_not_leave_all_else_black(widget, folder, press, qtbot, button):
    image = tifffile.imread(folder / "in/a.tif")
    image[5, 6] = 65535
    tifffile.imwrite(folder / "in/a.tif", image)
    widget.controls.option["defects"].value = False
    press(widget)
    for layer in opened(widget, qtbot, getattr(widget, button)):
        assert layer.contrast_limits[1] < 2 * np.percentile(image, 99)
        assert layer.visible


def test_colours_are_shown_as_such(widget, folder, press, qtbot):
    tifffile.imwrite(folder / "in/rgb.tif", data.astronaut()[:48, 200:264], photometric="rgb")
    filled(widget, folder, "deblock")
    press(widget)
    source, result = opened(widget, qtbot, widget.compare_button, cells(widget, 0).index("rgb.tif"))
    assert source.rgb
    assert result.rgb
    assert result.data.shape == (48, 64, 3)


def test_zarr_is_restored_and_shown_channel_by_channel(widget, folder, press, qtbot):
    channels = np.stack([tifffile.imread(folder / "in" / n) for n in NAMES[:2]])
    tifffile.imwrite(folder / "channels.ome.tif", channels, metadata={"axes": "CYX"})
    described = as_zarr_description(read_image(folder / "channels.ome.tif"))
    with image_writer(folder / "in/channels.zarr", described) as out:
        out[...] = channels
    press(widget)
    row = cells(widget, 0).index("channels.zarr")
    layers = opened(widget, qtbot, widget.compare_button, row)
    assert [layer.ndim for layer in layers] == [2] * 4
    expected = nr.denoise(channels, model=folder / "denoise.safetensors", channel_axis=0)
    np.testing.assert_array_equal(np.asarray(layers[3].data), expected[1])


def test_axes_that_have_no_place_in_zarr_are_shown_without_sizes(tmp_path):
    image = np.zeros((2, 20, 24, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=["unassalpha"])
    read = read_layer_image(tmp_path / "a.tif")
    assert read.rgb
    assert read.options == {}


def test_a_result_that_has_vanished_is_told(widget, folder, press, qtbot, notifications):
    press(widget)
    (folder / "out/a.tif").unlink()
    widget.table.selectRow(0)
    widget.open_button.click()
    qtbot.waitUntil(lambda: len(notifications()) == 1, timeout=LONG)
    assert "there is no file" in notifications()[0]


# The window ----------------------------------------------------------------------------------


def test_names_are_told_apart_by_their_ends(widget, folder, press):
    names = [f"20240517_HeLa_H2B-mCherry_60x-oil_position-{n}.tif" for n in (1, 2)]
    for name in names:
        (folder / "in/a.tif").with_name(name).write_bytes((folder / "in/a.tif").read_bytes())
    press(widget)
    widget.resize(NARROW, 700)
    table = widget.table
    whole = table.viewport().grab()
    first, second = (
        whole.copy(table.visualRect(table.model().index(cells(widget, 0).index(name), 0))).toImage()
        for name in names
    )
    assert first.size() == second.size()
    assert first != second


def test_only_super_resolution_has_a_scale(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
    controls = widget.controls
    qtbot.waitUntil(lambda: controls.task.visible)
    assert not controls.option["scale"].visible
    controls.task.value = "super_resolve"
    assert controls.option["scale"].visible
    assert controls.task.choices == tuple(VERBS)


def test_it_fits_a_narrow_dock_and_explains_itself(viewer, dock, folder, press):
    widget = filled(dock("Batch"), folder)
    widget.controls.source.value = folder / ("nowhere-with-a-very-long-name-" * 6)
    press(widget)
    for control in widget.controls:
        control.visible = True
        assert control.tooltip, control.name
    assert widget.minimumSizeHint().width() <= NARROW
    parts = (widget.run_button, widget.cancel_button, widget.open_button, widget.compare_button)
    for part in (*parts, widget.progress, widget.text, widget.table):
        assert part.toolTip()


def test_models_are_those_of_the_task_and_follow(dock):
    widget = dock("Batch")
    nr.add_model(small_model("deblock"), "my cells")
    assert "my cells" not in widget.controls.model.choices
    widget.controls.task.value = "deblock"
    assert "my cells" in widget.controls.model.choices


def test_following_keeps_no_window_alive(qtbot, viewer):
    window = weakref.ref(BatchWidget(viewer))
    gc.collect()
    assert window() is None


def test_files_are_taken_for_what_is_told(widget, folder, press):
    """All images of a file, without the planes that are not there, with an axis of channels."""
    for path in (folder / "in").rglob("*.tif"):
        path.unlink()
    quiet = np.random.default_rng(0).poisson(data.moon()[:48, :64]).astype(np.uint16)
    loud = quiet + np.random.default_rng(1).integers(0, 300, quiet.shape, np.uint16)
    pair = np.stack([quiet, loud])
    with tifffile.TiffWriter(folder / "in/two.tif") as file:
        for image in (pair, pair[::-1]):
            file.write(image, photometric="minisblack")
    controls = widget.controls
    assert controls.request().reading == Reading()
    controls.series.value, controls.missing.value, controls.channels.value = "all", "skip", 0
    assert controls.request().reading == Reading(None, "skip", None, 0)
    press(widget)
    assert statuses(widget) == ["restored"] * 2
    model = folder / "denoise.safetensors"
    for number, image in enumerate((pair, pair[::-1])):
        expected = nr.denoise(image, model=model, device="cpu", channel_axis=0)
        result = tifffile.imread(folder / f"out/two-{number}.tif")
        np.testing.assert_array_equal(result, expected)
    # The other image of the file is not shown beside the result of this one.
    shown = read_files(widget._run.files[1], with_source=True)
    np.testing.assert_array_equal(np.squeeze(shown[0].data), pair[::-1])
    controls.series.value = "first"
    with pytest.raises(ValueError, match="Series must be a number"):
        controls.request()


@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_a_mask_among_the_images_is_none_of_them(tmp_path, pattern):
    for name in ("a.png", "b.tif", "mask.png"):
        (tmp_path / name).touch()
    arguments = {"mask": tmp_path / "mask.png"}
    request = BatchRequest("inpaint", arguments, tmp_path, pattern, tmp_path / "out", "refuse")
    names = ["a.png"] if pattern else ["a.png", "b.tif"]
    assert [file.name for file in request.files()] == names


def test_axes_and_compression_are_those_that_are_told(widget, folder, press):
    controls = widget.controls
    stack = np.stack([tifffile.imread(folder / "in/a.tif")] * 2)
    tifffile.imwrite(folder / "in/a.tif", stack, metadata={"axes": "QYX"})
    controls.pattern.value = "a.tif"
    assert controls.request().compression is None
    controls.axes.value, controls.compression.value = "CYX", "deflate"
    press(widget)
    assert statuses(widget) == ["restored"]
    result = folder / "out/a.tif"
    with tifffile.TiffFile(result) as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    model = folder / "denoise.safetensors"
    expected = nr.denoise(stack, model=model, device="cpu", channel_axis=0)
    np.testing.assert_array_equal(tifffile.imread(result), expected)
    controls.axes.value, controls.existing.value = "CY", "overwrite"
    press(widget)
    assert statuses(widget) == ["failed"]
    assert "CY" in cells(widget, 0)[0]


@pytest.mark.parametrize("is_from_files", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_sizes_of_pixels_are_those_of_each_file(widget, folder, press, is_from_files):
    """Where a file tells none, those that are typed."""
    filled(widget, folder, "deblur")
    small_model("denoise").save(folder / "deblur.safetensors")
    frames = np.random.default_rng(0).poisson(50, (2, 6, 24, 24)).astype(np.uint16)
    for path in (folder / "in").rglob("*.tif"):
        path.unlink()
    sizes = {"spacing": 0.5, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(
        folder / "in/told.tif",
        frames[0],
        imagej=True,
        resolution=(4, 4),
        metadata=sizes,
    )
    tifffile.imwrite(folder / "in/untold.tif", frames[1], metadata={"axes": "ZYX"})
    controls = widget.controls
    controls.psf.kind.value = VOLUMES
    assert not controls.sizes.native.isHidden()
    controls.sizes.value = is_from_files
    values = {"Aperture": 0.6, "Wavelength": 0.5, "Pixel size": 0.3, "Z step": 1.0, "Index": 1.0}
    for box in controls.psf.values[VOLUMES]:
        box.value = values[box.label]
    press(widget)
    assert statuses(widget) == ["restored"] * 2
    model, typed = folder / "deblur.safetensors", nr.psf.widefield3d(0.6, 0.5, 0.3, 1.0, 1.0)
    known = nr.psf.widefield3d(0.6, 0.5, 0.25, 0.5, 1.0)
    for name, image, kernel in (
        ("told", frames[0], known if is_from_files else typed),
        ("untold", frames[1], typed),
    ):
        expected = nr.deblur(image, kernel, model=model, device="cpu")
        result = tifffile.imread(folder / f"out/{name}.tif").astype(int)
        assert np.abs(result - expected.astype(int)).max() <= 1
    controls.psf.kind.value = "Gaussian"
    assert controls.sizes.native.isHidden()
