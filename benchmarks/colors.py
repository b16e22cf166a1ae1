"""Gaussian noise on colour images: colours denoised together, and each by itself.

::

    python -m benchmarks.colors --data FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from skimage.color import gray2rgb
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_wavelet
from skimage.util import img_as_float32

from benchmarks.common import (
    DEFAULT_MODELS,
    Device,
    Models,
    Out,
    Table,
    describe_machine,
    model_runs,
    publish,
    watched,
)
from benchmarks.quality import Data, Ensemble, Limit, image_paths
from napari_rednet import denoise
from napari_rednet.engine.network import resolve_device

ColorImage = npt.NDArray[np.float32]
Method = Callable[[ColorImage, float], ColorImage]

_SIGMAS = [15.0, 25.0, 50.0]


def main(
    *,
    data: Data,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    sigma: Annotated[list[float], typer.Option(help="Noise levels; repeatable.")] = _SIGMAS,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Gaussian noise of known standard deviation on the colour images of a folder."""
    clean = [_read(path) for path in image_paths(data)[:limit]]
    methods: dict[str, Method] = {
        "noisy": lambda noisy, _: noisy,
        "wavelet (scikit-image, YCbCr)": _wavelet,
    }
    for name, run in model_runs(denoise, "denoise", model, ensemble, device).items():
        methods[f"{name}, each colour by itself"] = partial(_denoised, run, channel_axis=-1)
        methods[f"{name}, together"] = partial(_denoised, run, rgb=True)
    table = Table(
        f"PSNR in dB, {data.name}, {len(clean)} images", ["method", *[f"σ {s:g}" for s in sigma]]
    )
    for name, method in methods.items():
        means = [_mean_psnr(name, method, clean, level) for level in sigma]
        table.rows.append([name, *[f"{mean:.2f}" for mean in means]])
    notes = [
        "Means over all images, PSNR over the pixels of the three colours, in [0, 255].",
        "Independent noise in each colour, seed 0, neither clipped nor quantised; all methods are "
        "told σ. Restored images are clipped to [0, 255] and not rounded.",
        "Together: the mean of the colours and two differences are restored by the gray network, "
        "with the noise that each has.",
    ]
    publish("Colours", [table], notes, describe_machine(resolve_device(device)), out)


def _mean_psnr(name: str, method: Method, clean: list[ColorImage], sigma: float) -> float:
    rng = np.random.default_rng(0)
    found = []
    for image in watched(clean, f"{name}, σ {sigma:g}"):
        noisy = image + rng.normal(0, sigma, image.shape).astype(np.float32)
        restored = method(noisy, sigma)
        if restored is not noisy:
            restored = restored.clip(0, 255)
        found.append(peak_signal_noise_ratio(image, restored, data_range=255))
    return float(np.mean(found))


def _denoised(
    run: Callable[..., ColorImage], noisy: ColorImage, sigma: float, **colors: Any
) -> ColorImage:
    return run(noisy, noise=sigma, **colors)


def _wavelet(noisy: ColorImage, sigma: float) -> ColorImage:
    restored = denoise_wavelet(noisy / 255, sigma / 255, channel_axis=-1, convert2ycbcr=True)
    return np.asarray(restored * 255, np.float32)


def _read(path: Path) -> ColorImage:
    """An image in [0, 255]; gray ones as three equal colours, transparency left out."""
    image = imread(path)
    colors = gray2rgb(image) if image.ndim == 2 else image[..., :3]
    return np.asarray(img_as_float32(colors) * 255, np.float32)


if __name__ == "__main__":
    typer.run(main)
