"""Copied code does what it says: it is run, and its result compared bit by bit."""

import json
import shlex
from dataclasses import asdict

import numpy as np
import pytest
import tifffile
from skimage.io import imread, imsave
from tests.conftest import small_model
from tests.test_cli import call as run_command

import napari_rednet as nr
from napari_rednet.provenance import Call, Origin, as_command_line, as_python, find_origin

LEVEL = {"gain": 1.5, "offset": 90.25, "read_noise": 12.1}
OTHER = {"gain": 0.0, "offset": 0.0, "read_noise": 7.3}
GRAINY = {"gain": 0.0, "offset": 0.0, "read_noise": 7.3, "grain_y": 0.6, "grain_x": 1.1}


@pytest.fixture
def folder(tmp_path, camera):
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        small_model(task).save(tmp_path / f"{task}.safetensors")
    gray = camera[:48, :40].astype(np.uint16) * 9
    tifffile.imwrite(tmp_path / "gray.tif", gray[:24, :24])
    stack = np.stack([gray, gray[::-1], gray // 2])
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "channels.tif", stack, imagej=True, metadata={"axes": "CYX"})
    colours = np.stack([camera[:48, :40], camera[50:98, :40], camera[:48, 60:100]], -1)
    tifffile.imwrite(tmp_path / "rgb.tif", np.uint8(colours), photometric="rgb")
    return tmp_path


def origin(path, name="cell"):
    array = tifffile.imread(path)
    found = find_origin(name, str(path), array.shape, array.dtype)
    assert found.path == str(path)
    return found


def run_python(text):
    names = {}
    exec(text, names)
    return names["restored"]


def run_line(text):
    program, *words = shlex.split(text)
    assert program == "napari-rednet"
    code, printed = run_command(*words)
    assert code == 0, printed
    return words[2]


def both(call):
    """What the script and the command give."""
    return run_python(as_python(call)), tifffile.imread(run_line(as_command_line(call)))


@pytest.mark.parametrize(
    ("verb", "plain", "given"),
    [
        ("denoise", {}, {}),
        ("denoise", {"noise": [LEVEL], "strength": 0.7}, {"noise": nr.NoiseModel(**LEVEL)}),
        ("denoise", {"noise": [OTHER], "ensemble": True}, {"noise": 7.3}),
        ("denoise", {"noise": [LEVEL], "dtype": "float32"}, {"noise": nr.NoiseModel(**LEVEL)}),
        ("denoise", {"noise": [GRAINY]}, {"noise": nr.NoiseModel(**GRAINY)}),
        (
            "denoise",
            {"noise": [{**LEVEL, "grain_x": 0.8}]},
            {"noise": nr.NoiseModel(**LEVEL, grain_x=0.8)},
        ),
        ("super_resolve", {"scale": 3, "device": "cpu"}, {"scale": 3}),
        ("deblock", {"defects": "keep"}, {}),
        ("inpaint", {"mask": None}, {}),
    ],
)
def test_code_gives_what_the_function_gives(folder, verb, plain, given):
    image = tifffile.imread(folder / "stack.tif")
    model = str(folder / f"{verb}.safetensors")
    call = Call(verb, origin(folder / "stack.tif"), {"model": model, **plain})
    arguments = {k: v for k, v in plain.items() if k not in ("noise", "mask")} | given
    expected = getattr(nr, verb)(image, model=model, **arguments)
    for result in both(call):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        ("gaussian", [1.3]),
        ("disk", [2.5]),
        ("motion", [4.5, -30.0]),
        ("widefield", [1.4, 0.52, 0.2]),
    ],
)
def test_every_generated_psf_is_the_same_in_all_words(folder, function, values):
    image = tifffile.imread(folder / "gray.tif")
    model = str(folder / "denoise.safetensors")
    psf = {"function": function, "values": values}
    call = Call(
        "deblur", origin(folder / "gray.tif"), {"model": model, "psf": psf, "noise": [OTHER]}
    )
    expected = nr.deblur(image, getattr(nr.psf, function)(*values), model=model, noise=7.3)
    for result in both(call):
        np.testing.assert_array_equal(result, expected)


