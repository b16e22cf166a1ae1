import numpy as np
import torch
from scipy import ndimage

from napari_rednet.engine.degradations import blur


def test_blur_is_a_convolution_with_replicated_borders(camera):
    kernel = np.random.default_rng(0).random((5, 9))
    found = blur(torch.from_numpy(camera / 1.0)[None, None], torch.from_numpy(kernel))
    expected = ndimage.convolve(camera / 1.0, kernel, mode="nearest")
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-9)
