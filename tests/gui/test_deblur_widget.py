"""The Deblur widget."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from napari_rednet import psf
from napari_rednet.provenance import as_python
from napari_rednet.widgets.restore.psf_controls import LAYER


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
    for center, remark in (("mass", "choose 'array'"), ("array", "choose 'mass'")):
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
