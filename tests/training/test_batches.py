import numpy as np
import pytest
import tifffile
import torch
from skimage import data
from tests.conftest import seeded

import napari_rednet as nr
from napari_rednet.engine.degradations import (
    EnlargementCorruption,
    HoleCorruption,
    JpegCorruption,
    NoiseCorruption,
)
from napari_rednet.training.batches import (
    CorruptedBatches,
    DenoisingBatches,
    ImageFolder,
    PairFolders,
    PatchShape,
    held_out_files,
    image_files,
    normalized_planes,
    training_files,
    vary_contrast,
)

CPU = torch.device("cpu")
SHAPE = PatchShape(batch=6, patch=24)


@pytest.fixture
def folder(tmp_path, camera):
    rng = np.random.default_rng(0)
    (tmp_path / "clean" / "deeper").mkdir(parents=True)
    (tmp_path / "noisy").mkdir()
    noisy = 400 + 6.0 * camera + rng.normal(0, 90, camera.shape)
    tifffile.imwrite(tmp_path / "clean" / "a.tif", camera)
    tifffile.imwrite(tmp_path / "clean" / "deeper" / "b.tif", camera[::-1])
    tifffile.imwrite(tmp_path / "noisy" / "a.tif", noisy.astype(np.float32))
    return tmp_path


def test_files_are_held_out_evenly(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.tif").touch()
    for every, held in ((0, ""), (1, "0123456"), (3, "036"), (40, "0")):
        entry = ImageFolder(".", 1.0, held_out=every)
        assert "".join(path.stem for path in held_out_files(entry, tmp_path)) == held
        kept = "".join(path.stem for path in training_files(entry, tmp_path))
        assert sorted(kept + held) == list("0123456")


def test_folders_without_images_are_named(tmp_path):
    with pytest.raises(nr.TrainingError, match="there are no images in"):
        image_files(tmp_path)


def test_subfolders_are_searched(folder):
    assert [path.name for path in image_files(folder / "clean")] == ["a.tif", "b.tif"]


def test_planes_are_normalised(folder, camera):
    (plane,) = normalized_planes(folder / "clean" / "a.tif")
    np.testing.assert_allclose(plane, camera / 255, rtol=1e-6)
    (plane,) = normalized_planes(folder / "noisy" / "a.tif")
    assert plane.dtype == np.float32
    assert plane.min() == 0
    assert np.quantile(plane, 0.99) == pytest.approx(1, abs=0.1)


def test_contrast_varies_within_the_range():
    clean = torch.rand((200, 1, 8, 8), generator=seeded())
    varied = vary_contrast(clean, seeded())
    assert varied.min() >= 0
    assert varied.max() <= 1
    contrast = varied.std((1, 2, 3)) / clean.std((1, 2, 3))
    assert contrast.min() > 0.49
    assert contrast.max() <= 1.001
    assert contrast.std() > 0.1
    slopes = varied - contrast.view(-1, 1, 1, 1) * clean
    assert slopes.std((1, 2, 3)).max() < 1e-5


@pytest.mark.parametrize(
    ("corruption", "channels"),
    [
        (EnlargementCorruption(margin=12), 1),
        (JpegCorruption(margin=8), 1),
        (HoleCorruption(margin=4), 2),
        (HoleCorruption(), 2),
    ],
)
def test_patches_have_their_size_without_the_margin(corruption, channels, folder):
    folders = [ImageFolder("clean", 1.0, scales=(1.0, 0.5))]
    batches = CorruptedBatches(folders, corruption, corruption.margin, SHAPE, folder, CPU)
    inputs, targets, weights = batches(seeded())
    assert inputs.shape == (6, channels, 24, 24)
    assert targets.shape == (6, 1, 24, 24)
    assert torch.broadcast_shapes(weights.shape, targets.shape) == targets.shape
    assert weights.min() >= 0
    assert all(torch.isfinite(part).all() for part in (inputs, targets, weights))
    again = batches(seeded())
    for one, other in zip((inputs, targets, weights), again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_denoising_batches_may_be_real_pairs(share, folder):
    corruption = NoiseCorruption(max_std=0.01, poisson_share=0.0)
    pairs = [PairFolders("noisy", "clean", share)]
    batches = DenoisingBatches([ImageFolder("clean", 1.0)], pairs, corruption, SHAPE, folder, CPU)
    inputs, targets, weights = batches(seeded())
    assert inputs.shape == (6, 4, 24, 24)
    assert not inputs[:, 2:].any()  # the noise of all of them is white
    assert targets.shape == (6, 1, 24, 24)
    assert weights.shape == (6, 1, 1, 1)
    noise = (inputs[:, :1] - targets).std()
    told = inputs[:, 1].mean()
    assert (noise > 0.03) == bool(share)
    assert told == pytest.approx(float(noise), rel=0.5)


def test_weights_make_up_for_strong_noise(folder):
    batches = DenoisingBatches(
        [ImageFolder("clean", 1.0)], [], NoiseCorruption(), SHAPE, folder, CPU
    )
    inputs, _, weights = batches(seeded())
    order = inputs[:, 1].mean((1, 2)).argsort()
    assert (weights.flatten()[order].diff() <= 0).all()


def test_folders_give_their_share_of_the_patches(tmp_path):
    for name, value, side in (("dark", 40, 80), ("bright", 200, 40)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", np.full((side, side), value, np.uint8))
    folders = [ImageFolder("dark", 0.25), ImageFolder("bright", 0.75)]
    seen = []

    def remember(clean, generator):
        seen.append(clean)
        return clean, clean, torch.ones(len(clean), 1, 1, 1)

    batches = CorruptedBatches(folders, remember, 0, PatchShape(1000, 16), tmp_path, CPU)
    batches(seeded())
    # Contrast pulls values to others by half of the way at most, and seldom that far.
    assert (seen[0][:, 0, 0, 0] > 120 / 255).float().mean() == pytest.approx(0.75, abs=0.1)


def test_images_smaller_than_a_patch_are_left_out(tmp_path):
    tifffile.imwrite(tmp_path / "small.tif", data.camera()[:20, :90])
    with pytest.raises(nr.TrainingError, match="no training images"):
        CorruptedBatches([ImageFolder(".", 1.0)], JpegCorruption(margin=8), 8, SHAPE, tmp_path, CPU)
