"""Simulated fluorescent volumes, their images, and classical deconvolution in three dimensions.

The classical methods know of the borders what ours knows: light comes from beyond the stack, where
nothing was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy import ndimage, signal

from napari_rednet import NoiseModel

Volume = npt.NDArray[np.float64]
SHAPE = (12, 48, 48)
"""Planes, rows and columns that are recorded."""
OFFSET = 100.0
"""Gray level without light; each photon adds one."""
READ_NOISE = 1.0
_TINY = 1e-6


def filaments(shape: Sequence[int], lot: np.random.Generator) -> Volume:
    """Threads that wander through the volume."""
    volume = np.zeros(shape)
    for _ in range(round(np.prod(shape) / 25_000)):
        place = lot.uniform(0, 1, 3) * shape
        heading = lot.normal(0, 1, 3) * (0.15, 1, 1)
        for _ in range(400):
            heading += lot.normal(0, 0.12, 3) * (0.15, 1, 1)
            heading /= np.linalg.norm(heading)
            place += 0.5 * heading
            nearest = tuple(np.round(place).astype(int))
            if all(0 <= i < n for i, n in zip(nearest, shape, strict=True)):
                volume[nearest] += 0.5
    return np.asarray(ndimage.gaussian_filter(volume.clip(0, 1.5), (0.4, 0.7, 0.7)))


def membranes(shape: Sequence[int], lot: np.random.Generator) -> Volume:
    """Shells of ellipsoids, dimly filled."""
    grid = np.indices(shape).astype(float)
    volume = np.zeros(shape)
    for _ in range(round(np.prod(shape) / 60_000) + 1):
        middle = lot.uniform(0, 1, 3) * shape
        radii = lot.uniform(9, 20) * np.array([lot.uniform(0.3, 0.45), 1, lot.uniform(0.7, 1.3)])
        parts = zip(grid, middle, radii, strict=True)
        distance = np.sqrt(sum(((g - m) / r) ** 2 for g, m, r in parts))
        inside = distance < 1
        apart = (distance - 1) * radii[1]
        volume = np.maximum(volume, np.exp(-0.5 * (apart / 0.8) ** 2))
        volume[inside] = np.maximum(volume[inside], 0.15)
    return volume


def beads(shape: Sequence[int], lot: np.random.Generator) -> Volume:
    """Small balls of different brightness, some of them in clusters."""
    volume = np.zeros(shape)
    for _ in range(round(np.prod(shape) / 6_000)):
        middle = lot.uniform(0, 1, 3) * shape
        for _ in range(lot.integers(1, 4)):
            place = tuple(np.floor(middle + lot.normal(0, 1, 3) * (1.2, 4, 4)).astype(int))
            if all(0 <= i < n for i, n in zip(place, shape, strict=True)):
                volume[place] += lot.uniform(0.3, 1)
    return np.asarray(ndimage.gaussian_filter(volume, (0.5, 1.2, 1.2)))


SCENES: Mapping[str, Callable[[Sequence[int], np.random.Generator], Volume]] = MappingProxyType(
    {"filaments": filaments, "membranes": membranes, "beads": beads}
)
"""Makers of volumes for a shape and a generator of random numbers."""


def recorded(
    make: Callable[[Sequence[int], np.random.Generator], Volume],
    psf: Volume,
    photons: float,
    seed: int = 0,
) -> tuple[Volume, npt.NDArray[np.float32]]:
    """A sharp volume in gray levels, and its image with so many photons at the brightest pixel.

    The scene goes on beyond what is recorded, as far as its light reaches.
    """
    lot = np.random.default_rng(seed)
    reach = [side // 2 for side in psf.shape]
    scene = make([n + 2 * r for n, r in zip(SHAPE, reach, strict=True)], lot)
    blurred = signal.fftconvolve(scene, psf, mode="valid").clip(0)
    gain = photons / blurred.max()
    inner = tuple(slice(r, r + n) for r, n in zip(reach, SHAPE, strict=True))
    noisy = OFFSET + lot.poisson(gain * blurred) + lot.normal(0, READ_NOISE, SHAPE)
    return OFFSET + gain * scene[inner], noisy.astype(np.float32)


NOISE = NoiseModel(gain=1.0, offset=OFFSET, read_noise=READ_NOISE)
"""Of the recorded volumes."""


class Blur:
    """Convolution with a PSF, from a volume that is larger by its reach to what is recorded."""

    def __init__(self, psf: Volume, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self.full = tuple(n + s - 1 for n, s in zip(shape, psf.shape, strict=True))
        self._fast = tuple(scipy.fft.next_fast_len(n, real=True) for n in self.full)
        self._corner = tuple(s - 1 for s in psf.shape)
        self.transfer = scipy.fft.rfftn(psf.astype(np.float32), self._fast)

    def forward(self, sharp: Volume) -> Volume:
        """What is recorded of a sharp volume."""
        found = scipy.fft.irfftn(scipy.fft.rfftn(sharp, self._fast) * self.transfer, self._fast)
        places = zip(self._corner, self._shape, strict=True)
        return np.asarray(found[tuple(slice(c, c + n) for c, n in places)])

    def back(self, seen: Volume) -> Volume:
        """The adjoint."""
        placed = np.zeros(self._fast, np.float32)
        places = zip(self._corner, self._shape, strict=True)
        placed[tuple(slice(c, c + n) for c, n in places)] = seen
        found = scipy.fft.irfftn(scipy.fft.rfftn(placed) * self.transfer.conj(), self._fast)
        return np.asarray(found[tuple(slice(0, n) for n in self.full)])

    def inner(self, sharp: Volume) -> Volume:
        """The part of a sharp volume that is recorded."""
        places = zip(self._corner, self._shape, strict=True)
        return sharp[tuple(slice(c // 2, c // 2 + n) for c, n in places)]


def richardson_lucy(
    light: Volume, psf: Volume, iterations: int, balance: float = 0.0
) -> Iterator[Volume]:
    """Estimates of each iteration; with a `balance`, total variation is kept low.

    N. Dey et al., "Richardson-Lucy algorithm with total variation regularization for 3D confocal
    microscope deconvolution", Microscopy Research and Technique 2006.
    """
    blur = Blur(psf, light.shape)
    weight = blur.back(np.ones(light.shape, np.float32))
    seen = light.astype(np.float32).clip(0)
    sharp = np.full(blur.full, seen.mean(), np.float32)
    lit = weight > 1e-3
    for _ in range(iterations):
        ratio = blur.back(seen / np.maximum(blur.forward(sharp), _TINY))
        below = weight - balance * _divergence(sharp) if balance else weight
        factor = np.where(lit, ratio / np.maximum(below, 1e-3), 1.0)
        sharp = np.maximum(sharp * factor, 0)
        yield blur.inner(sharp)


def _divergence(volume: Volume) -> Volume:
    """Of the direction of the steepest ascent."""
    slopes = np.gradient(volume)
    length = np.sqrt(sum(s**2 for s in slopes) + (1e-3 * volume.max()) ** 2)
    parts = [np.gradient(s / length, axis=axis) for axis, s in enumerate(slopes)]
    return np.asarray(sum(parts))


def wiener(light: Volume, psf: Volume, balance: float) -> Volume:
    """Wiener's filter for a white scene, beyond the borders like at them; not negative."""
    reach = [side // 2 for side in psf.shape]
    padded = np.pad(light, [(r, r) for r in reach], mode="reflect" if _fits(reach) else "edge")
    placed = np.zeros(padded.shape)
    placed[tuple(slice(0, n) for n in psf.shape)] = psf
    transfer = scipy.fft.rfftn(np.roll(placed, [-r for r in reach], (0, 1, 2)))
    spectrum = scipy.fft.rfftn(padded) * transfer.conj() / (np.abs(transfer) ** 2 + balance)
    found = scipy.fft.irfftn(spectrum, padded.shape)
    inner = tuple(slice(r, r + n) for r, n in zip(reach, light.shape, strict=True))
    return np.asarray(found[inner].clip(0))


def _fits(reach: Sequence[int]) -> bool:
    return all(r < n for r, n in zip(reach, SHAPE, strict=True))
