from itertools import combinations

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.io import imsave
from tests.finetuning.conftest import clean_settings, noisy_settings

import napari_rednet as nr
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.finetuning import stacks as module
from napari_rednet.finetuning.examples import read_examples
from napari_rednet.finetuning.stacks import Stack, as_stacks, windows

# (channels, z, y, x), all planes different.
IMAGE = np.stack(
    [[data.camera()[60 * i : 60 * i + 80, 90 * j :][:, :96] for i in (1, 3, 5)] for j in (1, 3)]
).astype(np.uint16)
IMAGE[1] *= 5


def examples_of(images, channel_axis=None, settings_of=clean_settings):
    return read_examples(as_stacks("images", images, channel_axis), settings_of)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.rows.keys() == other.rows.keys()
        for name, values in one.rows.items():
            np.testing.assert_array_equal(values, other.rows[name])


def as_memmap(image, folder):
    array = np.memmap(folder / "image.raw", image.dtype, "w+", shape=image.shape)
    array[:] = image
    return array


def as_tiff(image, folder):
    tifffile.imwrite(folder / "image.tif", image, imagej=True, metadata={"axes": "ZYX"})
    return folder / "image.tif"


KINDS = {
    "dask": lambda image, _: da.from_array(image, chunks=(1, 50, 70)),
    "zarr": lambda image, _: zarr.array(image, chunks=(2, 40, 40)),
    "memmap": as_memmap,
    "big-endian": lambda image, _: image.astype(image.dtype.newbyteorder(">")),
    "not contiguous": lambda image, _: np.asfortranarray(image)[::1],
    "file": as_tiff,
    "list": lambda image, _: [image],
    "tuple": lambda image, _: (image,),
    "nested list": lambda image, _: image.tolist(),
}


@pytest.mark.parametrize("settings_of", [clean_settings, noisy_settings()], ids=["clean", "noisy"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_matter_where_an_image_lies(kind, settings_of, tmp_path):
    image = IMAGE[1]
    found = examples_of(KINDS[kind](image, tmp_path), None, settings_of)
    assert_same(found, examples_of(image, None, settings_of))


def test_a_folder_holds_all_images_below_it(tmp_path):
    (tmp_path / "below").mkdir()
    small = IMAGE[0, 0].astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], imagej=True, metadata={"axes": "ZYX"})
    imsave(tmp_path / "b.png", small, check_contrast=False)
    tifffile.imwrite(tmp_path / "below" / "c.TIFF", IMAGE[1, 0])
    (tmp_path / "notes.txt").write_text("no image")
    expected = examples_of([IMAGE[0], small, IMAGE[1, 0]])
    assert_same(examples_of(tmp_path), expected)
    assert_same(examples_of(str(tmp_path)), expected)
    assert_same(examples_of([tmp_path / "a.tif", small, tmp_path / "below"]), expected)
    assert [s.name for s in as_stacks("images", tmp_path, None)][1] == str(tmp_path / "b.png")


def test_files_know_their_channels(tmp_path):
    imagej = IMAGE.swapaxes(0, 1)
    tifffile.imwrite(tmp_path / "a.tif", imagej, imagej=True, metadata={"axes": "ZCYX"})
    assert_same(examples_of(tmp_path / "a.tif"), examples_of(imagej, 1))
    colors = data.astronaut()[:60, :70]
    imsave(tmp_path / "b.png", colors, check_contrast=False)
    assert_same(examples_of(tmp_path / "b.png"), examples_of(colors, -1))


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -4])
def test_the_channel_axis_may_lie_anywhere(axis):
    def sorted_rows(examples):
        return sorted((e.window.key.channel, e.rows["image"].tobytes()) for e in examples)

    found = examples_of(np.moveaxis(IMAGE, 0, axis), axis)
    assert sorted_rows(found) == sorted_rows(examples_of(IMAGE, 0))
    # Channels have ranges of their own: brighter ones look alike.
    assert max(e.rows["image"].max() for e in found) < 1.5


def test_a_list_keeps_its_order_and_every_dtype():
    images = [IMAGE[0, 0], IMAGE[0, 1, :50].astype(np.float32), (IMAGE[1] // 8).astype(np.uint8)]
    found = examples_of(images)
    assert [e.stack for e in found] == [0, 1, 2, 2, 2]
    assert [e.shape for e in found] == [(80, 96), (50, 96), *[(80, 96)] * 3]
    shown = [
        np.corrcoef(e.rows["image"].ravel(), plane.ravel())[0, 1]
        for e, plane in zip(found, [*images[:2], *images[2]], strict=True)
    ]
    assert min(shown) > 0.999


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "images must hold at least one image"),
        ((), ValueError, "images must hold at least one image"),
        (np.zeros((0, 30, 30)), ValueError, r"\(0, 30, 30\)"),
        ([IMAGE, np.zeros((30, 0))], ValueError, r"\(30, 0\)"),
        (np.zeros(30), ValueError, "at least 2 axes"),
        (IMAGE > 3, TypeError, "got bool"),
        (IMAGE.astype(complex), TypeError, "got complex128"),
        (["no such file.tif"], nr.ImageFileError, "no such file"),
        ([IMAGE, None], TypeError, "images must hold images, got None"),
        (None, TypeError, "images must hold images, got None"),
        ("no such file.png", nr.ImageFileError, r"no such file.png"),
    ],
)
def test_what_is_no_image_is_named(images, error, message):
    with pytest.raises(error, match=message):
        as_stacks("images", images, None)


