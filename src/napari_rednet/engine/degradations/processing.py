"""Processing that noisy images undergo between the detector and the file.

Most of it correlates the noise of neighbouring pixels. Each process takes a batch of noisy images
and their clean versions, both (N, 1, Y, X), draws its random parameters for each image, and returns
both as processed; the processed clean image is what can be restored. Up to `MARGIN` pixels at the
borders differ from what they would be inside a larger image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.degradations.losses import code_jpeg
from napari_rednet.engine.rng import normal, uniform

Pair = tuple[Tensor, Tensor]
Process = Callable[[Tensor, Tensor, torch.Generator], Pair]

MARGIN = 16
_RADIUS = 6
_MOST_RATIO = 10.0
_FLOOR = 1e-3  # Richardson-Lucy divides by the estimate


def resample_pair(
    noisy: Tensor, clean: Tensor, generator: torch.Generator, planes: int = 1
) -> Pair:
    """Enlarge by 1 to 2.5, rotate and shift with bilinear or bicubic interpolation.

    Images of several `planes` below each other are resampled plane by plane.
    """
    draw = [uniform(clean, generator).flatten() for _ in range(6)]
    factor = torch.where(draw[0] < 0.4, 1.0, 2.5 ** draw[1])
    angle = torch.where(draw[2] < 0.4, 0.0, 2 * math.pi * draw[3])
    whole, side = clean.shape, clean.shape[-1]
    matrix = torch.stack(
        [
            torch.stack([angle.cos() / factor, -angle.sin() / factor, 2 * draw[4] / side], 1),
            torch.stack([angle.sin() / factor, angle.cos() / factor, 2 * draw[5] / side], 1),
        ],
        1,
    )
    noisy, clean = (image.reshape(len(image) * planes, 1, -1, side) for image in (noisy, clean))
    matrix = matrix.repeat_interleave(planes, 0)
    grid = F.affine_grid(matrix, list(clean.shape), align_corners=False)
    chance = torch.rand((), generator=generator, device=clean.device)
    mode = "bicubic" if chance < 0.4 else "bilinear"
    both = torch.cat([noisy, clean], 1)
    found = F.grid_sample(both, grid, mode, padding_mode="reflection", align_corners=False)
    return found[:, :1].reshape(whole), found[:, 1:].reshape(whole)


def smooth_pair(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Blur by a Gaussian of 0.3 to 1.6 pixels, often along one axis more than along the other."""
    sigma = 0.3 + 1.3 * uniform(clean, generator).flatten() ** 1.5
    ratio, kind = (uniform(clean, generator).flatten() for _ in range(2))
    along_y = torch.where(kind < 0.25, sigma * ratio, sigma)
    along_x = torch.where(kind > 0.75, sigma * ratio, sigma)
    kernels = gaussian_kernels(along_y), gaussian_kernels(along_x)
    return separably_filtered(noisy, *kernels), separably_filtered(clean, *kernels)


def median_pair(noisy: Tensor, clean: Tensor, _generator: torch.Generator) -> Pair:
    """Take the median of 3 x 3 pixels."""
    return median_filtered(noisy), median_filtered(clean)


