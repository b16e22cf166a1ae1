import json
import socket
import subprocess
import sys
import zipfile
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from tests.conftest import few, random_network, small_model

import napari_rednet as nr
from napari_rednet.engine.channel import dark_level, measure_range
from napari_rednet.engine.network import (
    MOST_CHANGE,
    RADIUS,
    NetworkConfig,
    amplitude,
    limited_residual,
    poisson_gaussian_std,
    smooth_signal,
    told_noise,
)
from napari_rednet.models import Model, load_model
from napari_rednet.models.export.onnx import optional_package

NOISE = nr.NoiseModel(gain=0.004, offset=0.05, read_noise=0.03, grain_y=0.8, grain_x=0.5)
# bioimageio.spec leaves the files of a package to the garbage collector.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def offline(monkeypatch):
    """Nothing may ask the network, not even for an address."""

    def refuse(*arguments):
        pytest.fail(f"the network was asked: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def restored(model, planes, noise):
    """What the engine makes of the inputs of a graph."""
    channels = [torch.from_numpy(p) for p in planes]
    image = channels[0]
    if model.task != "denoise":
        return model.network(torch.cat(channels, 1)).numpy()
    light = smooth_signal(image) - noise.offset
    std = poisson_gaussian_std(light, noise.gain, noise.read_noise)
    seen = torch.cat([image, told_noise(std, *noise.correlation)], 1)
    rows = torch.nn.functional.pad(image, (0, 0, RADIUS, RADIUS), mode="replicate")
    told = torch.cat([seen, amplitude(rows)], 1)
    return (image + limited_residual(told, model.network(seen) - image)).numpy()


def largest_difference(model, graph, shape, noise=NOISE):
    rng = np.random.default_rng(0)
    names = [i.name for i in graph.get_inputs()]
    planes = {n: rng.random((shape[0], 1, *shape[1:]), np.float32) for n in names}
    expected = restored(model, planes.values(), noise)
    (result,) = graph.run(None, planes)
    assert result.shape == expected.shape
    return np.abs(result - expected).max()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Small models of every task and stride, and their graphs."""
    folder, made = tmp_path_factory.mktemp("onnx"), []
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        for stride in (1, 2):
            model, path = small_model(task, stride), folder / f"{task}-{stride}.onnx"
            model.export(path, noise=NOISE if task == "denoise" else None)
            made.append((model, session(path)))
    return made


@settings(max_examples=few(), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 3), rows=st.integers(1, 45), columns=st.integers(1, 45))
def test_graphs_compute_what_the_networks_do_at_any_size(exported, batch, rows, columns):
    for model, graph in exported:
        assert largest_difference(model, graph, (batch, rows, columns)) < 1e-4


@pytest.mark.parametrize("rectify_sum", [False, True])
@pytest.mark.parametrize(("layers", "skips"), [(4, True), (8, False), (10, True)])
def test_layers_are_connected_as_in_the_network(tmp_path, layers, skips, rectify_sum):
    config = NetworkConfig(
        layers=layers, features=5, skips=skips, stride=2, rectify_sum=rectify_sum
    )
    model = Model("m", "deblock", random_network(config))
    model.export(tmp_path / "m.onnx")
    assert largest_difference(model, session(tmp_path / "m.onnx"), (2, 33, 20)) < 1e-4


def test_installed_models_compute_the_same(tmp_path):
    model = load_model("denoise-fast")
    model.export(tmp_path / "m.onnx", noise=NOISE)
    for shape in ((1, 63, 80), (1, 64, 33)):
        assert largest_difference(model, session(tmp_path / "m.onnx"), shape) < 1e-4


@pytest.mark.parametrize("noise", [20.0, nr.NoiseModel(1.5, 10.0, 8.0)])
def test_the_graph_denoises_as_the_package_does(tmp_path, noise):
    model = load_model("denoise-fast")
    told = noise if isinstance(noise, nr.NoiseModel) else nr.NoiseModel(read_noise=noise)
    clean = data.camera()[100:229, 150:301].astype(float)
    noisy = np.random.default_rng(0).normal(clean, told.std(clean)).astype(np.float32)
    # The dark level, which `denoise` takes for 0, differs from the percentile that other programs
    # take: by little in images of little noise, but here the graph is compared to the digit.
    scale = measure_range([noisy]).above(dark_level([noisy]))
    model.export(tmp_path / "m.onnx", noise=told.normalized(scale.low, scale.span))
    image = ((noisy - scale.low) / scale.span).astype(np.float32)
    (result,) = session(tmp_path / "m.onnx").run(None, {"image": image[None, None]})
    expected = nr.denoise(noisy, noise=noise, model=model)
    # The package computes in bfloat16 where the CPU has it.
    assert np.abs(result[0, 0] * scale.span + scale.low - expected).max() < 2
    assert np.abs(noisy - expected).max() > 40


def test_a_number_is_gaussian_noise(tmp_path, tiny_model):
    tiny_model.export(tmp_path / "m.onnx", noise=0.1)
    graph = session(tmp_path / "m.onnx")
    assert largest_difference(tiny_model, graph, (1, 20, 21), nr.NoiseModel(read_noise=0.1)) < 1e-4


def test_fine_tuned_models_know_their_noise(tmp_path, tiny_model):
    model = Model("tuned", "denoise", tiny_model.network, {"noise_model": asdict(NOISE)})
    model.export(tmp_path / "m.onnx")
    assert largest_difference(model, session(tmp_path / "m.onnx"), (1, 20, 21)) < 1e-4


def test_onnx_files_tell_about_themselves_and_have_a_sample_beside(tmp_path, tiny_model):
    tiny_model.export(
        tmp_path / "m.onnx", noise=NOISE, authors=["A. One"], license="MIT", tags=["nuclei", "2d"]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-sample.npz", "m.onnx"]
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    facts = {p.key: p.value for p in made.metadata_props}
    assert (facts["name"], facts["task"], facts["license"]) == ("tiny", "denoise", "MIT")
    assert facts["tags"] == "red-net, image-restoration, denoising, 2d, nuclei"
    assert facts["authors"] == "A. One"
    assert json.loads(facts["info"]) == tiny_model.info
    for part in ("# tiny", "0.004 * max(signal - 0.05, 0)", "Licence: MIT", "## Validation"):
        assert part in facts["readme"]
    with np.load(tmp_path / "m-sample.npz") as sample:
        (result,) = session(tmp_path / "m.onnx").run(["restored"], {"image": sample["image"]})
        assert np.abs(result - sample["restored"]).max() < 1e-4
        assert sample["image"].shape == (1, 1, 128, 128)


def test_samples_change_by_no_more_than_their_noise(tmp_path, tiny_model):
    """As graphs do, where the network alone would change them by more."""
    tiny_model.export(tmp_path / "m.onnx", noise=0.01)
    with np.load(tmp_path / "m-sample.npz") as sample:
        image, result = sample["image"], sample["restored"]
    assert np.abs(result - image).max() == pytest.approx(MOST_CHANGE * 0.01, rel=1e-2)
    (expected,) = session(tmp_path / "m.onnx").run(["restored"], {"image": image})
    assert np.abs(result - expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "denoise-fast",  # which has the longest graph
        *(pytest.param(f"{n}-fast", marks=pytest.mark.slow) for n in ("sr", "deblock", "inpaint")),
    ],
)
@UNCLOSED
def test_packages_pass_the_test_of_bioimageio(name, tmp_path, offline):
    from bioimageio.core import test_model as check

    noise = NOISE if name == "denoise-fast" else None
    load_model(name).export(tmp_path / "m.zip", noise=noise, sample=data.camera()[180:244, 200:264])
    summary = check(tmp_path / "m.zip")
    assert summary.status == "passed", summary.format()
    assert [p.name for p in tmp_path.iterdir()] == ["m.zip"]


@pytest.fixture
def package(tmp_path):
    small_model("inpaint").export(tmp_path / "m.zip", license="MIT", tags=["nuclei"])
    return tmp_path / "m.zip"


@UNCLOSED
def test_packages_hold_documentation_cover_tests_and_samples(package):
    from bioimageio.spec import load_model_description

    with zipfile.ZipFile(package) as file:
        assert {f"{kind}_{name}" for kind in ("test", "sample") for name in ("image", "mask")} < {
            name.partition(".")[0] for name in file.namelist()
        }
        assert "Licence: MIT" in file.read("README.md").decode()
        cover = Image.open(file.open("cover.png"))
        assert cover.size == (512, 256)
    description = load_model_description(package)
    assert str(description.license) == "MIT"
    assert description.tags == ["red-net", "image-restoration", "inpainting", "2d", "nuclei"]
    assert "NIPS 2016" in description.cite[0].text
    assert description.authors[0].name == "author not named, made with napari-rednet"
    assert [str(i.id) for i in description.inputs] == ["image", "mask"]


@UNCLOSED
def test_values_that_the_format_refuses_are_named(tmp_path, tiny_model):
    with pytest.raises(nr.ModelError, match="refuses the model"):
        tiny_model.export(tmp_path / "m.zip", noise=0.1, license="my own")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "options", "error", "message"),
    [
        ("denoise", {}, nr.ModelError, "pass noise="),
        ("denoise", {"noise": 25}, ValueError, "at most 1, got 25"),
        ("denoise", {"noise": 0}, ValueError, "above 0"),
        ("deblock", {"noise": 0.1}, ValueError, "noise is for denoising"),
        ("deblock", {"license": " "}, ValueError, "SPDX"),
        ("deblock", {"authors": "A. One"}, TypeError, "sequence of strings"),
        ("deblock", {"sample": np.zeros((128, 128))}, ValueError, "constant"),
        ("deblock", {"sample": np.ones((63, 128))}, ValueError, "at least 64"),
        ("deblock", {"sample": np.full((64, 64), np.nan)}, ValueError, "finite"),
    ],
)
def test_mistakes_are_named_and_write_nothing(tmp_path, task, options, error, message):
    with pytest.raises(error, match=message):
        small_model(task).export(tmp_path / "m.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_and_places_that_cannot_be_written_are_named(tmp_path):
    model = small_model("deblock")
    with pytest.raises(ValueError, match=r"must end in \.onnx or \.zip, got 'm\.pt'"):
        model.export(tmp_path / "m.pt")
    with pytest.raises(nr.ModelError, match="there is no folder"):
        model.export(tmp_path / "missing" / "m.onnx")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(nr.ModelError, match="cannot be exported"):
        model.export(tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.part"))


def test_more_channels_cannot_be_exported(tmp_path):
    config = NetworkConfig(layers=4, features=2, in_channels=3, out_channels=3)
    with pytest.raises(nr.ModelError, match="1 channels in and 1 out, this one 3 and 3"):
        Model("rgb", "deblock", random_network(config)).export(tmp_path / "m.onnx")


def test_missing_packages_are_named():
    with pytest.raises(nr.ModelError, match=r'pip install "napari-rednet\[export\]"'):
        optional_package("no_such_package.part")


def test_nothing_of_it_is_imported_before_it_is_needed():
    code = "import sys, napari_rednet as nr; nr.load_model('denoise-fast'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not {b"onnx", b"bioimageio.spec", b"skimage"} & set(loaded.split())
