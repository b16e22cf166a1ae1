"""Planes of a stack that restore each other, against each by itself and against classical methods.

::

    python -m benchmarks.stacks --data FOLDER --stack FILE --stack FILE

FOLDER has a folder ``clean`` of micrographs, which join scikit-image's pictures. Of five planes
made of each scene, the middle one counts; each has camera noise of its own. Each FILE is a real
z-stack of hardly any noise, which gets the same noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from scipy import ndimage
from tifffile import TiffFile

from benchmarks.common import Device, Out, Table, describe_machine, publish, watched
from benchmarks.correlated import psnr
from benchmarks.quality import Limit
from benchmarks.scenes import CAMERA, PHOTONS, Image, scenes
from napari_rednet import NoiseModel, denoise
from napari_rednet.engine.network import resolve_device

PLANES = 5
_MIDDLE = PLANES // 2
_FLASH = 50.0
_OF_ALL = {"together", "3-D NLM", "ndsafir"}
"""Methods that restore all planes at once."""
_DEFOCUS = 1.2
_MOST_PLANES = 9
_STACKS = "A TIFF of a z-stack of little noise; repeatable."
_DATA = "Has a folder clean of micrographs; scikit-image's pictures alone if not given."
Stack = npt.NDArray[np.float32]
Kind = Callable[[Image, Image], Stack]


def moving(speed: float) -> Kind:
    """Planes that move by so many pixels from each to the next, along a diagonal."""

    def make(scene: Image, _: Image) -> Stack:
        shifts = [speed * (i - _MIDDLE) * np.array([0.6, 0.8]) for i in range(PLANES)]
        planes = [ndimage.shift(scene, by, order=3, mode="mirror") for by in shifts]
        planes[_MIDDLE] = scene
        return np.stack(planes).clip(0, None)

    return make


def depths(scene: Image, other: Image) -> Stack:
    """Two objects at two depths, each blurred by its distance from the plane."""
    planes = []
    for i in range(PLANES):
        parts = [
            share * ndimage.gaussian_filter(image, _DEFOCUS * abs(i - depth))
            for image, depth, share in ((scene, _MIDDLE, 0.65), (other, _MIDDLE + 2, 0.35))
        ]
        planes.append(sum(parts))
    return np.stack(planes).astype(np.float32)


def unrelated(scene: Image, other: Image) -> Stack:
    """Planes that show something else."""
    others = [other, other[::-1], scene, other[:, ::-1], other.T]
    return np.stack(others)


def changed(factor: float) -> Kind:
    """Repeats, of which the plane before is so many times as bright."""

    def make(scene: Image, _: Image) -> Stack:
        stack = np.stack([scene] * PLANES)
        stack[_MIDDLE - 1] *= factor
        return stack

    return make


def appearing(scene: Image, other: Image) -> Stack:
    """Repeats, but for an object that is in the middle plane alone."""
    stack = np.stack([scene] * PLANES)
    part = (slice(96, 160),) * 2
    stack[_MIDDLE][part] = other[part]
    return stack


def vanishing(scene: Image, other: Image) -> Stack:
    """Repeats, but for an object that is in all planes but the middle one."""
    stack = appearing(scene, other)
    return np.stack([stack[_MIDDLE]] * _MIDDLE + [scene] + [stack[_MIDDLE]] * _MIDDLE)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "static": moving(0),
        "0.5 px a plane": moving(0.5),
        "1 px a plane": moving(1),
        "2 px a plane": moving(2),
        "4 px a plane": moving(4),
        "z, two depths": depths,
        "unrelated": unrelated,
        "flash × 50 before": changed(_FLASH),
        "dark plane before": changed(0.0),
        "object in it alone": appearing,
        "object in all others": vanishing,
    }
)
"""What planes have to do with each other."""


def main(
    *,
    data: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help=_DATA)] = None,
    stack: Annotated[list[Path], typer.Option(exists=True, dir_okay=False, help=_STACKS)] = [],  # noqa: B006
    model: Annotated[str, typer.Option(help="Name or file of the model.")] = "fast",
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Denoise the middle plane of five by itself, with its neighbours, and classically."""
    chosen = dict(list(scenes(None if data is None else data / "clean").items())[:limit])
    others = dict(zip(chosen, [*chosen.values()][1:] + [*chosen.values()][:1], strict=True))
    methods = _methods(model, device)
    seconds = dict.fromkeys(methods, 0.0)
    columns = ["planes", "noisy", *methods, "gain", "least gain"]
    table = Table("The middle one of five planes", columns)
    for title, make in watched(list(KINDS.items()), "kinds"):
        rows = []
        for name, scene in chosen.items():
            clean = make(scene, others[name])
            frames = _noisy(clean, np.random.default_rng(seed))
            target = CAMERA.offset + CAMERA.gain * PHOTONS * clean[_MIDDLE]
            results = [frames[_MIDDLE]]
            for method, run in methods.items():
                begun = time.perf_counter()
                results.append(run(frames))
                seconds[method] += time.perf_counter() - begun
            rows.append([psnr(target, result) for result in results])
        gains = [row[2] - row[1] for row in rows]
        means = [f"{value:.2f}" for value in np.mean(rows, axis=0)]
        table.rows.append([title, *means, f"{np.mean(gains):+.2f}", f"{min(gains):+.2f}"])
    tables = [table, _real(stack, methods, seed)] if stack else [table]
    pixels = len(KINDS) * len(chosen) * scene.size
    speeds = Table("Time for each plane that is restored, over that by itself", ["method", "time"])
    for method in _OF_ALL & seconds.keys():
        seconds[method] /= PLANES
    first = next(iter(seconds.values()))
    speeds.rows += [[method, f"{time / first:.1f}"] for method, time in seconds.items()]
    notes = [
        f"{len(chosen)} scenes: {', '.join(chosen)}; {PHOTONS:g} photons at the brightest pixels, "
        f"{CAMERA.gain:g} gray levels each above {CAMERA.offset:g}, read noise "
        f"{CAMERA.read_noise:g}; seed {seed}. The noise is told to all methods.",
        "PSNR in dB over the range of the clean plane; means over the scenes. The gain is that of "
        "the planes together over the plane by itself: in the mean, and in the worst scene.",
        f"{pixels / first / 1e6:.2f} Mpx/s for planes by themselves, of small images.",
    ]
    machine = describe_machine(resolve_device(device))
    publish("Neighbouring planes", [*tables, speeds], notes, machine, out)


