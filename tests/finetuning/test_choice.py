import numpy as np
import pytest
from skimage import data
from tests.finetuning.conftest import (
    STD,
    clean_image,
    frames_of,
    noisy_settings,
    prepared,
    with_noise,
)

from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.finetuning import METHODS
from napari_rednet.finetuning.choice import choose_method, repeating_axis
from napari_rednet.finetuning.stacks import as_stacks
from napari_rednet.tasks import TASKS

CLEAN = clean_image()
SCENES = np.stack([data.camera()[y : y + 160, x : x + 180] for y, x in ((0, 0), (300, 200))])

# What goes with what: the first is what is chosen.
FITTING = {
    ("denoise", True, True): ("paired", "clean"),
    ("denoise", False, True): ("clean",),
    ("denoise", True, False): ("pseudo-clean", "neighbors", "blind-spot", "subsampled"),
    ("deblock", True, True): ("paired",),
    **{(task, True, False): ("clean",) for task in ("super_resolve", "deblock", "inpaint")},
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("targets", [True, False])
@pytest.mark.parametrize("method", [None, *METHODS, "guess"])
def test_what_is_given_decides(task, images, targets, method):
    fitting = FITTING.get((task, images, targets), ())
    given = {"images": images, "targets": targets}
    if fitting and method is None:
        assert choose_method(task, None, **given) == fitting[0]
    elif method in fitting:
        assert choose_method(task, method, **given) == method
    else:
        with pytest.raises(ValueError, match=r"method|give images|alone"):
            choose_method(task, method, **given)


def axis_of(*arrays, channel_axis=None, noise=None):
    stacks = as_stacks("images", list(arrays), channel_axis)
    return repeating_axis(stacks, noisy_settings(noise))


@pytest.mark.parametrize("known", [True, False])
def test_repeated_frames_are_found_whatever_else_there_is(known):
    noise = NoiseModel(read_noise=STD) if known else None
    frames = np.stack([frames_of(scene, 3) for scene in SCENES])
    assert axis_of(frames, noise=noise) == 1
    assert axis_of(frames.swapaxes(0, 1), noise=noise) == 0
    assert axis_of(frames, channel_axis=0, noise=noise) == 1
    assert axis_of(frames.transpose(1, 2, 0, 3), channel_axis=2, noise=noise) == 0
    assert axis_of(frames[0], frames[1], noise=noise) == 0


def test_frames_under_photon_noise_are_found():
    rng = np.random.default_rng(0)
    assert axis_of(rng.poisson(np.stack([CLEAN / 3] * 3))) == 0


def test_different_scenes_are_not_neighbours():
    assert axis_of(with_noise(SCENES)) is None
    assert axis_of(with_noise(CLEAN)) is None
    # One stack of frames does not make up for another of scenes.
    assert axis_of(frames_of(CLEAN, 2), with_noise(SCENES)) is None
    assert axis_of(frames_of(CLEAN, 2), with_noise(CLEAN)) is None


def test_frames_of_a_scene_that_moves_are_not_neighbours():
    moving = np.stack([np.roll(CLEAN, 3 * t, 1) for t in range(3)])
    assert axis_of(with_noise(moving)) is None


def test_channels_are_not_neighbours():
    assert axis_of(frames_of(CLEAN, 3), channel_axis=0) is None


def test_one_channel_that_changes_is_enough():
    both = np.stack([frames_of(CLEAN, 2), with_noise(SCENES, 5)])
    assert axis_of(both, channel_axis=0) is None


def test_unknown_pixels_do_not_matter():
    frames = frames_of(CLEAN, 3)
    frames[0, :40] = np.nan
    frames[2, :, :20] = np.inf
    assert axis_of(frames) == 0


@pytest.mark.parametrize("images", [frames_of(CLEAN, 3), with_noise(SCENES), with_noise(CLEAN)])
def test_noisy_images_are_restored_first_unless_another_way_is_asked_for(images):
    assert prepared(images, steps=10).plan.method_name == "pseudo-clean"
    for method in ("blind-spot", "subsampled"):
        assert prepared(images, method=method, steps=10).plan.method_name == method


def test_neighbours_have_to_show_the_same_scene():
    assert prepared(frames_of(CLEAN, 3), method="neighbors", steps=10).plan.training
    for images in (with_noise(SCENES), [with_noise(SCENES), frames_of(CLEAN, 3)]):
        with pytest.raises(ValueError, match="do not show the same scene"):
            prepared(images, method="neighbors")
