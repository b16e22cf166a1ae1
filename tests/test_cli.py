import os

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

import napari_rednet as nr
from napari_rednet.cli import app
from napari_rednet.io import read_planes
from napari_rednet.sample_data import chromosomes, chromosomes_layer, sample_path
from tests.conftest import SMALL_RECIPE


def call(*arguments):
    """Exit code and everything printed, as one line."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path, tiny_model, noisy_camera):
    tiny_model.save(tmp_path / "tiny.safetensors")
    stack = np.stack([noisy_camera, noisy_camera[::-1]]).clip(0).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif", stack, imagej=True, metadata={"axes": "ZYX", "spacing": 0.4}
    )
    return tmp_path


def denoise(folder, *options, source="in.tif", target="out.tif"):
    return call(
        "denoise",
        folder / source,
        folder / target,
        "--model",
        folder / "tiny.safetensors",
        *options,
    )


def test_denoise_writes_what_the_function_returns(folder):
    code, text = denoise(folder)
    assert code == 0, text
    source = tifffile.imread(folder / "in.tif")
    expected = nr.denoise(source, model=folder / "tiny.safetensors")
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)
    with tifffile.TiffFile(folder / "out.tif") as file:
        assert file.series[0].axes == "ZYX"
        assert file.imagej_metadata["spacing"] == 0.4
    assert "read noise" in text
    assert sorted(os.listdir(folder)) == ["in.tif", "out.tif", "tiny.safetensors"]


@pytest.mark.parametrize(
    ("options", "noise"),
    [
        (["--noise", "12"], 12),
        (["--gain", "2", "--read-noise", "3"], nr.NoiseModel(2, 0, 3)),
        (["--gain", "2", "--grain-x", "0.8"], nr.NoiseModel(2, grain_x=0.8)),
        (["--noise", "12", "--grain-y", "1.5"], nr.NoiseModel(read_noise=12, grain_y=1.5)),
        (["--noise", "12", "--grain-y", "0", "--grain-x", "0"], 12),
    ],
)
def test_noise_can_be_given(folder, options, noise):
    assert denoise(folder, *options)[0] == 0
    expected = nr.denoise(
        tifffile.imread(folder / "in.tif"), noise=noise, model=folder / "tiny.safetensors"
    )
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)


def test_quiet_is_silent(folder):
    assert denoise(folder, "--quiet") == (0, "")


def test_existing_files_are_kept_unless_forced(folder):
    (folder / "out.tif").write_text("precious")
    code, text = denoise(folder)
    assert code == 1
    assert "exists; add --force" in text
    assert (folder / "out.tif").read_text() == "precious"
    assert denoise(folder, "--force")[0] == 0
    assert tifffile.imread(folder / "out.tif").shape == (2, 160, 180)


@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        ([], {"source": "missing.tif"}, "there is no file"),
        ([], {"target": "out.bmp"}, "must be a .tif, .tiff, .png, .jpg or .zarr file"),
        ([], {"target": "none/out.tif"}, "there is no folder"),
        (["--force"], {"target": "in.tif"}, "another file than the input"),
        (["--noise", "-3"], {}, "noise must be finite and not negative"),
        (["--noise", "3", "--gain", "2"], {}, "either --noise or --gain"),
        (["--noise", "3", "--grain-y", "1", "--gain", "2"], {}, "either --noise or --gain"),
        (["--grain-x", "1"], {}, "--grain-y and --grain-x go with --noise"),
        (["--noise", "3", "--grain-y", "-1"], {}, "grain_y must not be negative"),
        (["--strength", "-1"], {}, "strength must be finite"),
        (["--model", "worst"], {}, "no model 'worst'"),
        (["--device", "cuda:97"], {}, "does not exist here"),
        (["--tile", "2"], {}, "tile must be at least 16"),
    ],
)
def test_mistakes_are_named_and_write_nothing(folder, options, names, message):
    before = sorted(os.listdir(folder))
    code, text = denoise(folder, *options, **names)
    assert code == 1
    assert message in text
    assert "Traceback" not in text
    assert sorted(os.listdir(folder)) == before


def test_unknown_options_are_usage_errors(folder):
    assert denoise(folder, "--nonsense")[0] == 2


def test_models_are_listed():
    code, text = call("models")
    assert code == 0
    assert "denoise-fast" in text


def test_demo_writes_a_stack_and_a_picture(tmp_path):
    code, text = call("demo", tmp_path / "demo")
    assert code == 0, text
    restored = tifffile.imread(tmp_path / "demo" / "chromosomes-denoised.tif")
    assert restored.shape == chromosomes().shape
    assert (tmp_path / "demo" / "before-after.png").stat().st_size > 10_000
    assert "PSNR" in text
    assert str(tmp_path / "demo") in text.replace(" ", "")
    noise = nr.estimate_noise(chromosomes())
    assert nr.estimate_noise(restored).std(150.0) < 0.4 * noise.std(150.0)


def test_sample_is_a_calibrated_noisy_stack():
    ((stack, options, kind),) = chromosomes_layer()
    assert kind == "image"
    assert stack.dtype == np.uint16
    assert stack.ndim == len(options["scale"]) == len(options["units"]) == 3
    assert sample_path().exists()


RECIPE = f"""{SMALL_RECIPE}
scales = [1.0, 0.5]
[[pairs]]
noisy = "noisy"
clean = "clean"
share = 0.3
[training]
steps = 6
interval = 3
patch = 24
batch = 2
"""


@pytest.fixture
def training(tmp_path, camera):
    rng = np.random.default_rng(0)
    for name in ("clean", "noisy"):
        (tmp_path / name).mkdir()
    noisy = 40 + 0.6 * camera + rng.normal(0, 12, camera.shape)
    tifffile.imwrite(tmp_path / "clean" / "a.tif", camera)
    tifffile.imwrite(tmp_path / "noisy" / "a.tif", noisy.astype(np.float32))
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path


def train(folder, *options):
    return call(
        "train", folder / "small.toml", "--data", folder, "--runs", folder / "runs", *options
    )


def test_train_makes_a_model_that_denoise_takes(training):
    code, text = train(training, "--validation", training / "clean")
    assert code == 0, text
    assert "step 6" in text
    model = nr.load_model(training / "runs" / "small" / "small.safetensors")
    assert model.info["steps"] == 6
    assert nr.denoise(np.ones((30, 30)), model=model).shape == (30, 30)


def test_train_resumes_only_when_asked(training):
    assert train(training)[0] == 0
    code, text = train(training, "--steps", "9")
    assert code == 1
    assert "add --resume" in text
    code, text = train(training, "--steps", "9", "--resume")
    assert code == 0
    assert "resumed at step 6" in text
    assert nr.load_model(training / "runs" / "small" / "small.safetensors").info["steps"] == 9


def test_a_training_killed_between_its_last_checkpoint_and_its_model_makes_it(training):
    assert train(training)[0] == 0
    model = training / "runs" / "small" / "small.safetensors"
    made = nr.load_model(model).network.state_dict()
    model.unlink()
    assert train(training, "--resume")[0] == 0
    again = nr.load_model(model).network.state_dict()
    assert all(torch.equal(again[name], value) for name, value in made.items())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('task = "denoise"', 'task = "paint"', "task must be one of"),
        ("layers = 4", "layers = 5", "layers must be an even number"),
        ("in_channels = 4", "in_channels = 2", "in_channels must be 4"),
        ("steps = 6", "paces = 6", "paces"),
        ("steps = 6", "steps = 6\nminutes = 1", "either steps or minutes"),
        ('folder = "clean"', 'folder = "void"', "no images in"),
        ("[training]", "[training", "cannot be used"),
    ],
)
def test_mistakes_in_a_recipe_are_named(training, old, new, message):
    (training / "small.toml").write_text(RECIPE.replace(old, new))
    code, text = train(training)
    assert code == 1
    assert message in text


def test_planes_are_gray_and_evenly_chosen(tmp_path):
    stack = np.arange(60, dtype=np.uint16)[:, None, None] * np.ones((60, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    planes = read_planes(tmp_path / "stack.tif")
    assert len(planes) <= 24
    assert {p.shape for p in planes} == {(8, 9)}
    assert planes[-1].max() > 50
    colours = np.full((8, 9, 3), (100, 200, 50), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colours, photometric="rgb")
    (gray,) = read_planes(tmp_path / "rgb.tif")
    assert gray.dtype == np.uint8
    assert np.all(gray == round(0.299 * 100 + 0.587 * 200 + 0.114 * 50))


def deblur(folder, *options):
    model = ("--model", folder / "tiny.safetensors", "--iterations", 2, "--quiet")
    return call("deblur", folder / "in.tif", folder / "out.tif", *model, *options)


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        (["--gaussian", "1.5"], nr.psf.gaussian(1.5)),
        (["--disk", "3"], nr.psf.disk(3)),
        (["--motion", "7", "--angle", "20"], nr.psf.motion(7, 20)),
        (
            ["--numerical-aperture", "1.2", "--wavelength", "0.5", "--pixel-size", "0.1"],
            nr.psf.widefield(1.2, 0.5, 0.1),
        ),
    ],
)
def test_deblur_writes_what_the_function_returns(folder, options, kernel):
    code, text = deblur(folder, *options)
    assert code == 0, text
    source, model = tifffile.imread(folder / "in.tif"), folder / "tiny.safetensors"
    expected = nr.deblur(source, kernel, model=model, iterations=2)
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)


def test_deblur_takes_a_measured_psf(folder):
    tifffile.imwrite(folder / "psf.tif", nr.psf.disk(2).astype(np.float32))
    assert deblur(folder, "--psf", folder / "psf.tif")[0] == 0
    assert (folder / "out.tif").exists()


def test_deblur_takes_the_centre_that_is_named(folder):
    aside = np.pad(nr.psf.disk(2), ((0, 4), (6, 0))).astype(np.float32)
    tifffile.imwrite(folder / "psf.tif", aside)
    source, model = tifffile.imread(folder / "in.tif"), folder / "tiny.safetensors"
    expected = {
        center: nr.deblur(source, aside, center=center, model=model, iterations=2)
        for center in ("array", "mass")
    }
    assert (expected["array"] != expected["mass"]).mean() > 0.5
    for options, center in (([], "array"), (["--center", "mass"], "mass")):
        code, text = deblur(folder, "--psf", folder / "psf.tif", "--force", *options)
        assert (code, text) == (0, "")
        np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected[center])
    code, text = deblur(folder, "--gaussian", "1", "--force", "--center", "peak")
    assert code == 1
    assert "center must be 'array' or 'mass', got 'peak'" in text


def test_deblur_says_what_is_odd_about_a_psf(folder):
    bead = np.pad(nr.psf.gaussian(1.5), ((0, 4), (0, 0))) + 0.01
    tifffile.imwrite(folder / "psf.tif", bead.astype(np.float32))
    options = ["--psf", folder / "psf.tif", "--model", folder / "tiny.safetensors"]
    code, text = call("deblur", folder / "in.tif", folder / "out.tif", *options)
    assert code == 0, text
    for words in ("the centre of mass of the PSF lies", "Subtract its background"):
        assert text.count(words) == 1
    assert text.count("warning:") == 2
    assert "site-packages" not in text
    assert ".py" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "got 0 of them"),
        (["--gaussian", "1", "--disk", "2"], "got 2 of them"),
        (["--wavelength", "0.5"], "belong together"),
        (["--gaussian", "-1"], "sigma must be positive"),
        (["--disk", "100"], "psf must not be larger"),
    ],
)
def test_deblur_needs_one_blur(folder, options, message):
    code, text = deblur(folder, *options)
    assert code == 1
    assert message in text
    assert not (folder / "out.tif").exists()
