"""Parts of the Compare widget that need no window."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image
from skimage import data

import napari_rednet as nr
from napari_rednet.widgets.compare.measures import _digits
from napari_rednet.widgets.compare.pair import Part, noise_of, settings_of, source_of
from napari_rednet.widgets.compare.split_view import (
    _NAME_LETTERS,
    Borrowed,
    HalfImage,
    HalfPlane,
    _short,
)

NOISE = nr.NoiseModel(2.0, 100.0, 3.0)


def layer(name="a", **record):
    return Image(np.zeros((4, 4)), name=name, metadata={"napari_rednet": record} if record else {})


def test_a_record_tells_source_noise_and_settings():
    source, other = layer("source"), layer("other")
    result = layer(
        source="source",
        verb="denoise",
        noise=[NOISE],
        model="denoise-fast",
        strength=1.5,
        device="cpu",
    )
    assert source_of(result, [other, source, result]) is source
    assert source_of(result, [other, result]) is None
    assert source_of(source, [source, result]) is None
    assert noise_of(result) == [NOISE]
    assert settings_of(result) == {"model": "denoise-fast", "strength": 1.5, "device": "cpu"}
    assert noise_of(layer(source="source", verb="deblur", noise=[NOISE])) is None
    assert noise_of(source) is None


def test_a_record_of_plain_values_with_a_model_file_is_understood():
    call = {"arguments": {"model": "/models/mine.safetensors"}}
    result = layer(verb="denoise", noise=[vars(NOISE)], model="mine", call=call, ensemble=True)
    assert noise_of(result) == [NOISE]
    assert settings_of(result) == {"model": "/models/mine.safetensors", "ensemble": True}


def test_an_estimate_is_made_from_the_middle_of_some_planes():
    stack = np.zeros((20, 1100, 1030), np.uint8)
    stack[:, 38:-38, 3:-3] = np.arange(20)[:, None, None]
    sample, axis = Part(stack, (), None).sample()
    assert (sample.shape, axis) == ((8, 1024, 1024), None)
    assert [np.unique(plane).tolist() for plane in sample] == [
        [i] for i in (0, 2, 5, 8, 10, 13, 16, 19)
    ]
    np.testing.assert_array_equal(Part(stack, (7,), None).sample()[0], 7)
    colours = Part(stack[0, :, :3, None].repeat(3, -1), (), -1)
    sample, axis = colours.sample()
    assert (sample.shape, axis) == ((1024, 3, 3), -1)
    channels = Part(stack.reshape(10, 2, 1100, 1030), (), 1)
    sample, axis = channels.sample()
    assert (sample.shape, axis) == ((8, 2, 1024, 1024), 1)
    assert [np.unique(plane).tolist() for plane in sample[:, 1]] == [
        [2 * i + 1] for i in (0, 1, 2, 3, 5, 6, 7, 9)
    ]
    assert Part(stack[:2], (), 0).sample()[1] == 0


def test_what_is_borrowed_is_put_back_unless_others_changed_it():
    owner = SimpleNamespace(a=1, b=2)
    borrowed = Borrowed()
    for value in (3, 4):
        borrowed.set(owner, "a", value)
    borrowed.set(owner, "b", 5)
    owner.b = 6
    borrowed.give_back()
    assert vars(owner) == {"a": 1, "b": 6}
    owner.a = 7
    borrowed.give_back()
    assert owner.a == 7


@pytest.mark.parametrize("slopes", [(0, 1), (1, 0), (0.5, -0.3), (-1, -2)])
@pytest.mark.parametrize("window", [(slice(None), slice(None)), (slice(5, 30), slice(8, 20))])
def test_half_an_image_is_hidden_at_each_level_and_in_each_window(slopes, window):
    image = data.camera()[:64, :80]
    rows, columns = np.mgrid[:64, :80]
    offset = -(slopes[0] * 31.7 + slopes[1] * 39.2)
    beyond = slopes[0] * rows + slopes[1] * columns + offset > 0
    whole = HalfImage(image, rgb=False, steps=(1, 1))
    whole.hidden = HalfPlane(np.array(slopes, float), offset)
    np.testing.assert_array_equal(np.isnan(whole[window]), beyond[window])
    np.testing.assert_array_equal(whole[window][~beyond[window]], image[window][~beyond[window]])
    coarse = HalfImage(image[::2, ::2], rgb=False, steps=(2, 2))
    coarse.hidden = whole.hidden
    agree = np.isnan(coarse[()]) == (beyond.reshape(32, 2, 40, 2).mean((1, 3)) > 0.5)
    assert agree.mean() > 0.97


def test_half_of_a_stack_and_of_colours():
    stack = np.arange(2 * 4 * 6).reshape(2, 4, 6)
    half = HalfImage(stack, rgb=False, steps=(1, 1, 1))
    half.hidden = HalfPlane(np.array([0.0, 0.0, 1.0]), -2.5)
    np.testing.assert_array_equal(half[1][:, :3], stack[1, :, :3])
    assert np.isnan(half[1, :, 3:]).all()
    assert np.asarray(half).shape == stack.shape
    for channels in (3, 4):
        colours = data.astronaut()[:4, :6]
        given = np.dstack([colours, np.full((4, 6), 99, np.uint8)])[..., :channels]
        half = HalfImage(given, rgb=True, steps=(1, 1))
        half.hidden = HalfPlane(np.array([0.0, 1.0]), -2.5)
        assert half.shape == (4, 6, 4)
        np.testing.assert_array_equal(half[()][..., :3], colours)
        assert (half[()][:, :3, 3] == (99 if channels == 4 else 255)).all()
        assert not half[()][:, 3:, 3].any()


def test_long_names_keep_the_end_that_tells_them_apart():
    name = "xyc_16bit__membranes_nuclei_hot_pixel"
    short = [_short(one) for one in (name, f"{name} denoised", "cell denoised")]
    assert short[0].startswith("xyc_16bit")
    assert short[0].endswith("hot_pixel")
    assert short[1].endswith("denoised")
    assert short[2] == "cell denoised"
    assert max(map(len, short)) <= _NAME_LETTERS


@pytest.mark.parametrize(
    ("value", "text"), [(159.8, "160"), (1234.5, "1200"), (0.01234, "0.012"), (0.0, "0")]
)
def test_errors_are_told_without_exponents(value, text):
    assert _digits(value, 2) == text
