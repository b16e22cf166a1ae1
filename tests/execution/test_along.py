"""Neighbouring planes restore each other, whatever holds them and however they are cut.

A network sees them, or they are averaged before a network of single planes.
"""

import dataclasses

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from tests.conftest import few, psnr, small_model, stack_model
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.arguments import axis_named
from napari_rednet.engine.network import RedNet
from napari_rednet.errors import ModelError
from napari_rednet.execution import Windows, measure
from napari_rednet.models import Model
from napari_rednet.restoration.denoise import prepare_denoise
from napari_rednet.tasks import TASKS

CHANNELS = TASKS["denoise"].channels_for


def blind_to_others(single, planes):
    """The stack model that does what a model of single planes does."""
    config = dataclasses.replace(single.config, planes=planes, in_channels=CHANNELS(planes))
    network, state = RedNet(config), dict(single.network.state_dict())
    first = state["conv.0.weight"]
    none = first.new_zeros((len(first), planes - 1, *first.shape[2:]))
    state["conv.0.weight"] = torch.cat([first[:, :1], none, first[:, 1:], none], 1)
    network.load_state_dict(state)
    return Model("blind", "denoise", network.eval().requires_grad_(False), {})


MODEL = stack_model()
STACK = np.stack([data.camera()[y : y + 70, y : y + 60] for y in (0, 40, 200, 320, 400)])
STACK = (STACK + np.random.default_rng(0).normal(0, 10, STACK.shape)).astype(np.float32)
# The same dark place in all planes, so that any of them have the same dark level.
STACK[:, 8:24, 8:24] = STACK[0, 8:24, 8:24] / 10 - 100
OPTIONS = {"noise": 10.0, "defects": "keep", "model": MODEL}


SINGLE = small_model("denoise")
BOTH = pytest.mark.parametrize("model", [MODEL, SINGLE], ids=["seen", "averaged"])


def restored(stack=STACK, along=0, **options):
    return nr.denoise(stack, along=along, **{**OPTIONS, **options})


@pytest.mark.parametrize("planes", [3, 5])
def test_a_network_blind_to_others_restores_each_plane_by_itself(planes, exact):
    single = small_model("denoise")
    expected = nr.denoise(STACK, noise=10.0, model=single)
    found = nr.denoise(STACK, noise=10.0, model=blind_to_others(single, planes), along=0)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:planes along axis 0 show different objects")
@pytest.mark.parametrize("planes", [3, 5])
def test_a_plane_depends_on_the_planes_around_it_alone(planes, exact):
    model, reach = stack_model(planes), planes // 2
    expected = restored(model=model)
    for changed in range(len(STACK)):
        other = STACK.copy()
        other[changed] = other[changed][:, ::-1]
        differs = [
            not np.array_equal(a, b)
            for a, b in zip(restored(other, model=model), expected, strict=True)
        ]
        assert differs == [abs(i - changed) <= reach for i in range(len(STACK))]


def test_at_the_ends_the_last_plane_is_repeated(exact):
    whole = restored()
    first = restored(np.stack([STACK[0], STACK[0], STACK[1]]))
    last = restored(np.stack([STACK[-2], STACK[-1], STACK[-1]]))
    np.testing.assert_allclose(whole[0], first[1], atol=1e-3)
    np.testing.assert_allclose(whole[-1], last[1], atol=1e-3)


def test_two_planes_are_enough(exact):
    pair = restored(STACK[:2])
    np.testing.assert_allclose(pair[0], restored(STACK[[0, 0, 1]])[1], atol=1e-3)


@settings(max_examples=few())
@given(is_first=st.booleans(), channel=st.integers(0, 4))
def test_axes_may_have_any_order(is_first, channel):
    """Planes of one channel and one position see those of no other."""
    channels = np.stack([np.stack([STACK, STACK[::-1]]), np.stack([STACK[:, :, ::-1], STACK])])
    where = channels if not is_first else channels.swapaxes(1, 2)
    where = np.moveaxis(where, 0, channel)
    axes = [a for a in range(5) if a != channel]
    found = nr.denoise(where, along=axes[0 if is_first else 1], channel_axis=channel, **OPTIONS)
    found = np.moveaxis(found, channel, 0)
    found = found if not is_first else found.swapaxes(1, 2)
    for part, restored_part in zip(
        channels.reshape(-1, *STACK.shape), found.reshape(-1, *STACK.shape), strict=True
    ):
        np.testing.assert_allclose(restored_part, nr.denoise(part, along=0, **OPTIONS), atol=0.5)


