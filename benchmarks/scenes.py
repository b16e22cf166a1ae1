"""Clean scenes under camera noise, processed afterwards by what people use.

The processes are those of scikit-image and SciPy, not the torch code that models are trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal
from skimage import data, restoration, transform

from napari_rednet import NoiseModel
from napari_rednet.engine.channel import grain_of
from napari_rednet.io import read_planes
from napari_rednet.noise import NoiseLevels

Image = npt.NDArray[np.float32]
Lot = np.random.Generator
Process = Callable[[Image], Image]

CAMERA = NoiseModel(gain=2.0, offset=100.0, read_noise=3.0)
"""The detector, in gray levels."""
PHOTONS = 60.0
"""Counted at the brightest pixels of a scene."""
_SIDE = 256
_ROW_NOISE = 12.0
_DRAWS = 16
_LEVELS = 12


@dataclass(frozen=True)
class Kind:
    """How images are processed: `before` the noise, without any, and `after` it."""

    after: Process
    before: Process = lambda image: image
    row_noise: float = 0.0

    def clean(self, scene: Image) -> Image:
        """What can be restored, in gray levels."""
        return self.after(CAMERA.offset + CAMERA.gain * PHOTONS * self.before(scene))

    def noisy(self, scene: Image, lot: Lot) -> Image:
        """A frame of a scene of values from 0 to 1, in gray levels."""
        photons = lot.poisson(PHOTONS * self.before(scene).clip(0))
        frame = (
            CAMERA.offset + CAMERA.gain * photons + lot.normal(0, CAMERA.read_noise, scene.shape)
        )
        frame = frame + lot.normal(0, 1, (len(scene), 1)) * self.row_noise
        return self.after(frame.astype(np.float32))


def enlarged(image: Image) -> Image:
    """Twice as large, linearly."""
    return _single(transform.rescale(image, 2, order=1, preserve_range=True))


def rotated(image: Image) -> Image:
    """By 10 degrees, linearly; the middle that is free of corners."""
    turned = transform.rotate(image, 10, order=1, preserve_range=True)
    edge = len(image) // 8
    return _single(turned[edge:-edge, edge:-edge])


def smoothed(image: Image) -> Image:
    """By a Gaussian of 0.6 pixels."""
    return _single(ndimage.gaussian_filter(image, 0.6))


def median(image: Image) -> Image:
    """Of 3 x 3 pixels."""
    return _single(ndimage.median_filter(image, 3))


def demosaiced(image: Image) -> Image:
    """The luminance of a gray scene behind a Bayer mask, linearly interpolated."""
    rows, columns = np.indices(image.shape) % 2
    masks = [(rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)]
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)
    colors = []
    for mask in masks:
        near = ndimage.convolve(image * mask, kernel) / ndimage.convolve(mask * 1.0, kernel)
        colors.append(np.where(mask, image, near))
    red, green, blue = colors
    return _single(0.299 * red + 0.587 * green + 0.114 * blue)


def deconvolved(image: Image) -> Image:
    """Ten iterations of Richardson and Lucy, above the camera's offset."""
    line = signal.windows.gaussian(9, 1.5)
    kernel = np.outer(line, line) / line.sum() ** 2
    light = (image - CAMERA.offset).clip(1e-3)
    found = restoration.richardson_lucy(light, kernel, num_iter=10, clip=False)
    return _single(found + CAMERA.offset)


def blurred(scene: Image) -> Image:
    """What the deconvolution undoes."""
    return _single(ndimage.gaussian_filter(scene, 1.5))


def scanned(image: Image) -> Image:
    """A detector that remembers 0.4 of the pixel before."""
    start = image[:, :1] * 0.4
    return _single(signal.lfilter([0.6], [1, -0.4], image, axis=1, zi=start)[0])


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "white": Kind(lambda image: image),
        "enlarged ×2": Kind(enlarged),
        "rotated 10°": Kind(rotated),
        "Gauss 0.6": Kind(smoothed),
        "median 3": Kind(median),
        "Bayer": Kind(demosaiced),
        "RL-deconvolved": Kind(deconvolved, blurred),
        "scanned along x": Kind(scanned),
        "rows": Kind(lambda image: image, row_noise=_ROW_NOISE),
    }
)
"""White noise, and what makes it correlated."""


def scenes(widefield: Path | None) -> dict[str, Image]:
    """Clean scenes of values from 0 to 1, 256 x 256 pixels.

    Parameters
    ----------
    widefield : Path, optional
        Folder of clean micrographs; every fifth of them is used.
    """
    found = {
        "camera": data.camera()[100:, 130:],
        "coins": data.coins(),
        "moon": data.moon()[128:, 128:],
        "brick": data.brick(),
    }
    if widefield is not None:
        for path in sorted(widefield.iterdir())[::5]:
            found[path.stem] = next(iter(read_planes(path)))
    return {name: _as_scene(image) for name, image in found.items()}


def _as_scene(image: npt.NDArray[np.generic]) -> Image:
    part = np.asarray(image, np.float32)[:_SIDE, :_SIDE]
    low, high = np.quantile(part, (0.002, 0.998))
    return _single(((part - low) / (high - low)).clip(0, 1))


@dataclass(frozen=True)
class TrueNoise:
    """The noise of processed frames, measured in many of them with the clean one at hand.

    Parameters
    ----------
    signal, std : (L,) ndarray
        Its standard deviation at signals from the 10th to the 95th percentile of the scene.
    model : NoiseModel
        The line through them, and the grain.
    """

    signal: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    model: NoiseModel


def true_noise(kind: Kind, scene: Image) -> TrueNoise:
    """Measure the noise of a kind of frames."""
    clean = kind.clean(scene).astype(np.float64)
    frames = (kind.noisy(scene, np.random.default_rng(1000 + i)) for i in range(_DRAWS))
    errors = np.stack([frame - clean for frame in frames])
    edges = np.quantile(clean, np.linspace(0.1, 0.95, _LEVELS + 1))
    inside = [(clean >= low) & (clean <= high) for low, high in pairwise(edges)]
    level = np.array([clean[part].mean() for part in inside])
    variance = np.array([np.mean(errors[:, part] ** 2) for part in inside])
    count = np.array([part.sum() for part in inside], float)
    line = NoiseLevels(level, variance, count, CAMERA.offset).fit()
    std = np.interp(clean, level, np.sqrt(variance))
    along_y, along_x = neighbour_correlation(errors / std)
    model = replace(line, grain_y=grain_of(along_y), grain_x=grain_of(along_x))
    return TrueNoise(level, np.sqrt(variance), model)


def neighbour_correlation(noise: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Correlation of neighbours along y and along x; the last two axes."""
    power = np.mean(noise**2)
    along_y = np.mean(noise[..., 1:, :] * noise[..., :-1, :]) / power
    along_x = np.mean(noise[..., 1:] * noise[..., :-1]) / power
    return float(along_y), float(along_x)


def _single(image: npt.NDArray[np.floating]) -> Image:
    return np.asarray(image, np.float32)
