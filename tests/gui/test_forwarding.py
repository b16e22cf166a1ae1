"""Every option of every function that restores has its control, or a reason to have none."""

import numpy as np
import pytest

from napari_rednet.tasks import VERBS

# What the layer says, and what machines are asked for elsewhere.
NO_CONTROL = {"channel_axis", "rgb", "progress", "out", "tile", "memory"}
IN_BATCHES = NO_CONTROL | {"noise", "mask", "iterations"}  # the first two found in each image


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
    before = controls.order()
    assert (before.verb, before.arguments.keys()) == (verb, VERBS[verb].options.keys() - IN_BATCHES)
    assert controls.psf.kind.native.isHidden() == (verb != "deblur")
    for control, key, value in (
        (controls.scale, "scale", 3),
        (controls.strength, "strength", 1.5),
        (controls.fractions, "dtype", "float32"),
        (controls.repair, "defects", "keep"),
        (controls.ensemble, "ensemble", True),
        (controls.device, "device", "cpu"),
    ):
        assert control.native.isHidden() == (key not in before.arguments)
        control.value = {"float32": True, "keep": False}.get(value, value)
        assert controls.order().arguments.get(key, value) == value


def test_a_batch_is_deblurred_by_the_layer_that_holds_the_point(dock, viewer, tmp_path):
    controls = dock("Batch").controls
    controls.task.value = "deblur"
    controls.source.value = controls.results.value = tmp_path
    point = viewer.add_image(np.pad([[1.0]], ((2, 4), (3, 3))), name="point")
    assert point in controls.psf.layer.choices
    controls.psf.choose(point)
    arguments = controls.order().arguments
    np.testing.assert_array_equal(arguments["psf"], point.data)
    assert arguments["center"] == "mass"
    viewer.layers.remove(point)
    assert point not in controls.psf.layer.choices
