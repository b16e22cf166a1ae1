"""Pictures of images side by side, without a window."""

import io

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import napari_rednet as nr

CAMERA = data.camera()


def test_a_notebook_gets_both_under_one_contrast(tmp_path):
    shown = nr.show(CAMERA // 2, CAMERA)
    picture = np.asarray(Image.open(io.BytesIO(shown._repr_png_())))
    before, after = picture[:, :512, 0], picture[:, -512:, 0]
    assert picture.shape == (512, 1032, 3)
    low, high = np.percentile(CAMERA, (0.2, 99.8))
    for drawn, image in ((before, CAMERA // 2), (after, CAMERA)):
        expected = ((image - low) / (high - low)).clip(0, 1) * 255
        np.testing.assert_allclose(drawn, expected, atol=0.5)
    shown.save(tmp_path / "pair.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "pair.png")), picture)


def test_what_is_smaller_is_drawn_as_large():
    picture = nr.show(CAMERA[::2, ::2], CAMERA).pixels
    np.testing.assert_array_equal(picture[::2, :512:2, 0], picture[1::2, 1:512:2, 0])
    with pytest.raises(ValueError, match="do not fit"):
        nr.show(CAMERA[:300], CAMERA)


def test_the_middle_plane_is_shown_or_the_one_that_is_named():
    stack = np.stack([CAMERA * 0, CAMERA, CAMERA[::-1]])
    for plane, expected in ((None, 1), ((2,), 2)):
        np.testing.assert_array_equal(
            nr.show(stack, plane=plane).pixels, nr.show(stack[expected]).pixels
        )
    stored = zarr.array(stack, chunks=(1, 512, 512))
    np.testing.assert_array_equal(nr.show(stored).pixels, nr.show(CAMERA).pixels)
    with pytest.raises(ValueError, match="plane must be"):
        nr.show(stack, plane=(3,))


def test_colours_stay_colours():
    astronaut = data.astronaut()
    picture = nr.show(astronaut, rgb=True).pixels
    correlation = np.corrcoef(picture[..., 0].ravel(), astronaut[..., 0].ravel())[0, 1]
    assert correlation > 0.99
    assert (picture[..., 0] != picture[..., 2]).any()


@given(st.sampled_from([np.nan, np.inf, 0.0, 7.0]), st.integers(1, 40), st.integers(1, 40))
def test_odd_images_are_shown(value, rows, columns):
    picture = nr.show(np.full((rows, columns), value)).pixels
    assert picture.dtype == np.uint8
    assert max(picture.shape) >= 256


@pytest.mark.parametrize("images", [(), (np.zeros(5),)])
def test_nothing_to_show_is_said(images):
    with pytest.raises(ValueError, match=r"give images|axes"):
        nr.show(*images)