@pytest.mark.parametrize("options", [{"tile": 32}, {"ensemble": True}, {"memory": "2GB"}])
@BOTH
def test_what_is_held_at_once_changes_nothing(model, options, exact):
    expected = restored(**{k: v for k, v in options.items() if k == "ensemble"}, model=model)
    np.testing.assert_allclose(restored(**options, model=model), expected, atol=1e-2)


@BOTH
def test_lazy_arrays_and_files_give_the_same(model, tmp_path, exact):
    expected = restored(model=model)
    lazy = restored(da.from_array(STACK, chunks=(2, 40, 60)), model=model)
    assert isinstance(lazy, da.Array)
    assert lazy.shape == STACK.shape
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-3)
    source = zarr.create_array(tmp_path / "a.zarr", data=STACK, chunks=(2, 32, 60))
    out = zarr.create_array(tmp_path / "b.zarr", shape=STACK.shape, dtype="f4", chunks=(3, 32, 60))
    restored(source, out=out, model=model)
    np.testing.assert_allclose(out[:], expected, atol=1e-3)


@BOTH
def test_each_chunk_is_read_once(model):
    class Counting:
        """A chunked array that counts what is read of it."""

        shape, dtype, ndim, chunks = STACK.shape, STACK.dtype, 3, (1, 70, 60)

        def __init__(self):
            self.read = []

        def __getitem__(self, index):
            self.read.append(index[0].start if isinstance(index[0], slice) else index[0])
            return STACK[index]

    array = Counting()
    restored(array, out=np.empty_like(STACK), model=model)
    restoring = array.read[-len(STACK) :]
    assert sorted(restoring) == list(range(len(STACK)))


@BOTH
def test_colours_see_the_colours_beside_them(model, exact):
    colors = np.stack([STACK, STACK[:, ::-1] * 0.5, STACK[:, :, ::-1]], axis=-1)
    found = nr.denoise(colors, along=0, rgb=True, **{**OPTIONS, "model": model})
    other = colors.copy()
    other[4, ..., 1] += 30
    again = nr.denoise(other, along=0, rgb=True, **{**OPTIONS, "model": model})
    assert found.shape == colors.shape
    np.testing.assert_array_equal(found[:2], again[:2])
    assert not np.array_equal(found[3], again[3])


@BOTH
def test_hot_pixels_of_neighbours_are_taken_out(model, exact):
    hot = STACK.copy()
    hot[2, 30, 30] = 60000
    found = restored(hot, defects="repair", model=model)
    assert np.abs(found[[1, 3]] - restored(defects="repair", model=model)[[1, 3]]).max() < 5


@BOTH
def test_masked_and_missing_pixels_of_neighbours_have_no_influence(model, exact):
    wild = STACK.copy()
    wild[2, 20:30, 20:30] = np.nan
    masked = np.ma.MaskedArray(STACK + np.isnan(wild) * 1e4, np.isnan(wild))
    found = restored(wild, model=model)
    assert np.isfinite(found[[0, 1, 3, 4]]).all()
    np.testing.assert_allclose(
        restored(masked, model=model)[[1, 3]].filled(), found[[1, 3]], atol=0.05
    )


@pytest.mark.parametrize(
    ("along", "channel", "error", "words"),
    [
        (3, None, ValueError, "along must lie between -3 and 2"),
        (-1, None, ValueError, "which is Y or X"),
        (0, 0, ValueError, "must not be the channel axis"),
        (1.5, None, TypeError, "along must be an integer"),
        (True, None, TypeError, "along must be an integer"),
    ],
)
def test_wrong_axes_are_named(along, channel, error, words):
    with pytest.raises(error, match=words):
        nr.denoise(STACK, along=along, channel_axis=channel, **OPTIONS)


def test_single_planes_cannot_help_each_other():
    with pytest.raises(ValueError, match="axis 0 has 1; leave it out"):
        restored(STACK[:1])


def test_models_and_planes_have_to_fit():
    with pytest.raises(ModelError, match="sees neighbouring planes"):
        nr.denoise(STACK, model=MODEL)
    with pytest.raises(ModelError, match="sees neighbouring planes"):
        nr.deblur(STACK, np.ones((3, 3)), model=MODEL)
    with pytest.raises(ModelError, match="sees neighbouring planes"):
        MODEL.export("never.onnx", noise=1)


@pytest.mark.parametrize(
    ("along", "axes", "expected"),
    [
        (None, "yx", None),
        ("z", "TCZYX", 2),
        ("t", "TCZYX", 0),
        ("z", "QYX", 0),  # the only planes there are
        ("t", "CQYX", 1),
        ("-3", "TZYX", -3),
        (1, "TZYX", 1),
    ],
)
def test_axes_have_names(along, axes, expected):
    assert axis_named(along, axes) == expected


