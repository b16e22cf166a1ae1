import numpy as np
import pytest
import torch

from napari_rednet.errors import TrainingError
from napari_rednet.training.batches import PatchSampler

CPU = torch.device("cpu")


def numbered(*shape, first=0):
    """An image whose pixels all differ and are exact in half precision."""
    return (first + np.arange(np.prod(shape))).reshape(1, *shape).astype(np.float32)


def orientations(image):
    turned = [np.rot90(image, k, (-2, -1)) for k in range(4)]
    return {np.ascontiguousarray(t).tobytes() for t in turned + [t[..., ::-1] for t in turned]}


def test_patches_are_parts_of_the_images_in_all_orientations():
    images = [numbered(9, 12), numbered(7, 5, first=500)]
    sampler = PatchSampler(images, 5, CPU)
    allowed = set()
    for image in images:
        windows = np.lib.stride_tricks.sliding_window_view(image[0], (5, 5)).reshape(-1, 5, 5)
        for window in windows:
            allowed |= orientations(window)
    patches = sampler.sample(600, torch.Generator().manual_seed(0)).numpy()
    found = {patch[0].tobytes() for patch in patches}
    assert found <= allowed
    assert len(found) > 0.6 * len(allowed)


def test_channels_stay_together():
    image = np.concatenate([numbered(12, 12), numbered(12, 12) + 144])
    patch = PatchSampler([image], 6, CPU).sample(20, torch.Generator().manual_seed(0))
    assert torch.all(patch[:, 1] - patch[:, 0] == 144)


def test_weights_decide_how_often_an_image_is_drawn():
    images = [np.zeros((1, 8, 8)), np.ones((1, 8, 8))]
    patches = PatchSampler(images, 8, CPU, [1, 3]).sample(2000, torch.Generator().manual_seed(0))
    assert patches.mean() == pytest.approx(0.75, abs=0.04)


def test_without_weights_large_images_give_more():
    images = [np.zeros((1, 8, 8)), np.ones((1, 8, 24))]
    patches = PatchSampler(images, 8, CPU).sample(2000, torch.Generator().manual_seed(0))
    assert patches.mean() == pytest.approx(0.75, abs=0.04)


def test_a_seed_gives_the_same_patches_again():
    sampler = PatchSampler([numbered(20, 20)], 6, CPU)
    first, second = (sampler.sample(8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_impossible_images_are_refused():
    with pytest.raises(TrainingError, match="no training images"):
        PatchSampler([], 8, CPU)
    with pytest.raises(TrainingError, match="at least 8 x 8 pixels, got one of 7 x 30"):
        PatchSampler([np.zeros((1, 9, 9)), np.zeros((1, 7, 30))], 8, CPU)
