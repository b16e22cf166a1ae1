"""Functions with napari's types: magicgui makes windows of them."""

import inspect

import numpy as np
import pytest
from magicgui import magicgui

import napari_rednet as nr
from napari_rednet.tasks import VERBS
from napari_rednet.widgets import functions


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_one_whose_options_are_its_own(verb):
    own = inspect.signature(getattr(functions, verb)).parameters
    full = inspect.signature(getattr(nr, verb)).parameters
    assert own.keys() <= full.keys()
    for name, parameter in own.items():
        is_needed = parameter.default is parameter.empty
        assert is_needed or parameter.default == full[name].default, name


@pytest.mark.window
def test_magicgui_offers_layers_and_adds_results(viewer, noisy):
    image = noisy[:40, :48]
    viewer.add_image(image, name="cell")
    mask = np.zeros(image.shape, int)
    mask[3:9, 5:11] = 1
    viewer.add_labels(mask, name="dust")
    expected = {
        "denoise": nr.denoise(image, strength=1.5),
        "super_resolve": nr.super_resolve(image, scale=3),
        "deblock": nr.deblock(image),
        "inpaint": nr.inpaint(image, mask),
    }
    for verb, result in expected.items():
        window = magicgui(getattr(functions, verb))
        viewer.window.add_dock_widget(window)
        window.image.native.setCurrentText("cell")
        if verb == "denoise":
            window.strength.value = 1.5
        if verb == "super_resolve":
            window.scale.value = 3
        if verb == "inpaint":
            window.mask.native.setCurrentText("dust")
        window()
        np.testing.assert_array_equal(viewer.layers[-1].data, result)


def test_deblurring_takes_a_psf(noisy):
    psf = nr.psf.gaussian(1.5)
    np.testing.assert_array_equal(functions.deblur(noisy, psf), nr.deblur(noisy, psf))
