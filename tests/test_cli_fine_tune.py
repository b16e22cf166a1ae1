import numpy as np
import pytest
import tifffile
import torch
from skimage import data
from skimage.io import imsave

import napari_rednet as nr
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.finetuning.session import FineTuning, Validation
from tests.finetuning.conftest import (
    clean_image,
    go_to,
    prepared,
    tiny,
    tuned,
    weights_of,
    with_noise,
)
from tests.test_cli import call

CLEAN = clean_image().astype(np.uint8)
NOISY = with_noise(CLEAN.astype(float)).clip(0).astype(np.uint16)
USUAL = ["--steps", 40, "--rate", 2e-3, "--batch", 4, "--patch", 32, "--device", "cpu"]


@pytest.fixture
def folder(tmp_path):
    tiny().save(tmp_path / "tiny.safetensors")
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
    for i in range(2):
        part = np.s_[:, 90 * i : 90 * i + 90]
        tifffile.imwrite(tmp_path / "noisy" / f"{i}.tif", NOISY[part])
        imsave(tmp_path / "clean" / f"{i}.png", CLEAN[part], check_contrast=False)
    tifffile.imwrite(tmp_path / "noisy.tif", NOISY)
    return tmp_path


def fine_tune(folder, *arguments, out="out.safetensors", model="tiny.safetensors"):
    """Call the command; what begins with a letter lies in the folder."""
    paths = [folder / a if isinstance(a, str) and a[0].isalpha() else a for a in arguments]
    return call("fine-tune", *paths, "--out", folder / out, "--model", folder / model, *USUAL)


def same(path, model):
    return torch.equal(weights_of(nr.load_model(path)), weights_of(model).half().float())


def expected(folder, *images, **changes):
    model = nr.load_model(folder / "tiny.safetensors")
    return tuned(*images, model=model, steps=40, **changes)


def test_a_file_becomes_a_model(folder):
    code, text = fine_tune(folder, "noisy.tif")
    assert code == 0, text
    assert "tiny learns from 1 images (pseudo-clean), 1 held out" in text
    assert "best model: +" in text
    assert "dB over tiny" in text
    model = nr.load_model(folder / "out.safetensors")
    assert (model.name, model.info["base"]) == ("out", "tiny")
    assert same(folder / "out.safetensors", expected(folder, NOISY))
    used = ("--model", folder / "out.safetensors")
    code, text = call("denoise", folder / "noisy.tif", folder / "denoised.tif", *used)
    assert code == 0, text


def test_folders_of_pairs_become_a_model(folder):
    code, text = fine_tune(folder, "noisy", "--targets", "clean", "--quiet")
    assert (code, text) == (0, "")
    images = [tifffile.imread(folder / "noisy" / f"{i}.tif") for i in range(2)]
    targets = [CLEAN[:, :90], CLEAN[:, 90:]]
    assert same(folder / "out.safetensors", expected(folder, images, targets))
    names = {path.name for path in (folder / "out.training").iterdir()}
    assert {"checkpoint.pt", "log.csv", "best.safetensors", "last.safetensors"} == names


def test_targets_alone_and_several_of_them(folder):
    paths = [v for i in range(2) for v in ("--targets", folder / "clean" / f"{i}.png")]
    code, text = fine_tune(folder, *paths, "--gain", 2, "--offset", 5, "--read-noise", 3)
    assert code == 0, text
    assert "(clean)" in text
    noise = NoiseModel(2, 5, 3)
    wanted = expected(folder, None, [CLEAN[:, :90], CLEAN[:, 90:]], noise=noise)
    assert same(folder / "out.safetensors", wanted)


def test_options_reach_the_training(folder):
    options = ["--method=pseudo-clean", "--seed=7", "--name=cells", "--noise=20", "--grain-x=0.6"]
    code, text = fine_tune(folder, "noisy.tif", *options)
    assert code == 0, text
    model = nr.load_model(folder / "out.safetensors")
    training = model.info["training"]
    assert (model.name, training["method"], training["seed"]) == ("cells", "pseudo-clean", 7)
    found = (training["steps"], training["batch"], training["patch"], training["rate"])
    assert found == (40, 4, 32, 2e-3)
    noise = NoiseModel(**model.info["noise_model"])
    assert (noise.gain, noise.grain_y, noise.grain_x) == (0, 0, 0.6)


def test_other_tasks_learn_from_good_images(folder):
    tiny("deblock").save(folder / "deblocker.safetensors")
    code, text = fine_tune(folder, "clean", "--task=deblock", model="deblocker.safetensors")
    assert code == 0, text
    assert nr.load_model(folder / "out.safetensors").task == "deblock"


