"""Every option of every function that restores has its control, or a reason to have none."""

import numpy as np
import pytest

from napari_rednet.tasks import VERBS

# What the layer says, and what machines are asked for elsewhere.
NO_CONTROL = {"channel_axis", "rgb", "progress", "out", "tile", "memory"}
IN_BATCHES = NO_CONTROL | {"noise", "mask"}  # found in each image


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


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "deblur"])
def test_the_batch_window_tells_every_option(dock, tmp_path, verb):
    controls = dock("Batch").controls
    controls.task.value = verb
    controls.source.value = controls.results.value = tmp_path
    before = controls.order()
    assert (before.verb, before.arguments.keys()) == (verb, VERBS[verb].options.keys() - IN_BATCHES)
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
