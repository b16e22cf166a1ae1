"""What differs between the commands, when they restore many files at once."""

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

import napari_rednet as nr
from napari_rednet.io import tiff
from tests.conftest import small_model
from tests.test_cli_batch import micrographs, rows, run


@pytest.fixture
def folder(tmp_path):
    return micrographs(tmp_path)


@pytest.fixture
def mixed(folder, camera):
    """A folder with gray images of several axes and one of colours."""
    gray = camera[:60, :52].astype(np.uint16)
    (folder / "mixed/sub").mkdir(parents=True)
    stack = np.stack([gray, gray[::-1]])
    tifffile.imwrite(folder / "mixed/stack.ome.tif", stack, metadata={"axes": "ZYX"})
    colors = np.stack([camera[:60, :52], camera[50:110, :52], camera[:60, 60:112]], -1)
    tifffile.imwrite(folder / "mixed/sub/rgb.tif", colors.astype(np.uint8), photometric="rgb")
    return folder


def check(folder, command, verb, *options, **arguments):
    """The results of a command for the mixed folder are those of the function."""
    code, text = run(folder, *options, command=command, sources=["mixed"])
    assert code == 0, text
    task = {"deblur": "denoise"}.get(command, command.replace("-", "_"))
    for name, rgb in (("stack.ome.tif", False), ("sub/rgb.tif", True)):
        more = {"rgb": rgb} if verb in (nr.denoise, nr.super_resolve, nr.deblock) else {}
        if rgb and not more:
            more = {"channel_axis": -1}
        image = tifffile.imread(folder / "mixed" / name)
        expected = verb(image, model=folder / f"{task}.safetensors", **arguments, **more)
        np.testing.assert_array_equal(tifffile.imread(folder / "out" / name), expected)
    with tifffile.TiffFile(folder / "out/stack.ome.tif") as file:
        assert file.series[0].axes == "ZYX"
    return rows(folder / "out/report.csv")


def test_super_resolve(mixed):
    stack, rgb = check(mixed, "super-resolve", nr.super_resolve, "--scale", 3, scale=3)
    assert stack["pixels"] == str(2 * 180 * 156)
    assert rgb["pixels"] == str(180 * 156 * 3)
    assert (stack["noise_gain"], stack["model"]) == ("", "tiny")


def test_deblock(mixed):
    check(mixed, "deblock", nr.deblock)


def test_denoise(mixed):
    _, rgb = check(mixed, "denoise", nr.denoise, "--noise", 7, noise=7)
    assert rgb["read_noise"] == "7;7;7"


def test_deblur_reads_its_psf_once(mixed, monkeypatch):
    read, names = tiff.read_tiff, []

    def counting(path, *others):
        names.append(path.name)
        return read(path, *others)

    monkeypatch.setattr(tiff, "read_tiff", counting)
    tifffile.imwrite(mixed / "psf.tif", nr.psf.disk(2).astype(np.float32))
    options = ["--psf", mixed / "psf.tif", "--iterations", 2]
    psf = tifffile.imread(mixed / "psf.tif")
    stack, _ = check(mixed, "deblur", nr.deblur, *options, psf=psf, iterations=2)
    assert stack["read_noise"]
    assert sorted(names) == ["psf.tif", "rgb.tif", "stack.ome.tif"]


def test_deblur_takes_the_centre_that_is_named(mixed):
    psf = np.pad(nr.psf.disk(2), ((0, 4), (6, 0))).astype(np.float32)
    tifffile.imwrite(mixed / "psf.tif", psf)
    options = ["--psf", mixed / "psf.tif", "--iterations", 2]
    text = run(mixed, *options, command="deblur", sources=["mixed"])[1]
    assert text.count("the centre of mass of the PSF lies") == 1  # once for all files
    options += ["--force", "--center", "mass"]
    check(mixed, "deblur", nr.deblur, *options, psf=psf, iterations=2, center="mass")


