"""What comes with the image of a sample is chosen with it, and never against the user."""

import pytest

from napari_rednet.widgets.restore import FOUND
from napari_rednet.widgets.restore.psf_controls import LAYER, VOLUMES
from napari_rednet.widgets.shared import persistence

SAMPLES = {"Inpaint": "holes", "Deblur": "blurred"}
COMING = {"Inpaint": "missing", "Deblur": "PSF (a bead)"}
DEFAULT = {"Inpaint": FOUND, "Deblur": "Gaussian"}
LEFT = {"Inpaint": FOUND, "Deblur": VOLUMES}
"""What is chosen for a sample without its layer; that of Deblur has distances of planes."""


def open_sample(viewer, name):
    return viewer.open_sample("napari-rednet", SAMPLES[name])[0]


def chosen(widget):
    """The layer that is used, or what is used instead."""
    if hasattr(widget, "mask"):
        return widget.mask.value
    return widget.psf.layer.value if widget.psf.kind.value == LAYER else widget.psf.kind.value


def choose(widget, choice):
    """As a user does."""
    if hasattr(widget, "mask"):
        widget.mask.value = choice
    elif isinstance(choice, str):
        widget.psf.kind.value = choice
    else:
        widget.psf.kind.value, widget.psf.layer.value = LAYER, choice


@pytest.fixture(params=SAMPLES)
def name(request):
    return request.param


@pytest.fixture
def own(viewer, name, noisy):
    """Adds an image of one's own, and what is to be chosen with it."""

    def add():
        image = viewer.add_image(noisy, name="own")
        if name == "Deblur":
            return image, viewer.add_image(noisy[:9, :9], name="own bead")
        viewer.add_labels(noisy > 2000, name="cells")  # or there would be no choice
        return image, viewer.add_labels(noisy > 1000, name="own mask")

    return add


def test_it_is_chosen_when_the_sample_comes(viewer, dock, name):
    widget = dock(name)
    image = open_sample(viewer, name)
    assert widget.common.image.value is image
    assert chosen(widget) is viewer.layers[COMING[name]]


def test_it_is_chosen_when_the_sample_is_there(viewer, dock, name):
    open_sample(viewer, name)
    assert chosen(dock(name)) is viewer.layers[COMING[name]]


def test_what_is_chosen_of_a_sample_can_be_run_at_once(viewer, dock, run):
    widget = dock("Inpaint")
    open_sample(viewer, "Inpaint")
    run(widget)
    result = viewer.layers[-1]
    assert result.metadata["napari_rednet"]["mask"]["name"] == "missing"
    # What was made of the image still has the mask.
    widget.common.image.value = result
    assert chosen(widget) is viewer.layers["missing"]


def test_it_comes_and_goes_with_the_image(viewer, dock, own, name):
    image, _ = own()
    widget = dock(name)
    widget.common.image.value = image
    sample = open_sample(viewer, name)
    assert widget.common.image.value is image
    assert chosen(widget) == DEFAULT[name]
    widget.common.image.value = sample
    assert chosen(widget) is viewer.layers[COMING[name]]
    widget.common.image.value = image
    assert chosen(widget) == DEFAULT[name]


def test_it_comes_and_goes_with_its_layer(viewer, dock, name):
    widget = dock(name)
    open_sample(viewer, name)
    viewer.layers.remove(COMING[name])
    assert chosen(widget) == LEFT[name]
    open_sample(viewer, name)
    assert chosen(widget) is viewer.layers[COMING[name]]


def test_layers_of_ones_own_are_not_chosen(viewer, dock, own, name):
    widget = dock(name)
    own()
    assert chosen(widget) == DEFAULT[name]


@pytest.mark.parametrize("choice", ["layer", "other"])
def test_what_the_user_chose_stays(viewer, dock, own, name, choice):
    _, layer = own()
    wanted = layer if choice == "layer" else {"Inpaint": FOUND, "Deblur": "motion"}[name]
    widget = dock(name)
    sample = open_sample(viewer, name)
    widget.common.image.value = sample
    choose(widget, wanted)
    viewer.layers.remove("own")
    open_sample(viewer, name)
    assert chosen(widget) == wanted
    widget.common.image.value = viewer.layers[-2]
    assert chosen(widget) == wanted


def test_what_the_user_chose_before_stays(viewer, dock, own, name):
    _, layer = own()
    widget = dock(name)
    choose(widget, layer)
    widget.common.image.value = open_sample(viewer, name)
    assert chosen(widget) is layer


def test_once_it_is_gone_the_user_has_no_choice_any_more(viewer, dock, own, name):
    _, layer = own()
    widget = dock(name)
    choose(widget, layer)
    viewer.layers.clear()
    open_sample(viewer, name)
    assert chosen(widget) is viewer.layers[COMING[name]]


def test_typed_values_are_a_choice(viewer, dock):
    widget = dock("Deblur")
    widget.psf.values["Gaussian"][0].value = 2.5
    open_sample(viewer, "Deblur")
    assert chosen(widget) == "Gaussian"


@pytest.mark.parametrize("kind", ["motion", LAYER])
def test_what_is_remembered_is_no_choice(viewer, dock, kind):
    persistence.remember("deblur", {"psf": kind})
    widget = dock("Deblur")
    assert widget.psf.kind.value == kind
    open_sample(viewer, "Deblur")
    assert chosen(widget) is viewer.layers[COMING["Deblur"]]


def test_only_what_the_user_chose_is_remembered(viewer, dock):
    persistence.remember("deblur", {"psf": "motion"})
    widget = dock("Deblur")
    open_sample(viewer, "Deblur")
    assert widget.parameters()["psf"] == "motion"
    choose(widget, "disk (out of focus)")
    choose(widget, viewer.layers[COMING["Deblur"]])
    assert widget.parameters()["psf"] == LAYER