@pytest.mark.parametrize(
    ("arguments", "out", "message"),
    [
        ([], "out.safetensors", "give images, targets"),
        (["noisy.tif"], "out.pt", "must be a .safetensors file, got out.pt"),
        (["noisy.tif"], "none/out.safetensors", "there is no folder"),
        (["noisy.tif"], "there.safetensors", "exists; add --force"),
        (["missing.tif"], "out.safetensors", "missing.tif"),
        (["noisy.tif", "--method=guess"], "out.safetensors", "method must be one of"),
        (["noisy.tif", "--task=paint"], "out.safetensors", "task must be one of"),
        (["noisy.tif", "--task=deblock"], "out.safetensors", "made for denoise, not for deblock"),
        (["noisy.tif", "--noise=3", "--gain=2"], "out.safetensors", "either --noise or --gain"),
        (["noisy.tif", "--targets", "clean"], "out.safetensors", "as many as images, got"),
    ],
)
def test_mistakes_are_named_and_write_no_model(folder, arguments, out, message):
    (folder / "there.safetensors").write_text("precious")
    code, text = fine_tune(folder, *arguments, out=out)
    assert code == 1
    assert message in text
    assert "Traceback" not in text
    assert (folder / "there.safetensors").read_text() == "precious"
    assert not (folder / "out.safetensors").exists()


def test_an_existing_model_is_overwritten_by_force(folder):
    (folder / "out.safetensors").write_text("old")
    assert fine_tune(folder, "noisy.tif", "--force")[0] == 0
    assert nr.load_model(folder / "out.safetensors").task == "denoise"


def test_a_training_can_be_done_again_by_force(folder):
    assert fine_tune(folder, "noisy.tif")[0] == 0
    assert fine_tune(folder, "noisy.tif", "--force")[0] == 0


@pytest.fixture
def interrupted(folder):
    """A training that was killed half way."""
    model = nr.load_model(folder / "tiny.safetensors")
    options = {"model": model, "steps": 40, "folder": folder / "out.training"}
    run = prepared(NOISY, **options).run()
    go_to(20, run).close()
    return folder


def test_an_interrupted_training_goes_on(interrupted):
    code, text = fine_tune(interrupted, "noisy.tif", "--resume")
    assert code == 0, text
    assert "going on at step 20" in text
    assert same(interrupted / "out.safetensors", expected(interrupted, NOISY))


def test_an_interrupted_training_is_not_overwritten(interrupted):
    before = (interrupted / "out.training" / "checkpoint.pt").read_bytes()
    code, text = fine_tune(interrupted, "noisy.tif")
    assert code == 1
    assert "holds a training" in text
    assert (interrupted / "out.training" / "checkpoint.pt").read_bytes() == before


def test_another_training_is_not_continued(interrupted):
    code, text = fine_tune(interrupted, "noisy.tif", "--resume", "--seed=3")
    assert code == 1
    assert "another training" in text


def test_a_stopped_training_keeps_the_best(folder, monkeypatch):
    run = FineTuning.run

    def stopped(self):
        for status in run(self):
            yield status
            if status.step == 20:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "run", stopped)
        code, text = fine_tune(folder, "noisy.tif")
    assert code == 0, text
    assert "stopped; the best model is kept" in text
    kept = nr.load_model(folder / "out.safetensors")
    assert kept.info["training"]["steps"] == 20
    assert same(folder / "out.training" / "best.safetensors", kept)
    assert not same(folder / "tiny.safetensors", kept)
    code, text = fine_tune(folder, "noisy.tif", "--resume")
    assert code == 0, text
    assert same(folder / "out.safetensors", expected(folder, NOISY))


def test_it_is_said_if_nothing_was_better(folder, monkeypatch):
    monkeypatch.setattr(Validation, "__call__", lambda *_: 0.0)
    code, text = fine_tune(folder, "noisy.tif")
    assert code == 0, text
    assert "nothing better than tiny was found; the model has its weights" in text
    assert same(folder / "out.safetensors", nr.load_model(folder / "tiny.safetensors"))


def test_warnings_are_lines(folder):
    tifffile.imwrite(folder / "noisy" / "2.tif", data.camera()[:30, :30])
    code, text = fine_tune(folder, "noisy")
    assert code == 0, text
    assert text.count("warning: 1 images are smaller than a patch of 32 pixels") == 1
    assert ".py" not in text


def test_models_are_exported_by_a_command_of_models():
    code, text = call("models", "export", "--help")
    assert code == 0
    assert "bioimage.io" in text
    assert call("export-model", "--help")[0] == 2