def test_colours_in_the_last_axis_are_asked_for():
    with pytest.warns(UserWarning, match="pass channel_axis=-1"):
        as_stacks("images", data.astronaut()[:60, :70], None)


def test_files_that_are_no_images_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(nr.ImageFileError, match="there are no images in"):
        as_stacks("images", tmp_path / "empty", None)
    (tmp_path / "damaged.tif").write_text("no image")
    imsave(tmp_path / "damaged.png", IMAGE[0, 0].astype(np.uint8), check_contrast=False)
    whole = (tmp_path / "damaged.png").read_bytes()
    # Cut short, and with another checksum of its header: Pillow raises different errors.
    for content in (whole[: len(whole) // 2], whole[:30] + b"\0\0" + whole[32:]):
        (tmp_path / "damaged.png").write_bytes(content)
        for name in ("damaged.png", "damaged.tif"):
            with pytest.raises(nr.ImageFileError, match=name):
                as_stacks("images", tmp_path / name, None)


# Huge stacks -------------------------------------------------------------------------------


def stack_of(shape, channel_axis=None):
    """A stack of a shape alone: nothing is read."""
    return Stack(None, PlaneLayout(shape, channel_axis), "huge")


def flat(chosen):
    return [(number, w) for number, part in enumerate(chosen) for w in part]


def overlap(a, b):
    same_plane = a[0] == b[0] and a[1].key == b[1].key
    pairs = ((a[1].rows, b[1].rows), (a[1].columns, b[1].columns))
    return same_plane and all(p.start < q.stop and q.start < p.stop for p, q in pairs)


SHAPES = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=4
)


@given(shapes=SHAPES, limit=st.integers(2_000, 400_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_lie_apart_within_their_planes(shapes, limit, monkeypatch):
    monkeypatch.setattr(module, "_MOST_PIXELS", limit)
    monkeypatch.setattr(module, "_BOX", 20)
    chosen = windows([stack_of(shape) for shape in shapes])
    assert len(chosen) == len(shapes)
    assert any(chosen)
    for number, window in flat(chosen):
        assert 0 <= window.rows.start < window.rows.stop <= shapes[number][1]
        assert 0 <= window.columns.start < window.columns.stop <= shapes[number][2]
    few = flat(chosen)[:60]
    assert not any(overlap(a, b) for a, b in combinations(few, 2))


@given(shapes=SHAPES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_of_it_is_taken_where_it_is_not_too_much(shapes, monkeypatch):
    pixels = sum(int(np.prod(shape)) for shape in shapes)
    monkeypatch.setattr(module, "_MOST_PIXELS", pixels)
    chosen = windows([stack_of(shape) for shape in shapes])
    assert sum(w.size for _, w in flat(chosen)) == pixels
    assert [len(part) for part in chosen] == [shape[0] for shape in shapes]


@pytest.mark.parametrize(
    ("shape", "channel_axis"),
    [
        ((3000, 2048, 2048), None),
        ((700, 1024, 1024), None),
        ((1, 90_000, 90_000), None),
        ((5000, 3, 300, 700), 1),
    ],
)
def test_of_a_huge_stack_some_is_taken_from_everywhere(shape, channel_axis):
    stack = stack_of(shape, channel_axis)
    chosen = windows([stack])[0]
    pixels = sum(w.size for w in chosen)
    assert 0.5 * module._MOST_PIXELS < pixels < 1.2 * module._MOST_PIXELS
    # Each quarter of the planes, and each part of the stack, gives its share.
    height, width = stack.layout.plane_shape
    if min(height, width) > 1000:
        quarters = [
            2 * (2 * w.rows.start >= height) + (2 * w.columns.start >= width) for w in chosen
        ]
        np.testing.assert_allclose(np.bincount(quarters) / len(chosen), 0.25, atol=0.12)
    planes = [w.key.index[0] / shape[0] for w in chosen]
    if shape[0] > 1:
        assert np.quantile(planes, [0, 0.5, 1]) == pytest.approx([0, 0.5, 1], abs=0.05)
    shares = np.bincount([w.key.channel for w in chosen]) / len(chosen)
    np.testing.assert_allclose(shares, 1 / stack.layout.channels, atol=0.05)


def test_many_small_stacks_are_too_much_as_well(monkeypatch):
    """A folder of thousands of images costs no more memory than one stack of them."""
    monkeypatch.setattr(module, "_MOST_PIXELS", 100_000)
    stacks = [stack_of((100, 100))] * 200
    chosen = windows(stacks)
    assert sum(w.size for _, w in flat(chosen)) <= 120_000
    taken = [number for number, part in enumerate(chosen) if part]
    assert np.quantile(taken, [0, 0.5, 1]) == pytest.approx([0, 100, 199], abs=30)
