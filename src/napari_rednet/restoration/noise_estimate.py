"""The noise of an array of any axes."""

from __future__ import annotations

from typing import Any

from napari_rednet.arguments import as_image
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.execution import sample_windows
from napari_rednet.noise import fit_noise


def estimate_noise(image: Any, *, channel_axis: int | None = None) -> NoiseModel | list[NoiseModel]:
    """Estimate the Poisson-Gaussian noise of an image or a stack from itself.

    Parameters
    ----------
    image : (..., Y, X) array
        Image of any real dtype. Of large stacks, windows that represent them are used.
    channel_axis : int, optional
        Axis of the channels.

    Returns
    -------
    noise : NoiseModel, or a list of one per channel if `channel_axis` is given
        Gain, offset and read noise in image units; ``noise.std(signal)`` is the
        standard deviation at a signal.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> photons = np.random.default_rng(0).poisson(data.moon().astype(float))
    >>> noise = estimate_noise(100 + 2 * photons)
    >>> bool(1.8 < noise.gain < 2.2)
    True
    """
    array, layout = as_image(image, channel_axis)
    models = [fit_noise(sample_windows(array, layout, c)) for c in range(layout.channels)]
    return models[0] if channel_axis is None else models