def test_inpaint_takes_one_mask_for_all(mixed):
    missing = np.zeros((60, 52), np.uint8)
    missing[20:30, 10:15] = 255
    imsave(mixed / "mask.png", missing, check_contrast=False)
    check(mixed, "inpaint", nr.inpaint, "--mask", mixed / "mask.png", mask=missing)


def test_inpaint_finds_the_defects_of_each_file(folder):
    rng = np.random.default_rng(0)
    (folder / "hot").mkdir()
    for place in (10, 20):
        frame = rng.poisson(100, (40, 50)).astype(np.uint16)
        frame[place, place] = 4000
        tifffile.imwrite(folder / f"hot/{place}.tif", frame)
    assert run(folder, command="inpaint", sources=["hot"])[0] == 0
    for place in (10, 20):
        changed = tifffile.imread(folder / f"out/{place}.tif") != tifffile.imread(
            folder / f"hot/{place}.tif"
        )
        assert np.argwhere(changed).tolist() == [[place, place]]


def test_a_mask_that_fits_one_file_only_fails_for_the_others(mixed):
    imsave(mixed / "mask.png", np.eye(48, 64, dtype=np.uint8) * 255, check_contrast=False)
    options = ["--mask", mixed / "mask.png"]
    code, text = run(mixed, *options, command="inpaint", sources=["mixed", "in/a.tif"])
    assert code == 1
    assert "1 restored, 0 skipped, 2 failed" in text
    assert "mask must have the shape" in text


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        ("super-resolve", ["--scale", 2], ["--scale", 3]),
        ("deblock", [], ["--ensemble"]),
        ("deblur", ["--gaussian", 1], ["--gaussian", 1.2]),
        ("deblur", ["--gaussian", 1], ["--gaussian", 1, "--iterations", 3]),
        ("deblur", ["--gaussian", 1], ["--gaussian", 1, "--center", "mass"]),
        ("denoise", ["--noise", 4], ["--gain", 1]),
        ("inpaint", [], ["--ensemble"]),
    ],
)
def test_resume_sees_that_an_option_changed(folder, command, first, second):
    def restored(*options):
        return run(folder, "--resume", *options, command=command, sources=["in/a.tif"])[1]

    assert "1 restored" in restored(*first)
    assert "1 skipped" in restored(*first)
    assert "1 skipped" in restored(*first, "--device", "cpu")
    assert "1 restored" in restored(*second)


def test_resume_sees_that_a_mask_or_a_model_changed(folder):
    def restored():
        options = ["--resume", "--mask", folder / "mask.png"]
        return run(folder, *options, command="inpaint", sources=["in/a.tif"])[1]

    mask = np.zeros((48, 64), np.uint8)
    for change in (1, 2):
        mask[change] = 255
        imsave(folder / "mask.png", mask, check_contrast=False)
        assert "1 restored" in restored()
        assert "1 skipped" in restored()
    small_model("inpaint", stride=1).save(folder / "inpaint.safetensors")
    assert "1 restored" in restored()


@pytest.mark.parametrize("command", ["denoise", "super-resolve", "deblock", "deblur"])
def test_hot_pixels_are_repaired_counted_and_reported(folder, command):
    (folder / "hot").mkdir()
    frame = 100 + np.random.default_rng(0).poisson(400, (40, 50)).astype(np.uint16)
    frame[10, 10] = frame[20, 30] = 60000
    tifffile.imwrite(folder / "hot/frame.tif", frame)
    options = ["--gaussian", "1"] if command == "deblur" else []
    for given, count in (([], "2"), (["--defects", "keep", "--resume"], "0")):
        code, text = run(folder, *options, *given, command=command, sources=["hot"])
        assert code == 0, text
        (row,) = rows(folder / "out/report.csv")
        assert (row["status"], row["repaired"]) == ("restored", count)
    code, text = run(folder, *options, "--defects", "drop", command=command, sources=["hot"])
    assert code == 1
    assert "defects must be 'repair' or 'keep', got 'drop'" in text
