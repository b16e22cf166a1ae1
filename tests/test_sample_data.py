import numpy as np
import pytest
from scipy import ndimage

from napari_rednet import sample_data

SAMPLES = ("noisy", "small", "jpeg", "blurred", "holes")


def layers_of(name):
    """Layers of a sample by their role: the original, the degraded image, and what follows."""
    degraded, original, *others = getattr(sample_data, name)()
    return original, degraded, others


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_the_same_every_time(name):
    first, second = getattr(sample_data, name)(), getattr(sample_data, name)()
    for (a, options, kind), (b, same_options, same_kind) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (options, kind) == (same_options, same_kind)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_degraded_image_lies_on_its_original(name):
    original, degraded, _ = layers_of(name)
    factor = original[0].shape[0] / degraded[0].shape[0]
    assert degraded[1]["scale"] == (factor, factor)
    # The borders of both images lie at the same places.
    assert degraded[1]["translate"][0] - factor / 2 == -0.5
    assert original[0].dtype == degraded[0].dtype == np.uint8
    assert not original[1]["visible"]
    enlarged = np.kron(degraded[0], np.ones((int(factor),) * 2))
    clean = original[0].astype(float)
    assert 0 < np.abs(enlarged - clean).mean() < 20
    smooth = [ndimage.gaussian_filter(image, 6.0) for image in (clean, enlarged)]
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.9


def test_labels_mark_the_holes():
    original, degraded, ((labels, _, kind),) = layers_of("holes")
    assert kind == "labels"
    assert 0.005 < labels.astype(bool).mean() < 0.2
    np.testing.assert_array_equal(original[0][labels == 0], degraded[0][labels == 0])
    assert (degraded[0][labels == 1] == 255).all()
