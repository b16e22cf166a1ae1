"""Classical denoisers to compare with; each is told the noise's standard deviation."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Denoiser = Callable[[Image, float], Image]
"""Restores an image, given the standard deviation of its noise."""


def non_local_means(noisy: Image, sigma: float) -> Image:
    """scikit-image's non-local means in its fast mode, with the parameters of its examples."""
    from skimage.restoration import denoise_nl_means

    return _float(
        denoise_nl_means(
            noisy, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
        )
    )


def wavelet(noisy: Image, sigma: float) -> Image:
    """scikit-image's wavelet shrinkage (BayesShrink)."""
    from skimage.restoration import denoise_wavelet

    return _float(denoise_wavelet(noisy, sigma=sigma, rescale_sigma=True))


def bm3d(noisy: Image, sigma: float) -> Image:
    """BM3D as its authors distribute it."""
    from bm3d import bm3d as run

    return _float(run(noisy, sigma))


def _float(image: Any) -> Image:
    return np.asarray(image, np.float32)


_ALL: dict[str, tuple[Denoiser, str]] = {
    "wavelet (scikit-image)": (wavelet, "pywt"),
    "NLM (scikit-image, fast mode)": (non_local_means, "skimage"),
    "BM3D (bm3d)": (bm3d, "bm3d"),
}


def installed_baselines() -> dict[str, Denoiser]:
    """The baselines whose packages are installed, by name."""
    return {name: run for name, (run, package) in _ALL.items() if find_spec(package)}