def demosaic_pair(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Keep the pixels of one colour of a Bayer mask, a half or a quarter; interpolate linearly.

    Half of the results are a colour, half the luminance of three that share the structure.
    """
    red, green, blue = (_bayer_masks(clean, corner) for corner in ("red", "green", "blue"))
    single = uniform(clean, generator)
    shares = torch.where(
        single < 0.5,
        torch.tensor([0.299, 0.587, 0.114], device=clean.device).view(3, 1, 1, 1, 1),
        F.one_hot((uniform(clean, generator) * 3).long(), 3).movedim(-1, 0).to(clean),
    )

    def mosaicked(image: Tensor) -> Tensor:
        colors = [_interpolated(image, mask) for mask in (red, green, blue)]
        return torch.stack([s * c for s, c in zip(shares, colors, strict=True)]).sum(0)

    return mosaicked(noisy), mosaicked(clean)


def code_pair(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Code the noisy image as JPEG of quality 40 to 95."""
    return code_jpeg(noisy, torch.round(40 + 55 * uniform(clean, generator))), clean


def scan_pair(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Let the detector of a point scanner lag behind: an exponential decay along x."""
    decay = (0.1 + 0.6 * uniform(clean, generator)).flatten()
    steps = torch.arange(2 * _RADIUS + 1, device=clean.device, dtype=clean.dtype)
    # The kernel looks to the left: entry 2 R - k of a correlation weighs the pixel k before.
    lag = (_RADIUS - steps).clamp(min=0)
    kernel = torch.where(steps <= _RADIUS, decay[:, None] ** lag, 0.0)
    kernel = kernel / kernel.sum(1, keepdim=True)
    still = F.one_hot(torch.full((len(clean),), _RADIUS, device=clean.device), 2 * _RADIUS + 1)
    filters = still.to(clean), kernel
    return separably_filtered(noisy, *filters), separably_filtered(clean, *filters)


def add_line_noise(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Add an offset to each row (to each column in a third of the images), as sCMOS cameras do."""
    scale = (noisy - clean).std(dim=(2, 3), keepdim=True)
    strength = scale * (0.1 + 0.9 * uniform(clean, generator))
    rows = strength * normal(clean[..., :1], generator)
    columns = strength * normal(clean[..., :1, :], generator)
    return noisy + torch.where(uniform(clean, generator) < 1 / 3, columns, rows), clean


def deconvolve_pair(noisy: Tensor, clean: Tensor, generator: torch.Generator) -> Pair:
    """Blur the image, add its noise, and deblur it by Richardson-Lucy iterations."""
    kernel = gaussian_kernels(0.8 + 1.2 * uniform(clean, generator).flatten())
    sharp = clean.clamp(min=_FLOOR)
    blurred = separably_filtered(sharp, kernel, kernel)
    count = 4 + int(12 * torch.rand((), generator=generator, device=clean.device))
    dirty = (blurred + noisy - clean).clamp(min=_FLOOR)
    return richardson_lucy(dirty, kernel, count), richardson_lucy(blurred, kernel, count)


PROCESSES: Mapping[str, Process] = MappingProxyType(
    {
        "resampled": resample_pair,
        "smoothed": smooth_pair,
        "median": median_pair,
        "bayer": demosaic_pair,
        "jpeg": code_pair,
        "scanned": scan_pair,
        "lines": add_line_noise,
        "deconvolved": deconvolve_pair,
    }
)


def gaussian_kernels(sigma: Tensor) -> Tensor:
    """Kernels (N, 2 R + 1) of unit sum for standard deviations (N,) in pixels."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, device=sigma.device, dtype=sigma.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None].clamp(min=1e-3)) ** 2)
    return kernel / kernel.sum(1, keepdim=True)


def grainy_kernels(along: Tensor) -> Tensor:
    """Kernels (N, 2 R + 1) that correlate white noise exactly so much, and keep its variance."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, device=along.device, dtype=along.dtype)
    correlations = along[:, None] ** offsets.square()
    spectrum = torch.fft.rfft(torch.fft.ifftshift(correlations, 1)).real.clamp(min=0)
    kernels = torch.fft.fftshift(torch.fft.irfft(spectrum.sqrt(), 2 * _RADIUS + 1), 1)
    # The radius truncates large grain: restore the variance.
    filters: Tensor = kernels / kernels.square().sum(1, keepdim=True).sqrt()
    return filters


def separably_filtered(images: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
    """Correlate each image (N, 1, Y, X) with kernels of its own, (N, 2 R + 1); borders mirrored."""
    count, radius = len(images), along_y.shape[1] // 2
    padded = F.pad(images, (radius,) * 4, mode="reflect").transpose(0, 1)
    columns = F.conv2d(padded, along_y.view(count, 1, -1, 1), groups=count)
    return F.conv2d(columns, along_x.view(count, 1, 1, -1), groups=count).transpose(0, 1)


def median_filtered(images: Tensor) -> Tensor:
    """Median of 3 x 3 pixels; borders are mirrored."""
    padded = F.pad(images, (1,) * 4, mode="reflect")
    height, width = images.shape[-2:]
    parts = [padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.stack(parts).median(0).values


def richardson_lucy(images: Tensor, kernel: Tensor, count: int) -> Tensor:
    """Richardson-Lucy iterations with a separable symmetric PSF, starting at the input.

    W. H. Richardson, JOSA 1972; L. B. Lucy, Astronomical Journal 1974.
    """
    estimate = images
    for _ in range(count):
        seen = separably_filtered(estimate, kernel, kernel).clamp(min=_FLOOR)
        # Next to 0, a photon would be amplified without bounds.
        ratio = (images / seen).clamp(max=_MOST_RATIO)
        estimate = estimate * separably_filtered(ratio, kernel, kernel)
    return estimate


def _bayer_masks(like: Tensor, color: str) -> Tensor:
    rows = torch.arange(like.shape[-2], device=like.device).view(-1, 1) % 2
    columns = torch.arange(like.shape[-1], device=like.device) % 2
    found = {
        "red": (rows == 0) & (columns == 0),
        "green": rows != columns,
        "blue": (rows == 1) & (columns == 1),
    }
    return found[color].to(like)[None, None]


def _interpolated(image: Tensor, mask: Tensor) -> Tensor:
    tent = torch.tensor([1.0, 2.0, 1.0], device=image.device, dtype=image.dtype)
    kernel = (tent[:, None] * tent)[None, None]

    def summed(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), kernel)

    return torch.where(mask > 0, image, summed(image * mask) / summed(mask))
