"""Every option of every function that restores has its control, or a reason to have none."""

import numpy as np
import pytest

import napari_rednet as nr
from napari_rednet.tasks import VERBS
from napari_rednet.widgets.batch.controls import OF_CHANNELS
from napari_rednet.widgets.restore import parameter_menu
from napari_rednet.widgets.shared.controls import Choices

# What the layer says, and what machines are asked for elsewhere.
NO_CONTROL = {"channel_axis", "rgb", "progress", "out", "tile", "memory"}


@pytest.mark.parametrize("verb", VERBS)
def test_windows_have_a_control_for_every_option(dock, viewer, verb):
    viewer.add_image(np.ones((24, 20)))
    widget = dock(VERBS[verb].label)
    assert widget.arguments().keys() == VERBS[verb].options.keys() - NO_CONTROL


@pytest.mark.parametrize("name", ["ensemble", "repair", "fractions"])
def test_ticks_of_windows_are_told(dock, viewer, name):
    viewer.add_image(np.ones((24, 20)))
    widget = dock("Denoise")
    before = widget.arguments()
    box = next(control for control in widget.remembered() if control.name == name)
    box.value = not box.value
    after = widget.arguments()
    assert [key for key in after if after[key] != before[key]] == [
        {"repair": "defects", "fractions": "dtype"}.get(name, name)
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_the_batch_window_tells_every_option(dock, tmp_path, verb):
    controls = dock("Batch").controls
    controls.task.value = verb
    controls.source.value = controls.results.value = tmp_path
    before = controls.request()
    assert (before.verb, before.arguments.keys()) == (verb, VERBS[verb].options.keys() - NO_CONTROL)
    assert controls.psf.kind.native.isHidden() == (verb != "deblur")
    for control, key, value in (
        (controls.option["scale"], "scale", 3),
        (controls.option["strength"], "strength", 1.5),
        (controls.option["iterations"], "iterations", 3),
        (controls.option["dtype"], "dtype", "float32"),
        (controls.option["defects"], "defects", "keep"),
        (controls.option["ensemble"], "ensemble", True),
        (controls.device, "device", "cpu"),
    ):
        assert control.native.isHidden() == (key not in before.arguments)
        control.value = {"float32": True, "keep": False}.get(value, value)
        assert controls.request().arguments.get(key, value) == value


def test_a_batch_is_deblurred_by_the_layer_that_holds_the_point(dock, viewer, tmp_path):
    controls = dock("Batch").controls
    controls.task.value = "deblur"
    controls.source.value = controls.results.value = tmp_path
    point = viewer.add_image(np.pad([[1.0]], ((2, 4), (3, 3))), name="point")
    assert point in controls.psf.layer.choices
    controls.psf.choose(point)
    arguments = controls.request().arguments
    np.testing.assert_array_equal(arguments["psf"], point.data)
    assert arguments["center"] == "mass"
    viewer.layers.remove(point)
    assert point not in controls.psf.layer.choices


@pytest.mark.parametrize("verb", ["denoise", "deblur"])
def test_a_batch_is_told_the_noise_that_was_typed(dock, tmp_path, verb):
    controls = dock("Batch").controls
    controls.task.value = verb
    controls.source.value = controls.results.value = tmp_path
    assert controls.request().arguments["noise"] is None
    assert controls.noise_fields["gain"].native.isHidden()
    controls.noise.value = "manual"
    assert not controls.noise_fields["gain"].native.isHidden()
    with pytest.raises(ValueError, match="Read noise must be a number, got ''"):
        controls.request()
    typed = {"gain": 2.0, "offset": 100.0, "read_noise": 5.0, "grain_y": 0.0, "grain_x": 1.5}
    for name, value in typed.items():
        controls.noise_fields[name].value = str(value)
    assert controls.request().arguments["noise"] == nr.NoiseModel(**typed)


def test_a_batch_is_filled_where_a_layer_or_a_file_says(dock, viewer, tmp_path):
    controls = dock("Batch").controls
    controls.task.value = "inpaint"
    controls.source.value = controls.results.value = tmp_path
    assert controls.request().arguments["mask"] is None
    painted = np.zeros((24, 20), int)
    painted[3:5, 7] = 2
    labels = viewer.add_labels(painted, name="dust")
    assert labels in controls.mask.choices
    controls.mask.value = labels
    np.testing.assert_array_equal(controls.request().arguments["mask"], painted > 0)
    controls.mask.value = "from a file"
    with pytest.raises(ValueError, match="choose the file of the mask"):
        controls.request()
    controls.mask_file.value = tmp_path / "dust.tif"
    assert controls.request().arguments["mask"] == tmp_path / "dust.tif"


def test_a_batch_has_presets(dock, tmp_path, monkeypatch):
    controls = dock("Batch").controls
    before = controls.parameters()
    controls.task.value, controls.option["strength"].value = "denoise", 1.5
    controls.noise.value, controls.noise_fields["read_noise"].value = "manual", "7"
    controls.pattern.value = "*.tif"
    monkeypatch.setattr(parameter_menu, "ask_name", lambda *_: "my camera")
    action(controls.menu, "Save as preset…").trigger()
    kept = controls.parameters()
    action(controls.menu, "Defaults").trigger()
    assert controls.parameters() == before != kept
    controls.menu.update()
    (preset,) = controls.menu.presets.actions()
    preset.trigger()
    assert controls.parameters() == kept
    assert "source" not in kept


@pytest.mark.window
def test_files_get_the_settings_of_a_window(dock, viewer, tmp_path, notifications):
    viewer.add_image(np.ones((2, 24, 20)))
    changed = {"strength": 1.4, "iterations": 3, "scale": 4, "ensemble": True, "repair": False}
    for verb in VERBS:
        widget = dock(VERBS[verb].label)
        for control in widget.remembered():
            if control.name in changed:
                control.value = changed[control.name]
        axis = 0 if verb == "deblur" else None
        widget.extent.channels.value = -1 if axis is None else axis
        if verb in ("denoise", "deblur"):
            widget.noise.type_models([nr.NoiseModel(2.0, 100.0, 5.0, 0.0, 1.5)])
        if verb == "deblur":
            widget.psf.kind.value = "disk (out of focus)"
        action(widget.menu, "Apply to files…").trigger()
        controls = dock("Batch").controls
        controls.source.value = controls.results.value = tmp_path
        request, arguments = controls.request(), widget.arguments()
        assert (request.verb, request.reading.channel_axis) == (verb, axis)
        if verb == "deblur":
            psf = request.arguments.pop("psf")
            np.testing.assert_array_equal(psf, arguments.pop("psf").array)
        if "noise" in arguments:
            arguments["noise"] = arguments["noise"][0]
        assert request.arguments == arguments
    assert notifications() == []
    # Each channel has its own.
    widget = dock("Denoise")
    widget.extent.channels.value = 0
    typed = [nr.NoiseModel(2.0, 100.0, 5.0), nr.NoiseModel(3.0, 90.0, 40.0)]
    widget.noise.type_models(typed)
    action(widget.menu, "Apply to files…").trigger()
    assert controls.noise.value == OF_CHANNELS
    assert controls.request().arguments["noise"] == typed
    widget.noise.type_models(typed[:1] * 2)
    action(widget.menu, "Apply to files…").trigger()
    assert controls.noise.value == "manual"
    assert OF_CHANNELS not in controls.noise.choices
    assert notifications() == []
    # Files have neither an outline nor planes in common.
    widget = dock("Inpaint")
    widget.mask.value = viewer.add_shapes(name="outline")
    action(widget.menu, "Apply to files…").trigger()
    assert notifications() == ["the mask of all files may be a Labels layer; 'outline' is none"]
    assert controls.mask.value == "dead and hot pixels"
    widget.mask.value = "dead and hot pixels"
    widget.extent.planes.value = 0
    action(widget.menu, "Apply to files…").trigger()
    assert len(notifications()) == 1  # all planes are no part
    widget.extent.last.value = 0
    widget.extent.region.value = viewer.layers["outline"]
    action(widget.menu, "Apply to files…").trigger()
    told = "files are restored as a whole, not planes 0 to 0 and what is drawn in 'outline' alone"
    assert notifications()[1:] == [told]
    # Nor is there an outline to measure their noise in, unless it is typed.
    widget = dock("Denoise")
    widget.noise.place.want("outline")
    action(widget.menu, "Apply to files…").trigger()
    assert len(notifications()) == 2
    widget.noise.mode.value = "automatic"
    action(widget.menu, "Apply to files…").trigger()
    told = "the noise of each file is estimated in all of it, not in 'outline'"
    assert notifications()[2:] == [told]


def test_a_model_is_taken_over_when_it_is_known(dock):
    """Models are looked for in the background where that takes seconds."""
    controls = dock("Batch").controls
    controls.adopt("denoise", {"model": "my cells"})
    assert controls.model.value == "fast"
    controls.offer(Choices([("fast", "fast"), ("my cells", "my cells")], ["auto"]))
    assert controls.model.value == "my cells"


def action(menu, text):
    return next(action for action in menu.menu.actions() if action.text() == text)