@pytest.mark.parametrize(
    ("along", "axes"), [("z", "TYX"), ("t", "CYX"), ("z", "QQYX"), ("t", "YX")]
)
def test_names_that_no_axis_has_are_told_with_those_there_are(along, axes):
    with pytest.raises(ValueError, match=f"along={along}, but the axes of the image are y?"):
        axis_named(along, axes)


@pytest.mark.parametrize("along", ["depth", "1.5", "", 1.5, True])
def test_other_words_are_no_axes(along):
    with pytest.raises((TypeError, ValueError), match="along must be"):
        axis_named(along, "ZYX")


def test_files_name_their_axes(tmp_path, exact):
    """On the command line, of one file and of a folder."""
    MODEL.save(tmp_path / "m.safetensors")
    (tmp_path / "in").mkdir()
    stack = STACK.clip(0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack, imagej=True, metadata={"axes": "TYX"})
    words = ["--along", "t", "--noise", "10", "--model", tmp_path / "m.safetensors"]
    code, text = call("denoise", tmp_path / "in/a.tif", tmp_path / "b.tif", *words)
    assert code == 0, text
    code, text = call("denoise", tmp_path / "in", "--out", tmp_path / "out", *words)
    assert code == 0, text
    expected = nr.denoise(stack, along=0, noise=10.0, model=MODEL)
    for result in ("b.tif", "out/a.tif"):
        assert np.abs(tifffile.imread(tmp_path / result) - expected.astype(int)).max() <= 1
    words[1] = "z"
    code, text = call("denoise", tmp_path / "in/a.tif", tmp_path / "c.tif", *words)
    assert code == 1
    assert "along=z, but the axes of the image are t, y, x" in text


@BOTH
def test_windows_see_the_planes_beside_them(model, exact):
    restoration = prepare_denoise(STACK, along=0, **{**OPTIONS, "model": model})
    windows = Windows(restoration, measure(restoration))
    rows, columns = slice(10, 50), slice(20, 44)
    window = windows.at((1,), rows, columns)
    for _ in window.steps():
        pass
    np.testing.assert_allclose(window.values, restored(model=model)[1, rows, columns], atol=1e-2)


def test_planes_of_different_objects_are_told_of():
    names = ("camera", "coins", "brick")
    different = np.stack([getattr(data, name)()[60:200, 100:240] for name in names])
    noisy = (different + np.random.default_rng(0).normal(0, 5, different.shape)).astype(np.float32)
    with pytest.warns(UserWarning, match="planes along axis 0 show different objects"):
        restored(noisy)


@pytest.mark.parametrize("level", [1.0, 30.0, 300.0])
def test_repeats_are_not_whatever_their_noise(level, recwarn):
    scene = np.stack([data.camera()[:90, :90]] * 4).astype(np.float32)
    noisy = scene + np.random.default_rng(0).normal(0, level, scene.shape).astype(np.float32)
    nr.denoise(noisy, along=0, noise=level, model=MODEL)
    nr.denoise(np.zeros_like(noisy), along=0, noise=level, model=MODEL)
    assert not [one for one in recwarn if "different objects" in str(one.message)]


def test_averaged_planes_are_what_the_network_is_given(exact):
    """Repeats are restored better than by themselves; unrelated planes as by themselves."""
    scene = np.stack([data.camera()[60:200, 100:260]] * 5).astype(np.float32)
    noisy = scene + np.random.default_rng(1).normal(0, 25, scene.shape).astype(np.float32)
    alone, together = (nr.denoise(noisy, noise=25, along=along)[2] for along in (None, 0))
    assert psnr(scene[2], together) > psnr(scene[2], alone) + 2
    noisy[[0, 1, 3, 4]] = noisy[[0, 1, 3, 4], ::-1, ::-1]
    alone, together = (nr.denoise(noisy, noise=25, along=along)[2] for along in (None, 0))
    assert np.abs(together - alone).mean() < 0.5


@pytest.mark.parametrize("chunks", [(1, 140, 160), (5, 40, 60)])
def test_at_the_ends_of_lazy_stacks_no_plane_counts_twice(chunks, exact):
    scene = np.stack([data.camera()[60:200, 100:260]] * 5).astype(np.float32)
    noisy = scene + np.random.default_rng(1).normal(0, 25, scene.shape).astype(np.float32)
    expected = nr.denoise(noisy, noise=25, along=0, model=SINGLE)
    found = nr.denoise(da.from_array(noisy, chunks=chunks), noise=25, along=0, model=SINGLE)
    np.testing.assert_allclose(found.compute(), expected, atol=1e-2)