def test_the_centre_of_a_psf_is_the_same_in_all_words(folder):
    image = tifffile.imread(folder / "gray.tif")
    aside = np.pad(nr.psf.disk(2), ((0, 4), (6, 0))).astype(np.float32)
    tifffile.imwrite(folder / "psf.tif", aside)
    model = str(folder / "denoise.safetensors")
    psf = asdict(find_origin("bead", str(folder / "psf.tif"), aside.shape, aside.dtype))
    results = []
    for center in nr.psf.CENTERS:
        arguments = {"model": model, "psf": psf, "center": center, "noise": [OTHER]}
        call = Call("deblur", origin(folder / "gray.tif"), arguments)
        results.append(nr.deblur(image, aside, center=center, model=model, noise=7.3))
        for result in both(call):
            np.testing.assert_array_equal(result, results[-1])
        (folder / "gray-deblurred.tif").unlink()
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock", "inpaint"])
def test_colours(folder, verb):
    image = tifffile.imread(folder / "rgb.tif")
    model = str(folder / f"{verb}.safetensors")
    call = Call(verb, origin(folder / "rgb.tif"), {"model": model}, rgb=True)
    colours = {"rgb": True} if call.has_rgb else {"channel_axis": -1}
    expected = getattr(nr, verb)(image, model=model, **colours)
    for result in both(call):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("verb", ["denoise", "deblock", "inpaint"])
