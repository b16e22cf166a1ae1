"""Planes that are restored together: the choice, the axis that it stands for, the result."""

import numpy as np
import pytest
from tests.conftest import stack_model

import napari_rednet as nr
from napari_rednet.widgets.restore.extent import SHOWN, plane_axis
from napari_rednet.widgets.shared.controls import FROM_FILE
from napari_rednet.widgets.shared.persistence import read_controls


@pytest.mark.parametrize(
    ("shape", "labels", "name", "axis"),
    [
        ((4, 20, 24), None, "z", 0),
        ((4, 20, 24), None, "t", 0),
        ((3, 4, 20, 24), None, "z", 1),
        ((3, 4, 20, 24), None, "t", 0),
        ((4, 3, 20, 24), ("z", "t", "y", "x"), "z", 0),
        ((4, 3, 20, 24), ("Z", "Time", "y", "x"), "t", 1),
        ((2, 4, 20, 24), ("c", "z", "y", "x"), "z", 1),
        ((4, 20, 24), ("z", "y", "x"), None, None),
    ],
)
def test_a_name_stands_for_an_axis(viewer, shape, labels, name, axis):
    layer = viewer.add_image(np.zeros(shape), axis_labels=labels)
    assert plane_axis(layer, name) == axis


@pytest.mark.parametrize(
    ("shape", "labels", "name"),
    [
        ((20, 24), None, "z"),
        ((4, 20, 24), ("z", "y", "x"), "t"),
        ((2, 20, 24), ("c", "y", "x"), "t"),
    ],
)
def test_where_there_are_no_planes_it_is_said(viewer, shape, labels, name):
    layer = viewer.add_image(np.zeros(shape), axis_labels=labels)
    with pytest.raises(ValueError, match=f"has no axis {name}: Planes: each by itself"):
        plane_axis(layer, name)


def test_planes_are_restored_together(viewer, dock, run, tmp_path, camera):
    stack = np.stack([camera[:60, :70]] * 3).astype(np.float32)
    stack += np.random.default_rng(0).normal(0, 10, stack.shape).astype(np.float32)
    model = stack_model()
    model.save(tmp_path / "stack.safetensors")
    viewer.add_image(stack, name="stack")
    widget = dock()
    assert widget.arguments()["along"] is None
    planes = next(control for control in widget.remembered() if control.name == "along")
    planes.value = "t"
    assert widget.arguments()["along"] == 0
    widget.common.model.value = FROM_FILE
    widget.common.model_file.value = tmp_path / "stack.safetensors"
    run(widget)
    expected = nr.denoise(stack, along=0, model=model)
    np.testing.assert_allclose(viewer.layers[-1].data, expected, atol=1)
    assert read_controls(widget.remembered())["along"] == "t"


def test_the_axis_of_channels_is_no_axis_of_planes(viewer, dock):
    viewer.add_image(np.ones((3, 4, 20, 24)))
    widget = dock()
    planes = next(control for control in widget.remembered() if control.name == "along")
    planes.value = "t"
    assert widget.arguments()["along"] == 0
    widget.extent.channels.value = 0
    assert widget.arguments()["along"] == 1


def test_a_single_plane_is_restored_by_itself(viewer, dock):
    viewer.add_image(np.ones((3, 20, 24), np.float32))
    widget = dock()
    planes = next(control for control in widget.remembered() if control.name == "along")
    planes.value = "z"
    assert widget.arguments()["along"] == 0
    widget.extent.planes.value = 0  # a range along the same axis
    widget.extent.last.value = 0
    assert widget.arguments()["along"] is None
    widget.extent.last.value = 1
    assert widget.arguments()["along"] == 0
    widget.extent.planes.value = SHOWN
    assert widget.arguments()["along"] is None
    restoration = widget.prepare(widget.selected(), **widget.arguments() | {"noise": 1.0})
    assert restoration.job.along is None