def _real(files: list[Path], methods: Mapping[str, Callable[[Stack], Image]], seed: int) -> Table:
    """A table of real stacks with noise added; what they are compared with has some of its own."""
    chosen = {name: run for name, run in methods.items() if name in {"by itself", "together"}}
    columns = ["stack, channel", "planes", "noisy", *chosen, "gain", "least gain"]
    table = Table("Planes of real z-stacks, with noise added", columns)
    for path in files:
        for channel, clean in enumerate(_z_stacks(path)):
            frames = _noisy(clean, np.random.default_rng(seed))
            target = CAMERA.offset + CAMERA.gain * PHOTONS * clean
            inner = range(_MIDDLE, len(clean) - _MIDDLE)
            around = [frames[i - _MIDDLE : i + _MIDDLE + 1] for i in inner]
            scores = [
                [psnr(target[i], run(near)) for i, near in zip(inner, around, strict=True)]
                for run in ((lambda near: near[_MIDDLE]), *chosen.values())
            ]
            gains = np.subtract(scores[2], scores[1])
            means = [f"{value:.2f}" for value in np.mean(scores, axis=1)]
            ends = [f"{gains.mean():+.2f}", f"{gains.min():+.2f}"]
            table.rows.append([f"{path.stem}, {channel}", str(len(gains)), *means, *ends])
    return table


def _z_stacks(path: Path) -> list[Stack]:
    """The planes in the middle of each channel, of values from 0 to 1 and a little above."""
    with TiffFile(path) as file:
        series = file.series[0]
        values, axes = series.asarray(), series.axes
    channels = np.moveaxis(values, axes.index("C"), 0) if "C" in axes else values[None]
    found = []
    for channel in channels.astype(np.float32):
        low, high = np.percentile(channel, (1, 99.95))
        start = max(0, (len(channel) - _MOST_PLANES) // 2 - _MIDDLE)
        part = channel[start : start + _MOST_PLANES + 2 * _MIDDLE]
        found.append(((part - low) / (high - low)).clip(0, 1.2))
    return found


def _noisy(stack: Stack, lot: np.random.Generator) -> Stack:
    photons = lot.poisson(PHOTONS * stack.clip(0))
    frames = CAMERA.offset + CAMERA.gain * photons + lot.normal(0, CAMERA.read_noise, stack.shape)
    return frames.astype(np.float32)


def _methods(model: str, device: str) -> dict[str, Callable[[Stack], Image]]:
    alone = partial(denoise, noise=CAMERA, device=device)

    def together(frames: Stack) -> Image:
        found = denoise(frames, noise=CAMERA, along=0, model=model, device=device)
        return np.asarray(found[_MIDDLE])

    def averaged(frames: Stack) -> Image:
        near = frames[_MIDDLE - 1 : _MIDDLE + 2]
        noise = NoiseModel(CAMERA.gain / 3, CAMERA.offset, CAMERA.read_noise / 3**0.5)
        return np.asarray(denoise(near.mean(0), noise=noise, device=device))

    found: dict[str, Callable[[Stack], Image]] = {
        "by itself": lambda frames: np.asarray(alone(frames[_MIDDLE])),
        "together": together,
        "mean of 3, denoised": averaged,
        "median of 3": lambda frames: np.median(frames[_MIDDLE - 1 : _MIDDLE + 2], axis=0),
        "3-D NLM": _non_local_means,
    }
    if find_spec("ndsafir"):
        found["ndsafir"] = _ndsafir
    return found


def _stabilized(frames: Stack) -> Stack:
    """Frames with noise of a standard deviation of 1 everywhere (Anscombe's transform)."""
    light = (frames - CAMERA.offset) / CAMERA.gain
    read = CAMERA.read_noise / CAMERA.gain
    return np.asarray(2 * np.sqrt((light + 0.375 + read**2).clip(0)), np.float32)


def _back(values: npt.NDArray[np.floating]) -> Image:
    read = CAMERA.read_noise / CAMERA.gain
    light = (values / 2) ** 2 - 0.125 - read**2
    return np.asarray(CAMERA.offset + CAMERA.gain * light, np.float32)


def _non_local_means(frames: Stack) -> Image:
    """scikit-image's, over the planes, with the parameters of its examples."""
    from skimage.restoration import denoise_nl_means

    found = denoise_nl_means(
        _stabilized(frames), patch_size=3, patch_distance=2, h=0.8, sigma=1.0, fast_mode=True
    )
    return _back(found[_MIDDLE])


def _ndsafir(frames: Stack) -> Image:
    """Patches that are alike, in all planes.

    J. Boulanger et al., "Patch-based nonlocal functional for denoising fluorescence microscopy
    image sequences", IEEE Transactions on Medical Imaging 2010.
    """
    from ndsafir import denoise_gaussian

    threads = torch.get_num_threads()
    found = denoise_gaussian(
        _stabilized(frames), axes="ZYX", noise_std=1.0, max_iter=5, nthreads=threads
    )
    return _back(np.asarray(found)[_MIDDLE])


if __name__ == "__main__":
    typer.run(main)