def test_transparency_and_noise_of_each_colour(folder, verb):
    colours = tifffile.imread(folder / "rgb.tif")
    image = np.concatenate([colours, colours[..., :1] // 2], axis=-1)
    imsave(folder / "rgba.png", image)
    model = str(folder / f"{verb}.safetensors")
    levels = [LEVEL, OTHER, GRAINY]
    noise = {"noise": levels} if verb == "denoise" else {}
    source = find_origin("x", str(folder / "rgba.png"), image.shape, image.dtype)
    call = Call(verb, source, {"model": model, **noise}, rgb=True, alpha=True)
    if call.has_rgb:
        models = {"noise": [nr.NoiseModel(**level) for level in levels]} if noise else {}
        expected = getattr(nr, verb)(image, model=model, rgb=True, **models)
    else:
        restored = getattr(nr, verb)(colours, model=model, channel_axis=-1)
        expected = np.concatenate([restored, image[..., 3:]], axis=-1)
        with pytest.raises(ValueError, match="copy as Python instead"):
            as_command_line(call)
    np.testing.assert_array_equal(run_python(as_python(call)), expected)


def test_a_plane_is_restored_by_python_and_refused_as_a_command(folder):
    image, model = tifffile.imread(folder / "stack.tif"), str(folder / "denoise.safetensors")
    call = Call(
        "denoise", origin(folder / "stack.tif"), {"model": model}, crop=((2, 3), None, None)
    )
    expected = nr.denoise(image[2], model=model)
    np.testing.assert_array_equal(run_python(as_python(call)), expected[None])
    with pytest.raises(ValueError, match="whole images"):
        as_command_line(call)


@pytest.mark.parametrize("has_planes", [False, True])
def test_masks_come_from_files_of_their_own(folder, has_planes):
    image, model = tifffile.imread(folder / "stack.tif"), str(folder / "inpaint.safetensors")
    mask = np.zeros(image.shape if has_planes else image.shape[1:], np.uint8)
    mask[..., 10:14, 20:30] = 3
    tifffile.imwrite(folder / "mask.tif", mask, photometric="minisblack")
    plain = {**vars(origin(folder / "mask.tif", "holes")), "shape": list(mask.shape)}
    call = Call("inpaint", origin(folder / "stack.tif"), {"model": model, "mask": plain})
    expected = nr.inpaint(image, mask, model=model)
    for result in both(call):
        np.testing.assert_array_equal(result, expected)
    one = Call(call.verb, call.source, call.arguments, crop=((1, 2), None, None))
    expected = nr.inpaint(image[1:2], mask[1:2] if has_planes else mask, model=model)
    np.testing.assert_array_equal(run_python(as_python(one)), expected)


def test_what_is_in_no_file_has_a_place_marked(folder, monkeypatch):
    image, model = tifffile.imread(folder / "gray.tif"), str(folder / "denoise.safetensors")
    psf = {**vars(Origin("a bead")), "path": None}
    call = Call("deblur", Origin('it\'s "mine"'), {"model": model, "psf": psf, "noise": [OTHER]})
    text, line = as_python(call), as_command_line(call)
    assert "IMAGE.tif stands for the layer" in text
    assert "PSF.tif stands for the layer 'a bead'" in text
    assert "IMAGE.tif" in line
    assert "--psf PSF.tif" in line
    monkeypatch.chdir(folder)
    tifffile.imwrite("IMAGE.tif", image, photometric="minisblack")
    tifffile.imwrite("PSF.tif", nr.psf.gaussian(1.2))
    expected = nr.deblur(image, nr.psf.gaussian(1.2), noise=7.3, model=model)
    np.testing.assert_array_equal(run_python(text), expected)
    np.testing.assert_array_equal(tifffile.imread(run_line(line)), expected)


def test_zarr_is_read_where_its_image_lies(folder):
    source, target = folder / "stack.tif", folder / "scan.zarr"
    model = str(folder / "deblock.safetensors")
    assert run_command("deblock", source, target, "--model", model)[0] == 0
    result = nr.deblock(tifffile.imread(source), model=model)
    place = find_origin("scan", str(target), result.shape, result.dtype)
    call = Call("deblock", place, {"model": model})
    expected = nr.deblock(result, model=model)
    np.testing.assert_array_equal(run_python(as_python(call)), expected)
    written = run_line(as_command_line(call))
    assert written == str(folder / "scan-deblocked.zarr")
    second = Call("deblock", find_origin("s", written, result.shape, result.dtype), {})
    assert second.source.path == written
    assert f"path={second.source.array!r}" in as_python(second)


@pytest.mark.parametrize("name", ["a.npy", "a.bmp"])
def test_other_files_are_read_by_python_and_named_to_be_saved_for_commands(folder, name):
    image = tifffile.imread(folder / "rgb.tif")[..., 0]
    (np.save if name.endswith("npy") else imsave)(folder / name, image)
    call = Call("deblock", find_origin("a", str(folder / name), image.shape, image.dtype), {})
    assert call.source.path == str(folder / name)
    assert "IMAGE.tif" in as_command_line(call)
    np.testing.assert_array_equal(run_python(as_python(call)), nr.deblock(image))


def test_pictures_are_read_by_both(folder):
    image = tifffile.imread(folder / "rgb.tif")
    for name, values in (("a", image), ("b", image[..., 0])):
        imsave(folder / f"{name}.png", values)
        source = find_origin("a", str(folder / f"{name}.png"), values.shape, values.dtype)
        call = Call("deblock", source, {}, rgb=values.ndim > 2)
        written = run_line(as_command_line(call))
        assert written == str(folder / f"{name}-deblocked.png")
        np.testing.assert_array_equal(imread(written), run_python(as_python(call)))


def test_a_file_of_channels_is_not_restored_as_planes_by_a_command(folder):
    call = Call("denoise", origin(folder / "channels.tif"), {})
    with pytest.raises(ValueError, match="channels, the layer for planes"):
        as_command_line(call)
    assert "channels.tif" in as_python(call)


@pytest.mark.parametrize("shape", [(48, 40), (3, 48, 41), (3, 48, 40, 1)])
def test_a_file_that_holds_something_else_is_not_named(folder, shape):
    assert find_origin("x", str(folder / "stack.tif"), shape, np.uint16) == Origin("x")
    assert find_origin("x", str(folder / "stack.tif"), (3, 48, 40), np.uint8) == Origin("x")


@pytest.mark.parametrize("content", [None, b"", b"no image"])
@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.npy", "a.png", "a"])
def test_a_file_that_cannot_be_read_is_not_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert find_origin("x", str(tmp_path / name), (4, 4), np.uint8) == Origin("x")


def test_only_what_is_not_the_default_appears():
    arguments = {"model": "fast", "strength": 1.0, "ensemble": False, "device": "auto"}
    call = Call("denoise", Origin("x", "/a b/x.ome.tif", None, "planes"), arguments)
    assert as_python(call).splitlines()[-1] == "restored = nr.denoise(image)"
    assert as_command_line(call) == (
        "napari-rednet denoise '/a b/x.ome.tif' '/a b/x-denoised.ome.tif'"
    )


def test_long_calls_are_broken_into_lines():
    arguments = {"noise": [LEVEL], "strength": 0.5, "model": "/somewhere/far/away.safetensors"}
    text = as_python(Call("denoise", Origin("x", "/x.tif"), arguments))
    assert max(map(len, text.splitlines())) <= 88
    assert "    strength=0.5,\n" in text


def test_a_record_survives_json():
    call = Call(
        "inpaint",
        Origin("x"),
        {"mask": None, "noise": [LEVEL]},
        rgb=True,
        crop=((1, 2), None, (3, 9)),
    )
    assert Call.from_record(json.loads(json.dumps(call.record))) == call
