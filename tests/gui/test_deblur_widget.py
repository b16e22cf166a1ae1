"""The Deblur widget."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from napari_rednet import psf
from napari_rednet.provenance import as_python
from napari_rednet.widgets.restore.psf_controls import LAYER, PLANES, VOLUMES
from napari_rednet.widgets.shared import persistence


@pytest.fixture
def widget(dock):
    return dock("Deblur")


@pytest.fixture
def blurred():
    clean = data.camera()[100:180, 200:300].astype(float)
    image = ndimage.convolve(clean, psf.disk(2.0), mode="nearest")
    return image + np.random.default_rng(0).normal(0, 2, clean.shape)


def is_close(found, expected):
    """Fourier transforms may round otherwise where arrays lie otherwise in memory."""
    return np.abs(found - expected).max() < 0.01 * np.ptp(expected)


def shown(widget):
    """Labels of the value fields that can be seen."""
    return [
        b.label for boxes in widget.psf.values.values() for b in boxes if not b.native.isHidden()
    ]


@pytest.mark.window
def test_a_generated_psf_is_used(viewer, widget, run, blurred):
    layer = viewer.add_image(blurred, name="cell", scale=(0.2, 0.3))
    widget.psf.kind.value = "disk (out of focus)"
    widget.psf.values["disk (out of focus)"][0].value = 2.0
    run(widget)
    result = viewer.layers[-1]
    assert result.name == "cell deblurred"
    np.testing.assert_array_equal(result.scale, layer.scale)
    assert is_close(result.data, nr.deblur(blurred, psf.disk(2.0)))
    record = result.metadata["napari_rednet"]
    assert record["verb"] == "deblur"
    assert record["psf"] == {"function": "disk", "values": [2.0]}


def test_a_measured_psf_is_taken_from_a_layer(viewer, widget, run, blurred):
    bead = viewer.add_image(psf.gaussian(1.2), name="bead")
    layer = viewer.add_image(blurred, name="cell")
    widget.common.image.value = layer
    widget.psf.kind.value = LAYER
    widget.psf.layer.value = bead
    assert shown(widget) == []
    run(widget)
    found = viewer.layers[-1].data
    assert is_close(found, nr.deblur(blurred, psf.gaussian(1.2)))
    assert not is_close(found, nr.deblur(blurred, psf.gaussian(1.3)))


def test_a_layer_is_a_bead_unless_the_user_says_otherwise(viewer, widget, run, blurred):
    aside = np.pad(psf.disk(2.0), ((0, 4), (6, 0)))
    bead = viewer.add_image(aside, name="bead")
    widget.common.image.value = viewer.add_image(blurred, name="cell")
    assert widget.psf.center.native.isHidden()
    widget.psf.kind.value, widget.psf.layer.value = LAYER, bead
    assert not widget.psf.center.native.isHidden()
    assert widget.psf.center.value == "mass"
    for center, remark in (("mass", "“middle of the layer”"), ("array", "“centre of mass”")):
        widget.psf.center.value = center
        assert remark in widget.psf.remark.value
        assert not widget.psf.remark.native.isHidden()
        run(widget)
        result = viewer.layers[-1]
        assert is_close(result.data, nr.deblur(blurred, aside, center=center))
        assert result.metadata["napari_rednet"]["center"] == center
        code = as_python(widget.layer_runs.present_call())
        assert ("center='mass'" in code) == (center == "mass")
        widget.common.image.value = viewer.layers["cell"]
    widget.psf.kind.value = "Gaussian"
    assert widget.psf.remark.native.isHidden()


def test_the_window_says_that_a_bead_has_a_background(viewer, widget):
    bead = viewer.add_image(psf.gaussian(2.0) + 0.002, name="bead")
    widget.psf.kind.value, widget.psf.layer.value = LAYER, bead
    assert "Subtract its background, (psf - 0.00" in widget.psf.remark.value
    widget.psf.layer.value = viewer.add_image(psf.gaussian(2.0), name="dark bead")
    assert widget.psf.remark.value == ""
    # What a run would refuse is not remarked on before.
    widget.psf.layer.value = viewer.add_image(np.full((9, 9), -1.0), name="no bead")
    assert widget.psf.remark.value == ""


def test_each_blur_shows_its_own_values(viewer, widget):
    expected = {
        "Gaussian": ["Width"],
        "disk (out of focus)": ["Radius"],
        "motion": ["Length", "Angle"],
        "widefield": ["Aperture", "Wavelength", "Pixel size"],
        "widefield, z-stack": ["Aperture", "Wavelength", "Pixel size", "Z step", "Index"],
        "confocal, z-stack": [
            *["Aperture", "Wavelength", "Excitation"],
            *["Pixel size", "Z step", "Index", "Pinhole"],
        ],
    }
    for kind, labels in expected.items():
        widget.psf.kind.value = kind
        assert shown(widget) == labels
        array = widget.psf.psf().array
        assert array.sum() == pytest.approx(1)
        assert array.ndim == (3 if "z-stack" in kind else 2)


def test_typed_values_stay(viewer, widget, run, blurred):
    """All choices are asked again when the result comes."""
    viewer.add_image(blurred, name="cell")
    widget.psf.kind.value = "motion"
    widget.psf.values["motion"][0].value = 4.5
    run(widget)
    assert widget.psf.values["motion"][0].value == 4.5
    assert shown(widget) == ["Length", "Angle"]


def test_an_impossible_psf_is_reported_and_another_run_works(
    viewer, widget, run, blurred, notifications
):
    viewer.add_image(blurred, name="cell")
    widget.psf.kind.value = "motion"
    widget.psf.values["motion"][0].value = -3.0
    run(widget)
    assert any("length must be positive" in message for message in notifications())
    assert len(viewer.layers) == 1
    widget.psf.values["motion"][0].value = 3.0
    run(widget)
    assert len(viewer.layers) == 2


def stack_of(viewer, blurred, **options):
    return viewer.add_image(np.stack([blurred] * 3), **options)


MICROSCOPE = {"scale": (0.25, 0.0813, 0.0813), "units": "µm", "axis_labels": ("z", "y", "x")}


def test_a_stack_with_distances_of_planes_is_a_volume_by_default(viewer, widget, blurred):
    plane = viewer.add_image(blurred)
    widget.common.image.value = plane
    assert widget.psf.kind.value == PLANES
    stack = stack_of(viewer, blurred, **MICROSCOPE)
    widget.common.image.value = stack
    assert widget.psf.kind.value == VOLUMES
    told = dict(zip(shown(widget), widget.psf.psf().values, strict=True))
    assert (told["Pixel size"], told["Z step"]) == (0.0813, 0.25)
    assert widget.arguments()["psf"].array.ndim == 3
    widget.common.image.value = plane
    assert widget.psf.kind.value == PLANES
    movie = {**MICROSCOPE, "axis_labels": ("t", "y", "x"), "units": ("s", "nm", "nm")}
    widget.common.image.value = stack_of(viewer, blurred, **movie)
    assert widget.psf.kind.value == PLANES
    assert widget.psf.values["widefield"][2].value == pytest.approx(0.0813e-3, abs=1e-4)
    widget.common.image.value = stack_of(viewer, blurred)  # of no known distances
    assert widget.psf.kind.value == PLANES


def test_the_blur_that_a_user_has_chosen_stays(viewer, widget, blurred):
    widget.common.image.value = viewer.add_image(blurred)
    widget.psf.kind.value = "motion"
    stack = stack_of(viewer, blurred, **MICROSCOPE)
    widget.common.image.value = stack
    assert widget.psf.kind.value == "motion"
    widget.psf.kind.value = VOLUMES
    assert widget.psf.psf().values[2] == 0.0813  # what is known is known
    widget.common.image.value = viewer.layers[0]
    assert widget.psf.kind.value == VOLUMES


def test_what_is_remembered_of_the_last_run_is_no_choice(viewer, dock, blurred):
    persistence.remember("deblur", {"psf": "motion", "widefield, z-stack Pixel size": 7.0})
    stack = stack_of(viewer, blurred, **MICROSCOPE)
    widget = dock("Deblur")
    assert widget.common.image.value is stack
    assert widget.psf.kind.value == VOLUMES
    assert widget.psf.psf().values[2] == 0.0813


def test_lengths_are_not_rounded(widget):
    for label, value in (("Wavelength", 0.5235), ("Excitation", 0.488)):
        (box,) = (b for b in widget.psf.values["confocal, z-stack"] if b.label == label)
        box.value = value
        assert box.value == value


@pytest.mark.parametrize("kind", [PLANES, VOLUMES])
def test_a_generated_psf_can_be_looked_at(viewer, widget, blurred, kind):
    stack = stack_of(viewer, blurred, translate=(1, 2, 3), **MICROSCOPE)
    viewer.dims.set_current_step(0, 2)
    widget.common.image.value = stack
    widget.psf.kind.value = kind
    widget.picture.native.click()
    shown_psf = viewer.layers[-1]
    np.testing.assert_array_equal(shown_psf.data, widget.psf.psf().array)
    count = shown_psf.ndim
    np.testing.assert_array_equal(shown_psf.scale, stack.scale[-count:])
    brightest = np.unravel_index(shown_psf.data.argmax(), shown_psf.data.shape)
    place, there = shown_psf.data_to_world(brightest), stack.data_to_world((2, 39.5, 49.5))
    np.testing.assert_allclose(place, there[-count:], atol=0.05)
    assert widget.common.image.value is stack


def test_the_mean_of_the_beads_in_a_layer_is_the_psf(viewer, widget, qtbot, blurred):
    points = np.zeros((60, 90))
    points[[20, 40, 22], [20, 45, 70]] = 900, 700, 1000
    beads = viewer.add_image(ndimage.gaussian_filter(points, 1.5) + 3, name="beads")
    widget.common.image.value = viewer.add_image(blurred)
    widget.psf.kind.value, widget.psf.layer.value = LAYER, beads
    widget.picture.native.click()
    qtbot.waitUntil(lambda: widget.psf.layer.value is not beads)
    mean = widget.psf.layer.value
    assert mean.name == "beads: mean bead"
    np.testing.assert_array_equal(mean.data, psf.from_beads(beads.data))
    assert widget.psf.center.value == "array"
    assert widget.psf.kind.value == LAYER


def test_without_beads_there_is_no_mean(viewer, widget, blurred, notifications, qtbot):
    flat = viewer.add_image(np.ones((40, 40)), name="flat")
    widget.common.image.value = viewer.add_image(blurred)
    widget.psf.kind.value, widget.psf.layer.value = LAYER, flat
    widget.picture.native.click()
    qtbot.waitUntil(lambda: any("must not be the same everywhere" in m for m in notifications()))
    assert widget.psf.layer.value is flat
