"""How well known blurs are undone, against scikit-image's Richardson-Lucy and Wiener.

::

    python -m benchmarks.deblurring --data FOLDER --kernels KERNELS.npz

The two classical methods get the best number of iterations and the best balance for each image,
found with the clean image at hand; the models get the noise level and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import richardson_lucy, wiener

from benchmarks.baselines import Image
from benchmarks.common import (
    DEFAULT_MODELS,
    Device,
    Models,
    Out,
    Table,
    describe_machine,
    publish,
    watched,
)
from benchmarks.quality import Data, Ensemble, Limit, clean_planes, with_noise
from napari_rednet import deblur
from napari_rednet.engine.degradations import blur
from napari_rednet.engine.network import resolve_device
from napari_rednet.psf import as_psf

_STDS = [2.55, 7.65]
_BORDER = 12
_ITERATIONS = (3, 5, 10, 20, 40, 80)
_BALANCES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)

Candidates = Callable[[Image, Any, float], Sequence[Image]]
"""Deblurred images of which the best one counts, from a blurred one, its PSF and its noise."""


def main(
    *,
    data: Data,
    kernels: Annotated[Path, typer.Option(exists=True, help="npz file of 2-D PSFs.")],
    noise: Annotated[list[float], typer.Option(help="Noise levels; repeatable.")] = _STDS,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    baselines: Annotated[bool, typer.Option(help="Also the classical methods.")] = True,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Measure how well known blurs are undone."""
    clean = clean_planes(data, limit)
    with np.load(kernels) as file:
        psfs = [as_psf(file[name], clean[0].shape).values for name in file.files]
    methods: dict[str, Candidates] = {"blurred": lambda image, *_: [image]}
    if baselines:
        methods["Richardson-Lucy, best iteration"] = _richardson_lucy
        methods["Wiener, best balance"] = _wiener
    for name in model:
        methods[f"deblur, {name}"] = partial(_deblur, name, device, False)
        if ensemble:
            methods[f"deblur, {name} ×8"] = partial(_deblur, name, device, True)
    table = Table(
        f"PSNR in dB, {data.name}, {len(clean)} images, {len(psfs)} PSFs of {kernels.name}",
        ["method", *[f"noise {std:g}" for std in noise]],
    )
    for name, run in methods.items():
        means = [np.mean(_scores(run, name, clean, psfs, std)) for std in noise]
        table.rows.append([name, *[f"{mean:.2f}" for mean in means]])
    publish("Deblurring", [table], _NOTES, describe_machine(resolve_device(device)), out)


_NOTES = [
    f"Against the clean gray image in [0, 255], without a border of {_BORDER} pixels, clipped.",
    "Images are blurred with replicated borders; Gaussian noise of seed 0 is added, neither "
    "clipped nor quantised.",
    "Richardson-Lucy and Wiener are scikit-image's, with the best of "
    f"{len(_ITERATIONS)} numbers of iterations and {len(_BALANCES)} balances for each image. They "
    "know nothing of borders (Wiener takes the image as periodic), and no tapering helps them: "
    "part of the distance is that.",
]


def _scores(
    run: Candidates, name: str, clean: Sequence[Image], psfs: Sequence[Any], std: float
) -> list[float]:
    cases = [(number, image, psf) for number, image in enumerate(clean) for psf in psfs]
    found = []
    for number, image, psf in watched(cases, f"{name}, noise {std:g}"):
        blurred = blur(torch.from_numpy(image)[None, None], torch.from_numpy(psf).float())
        noisy = with_noise(blurred[0, 0].numpy(), std, 0, number)
        found.append(max(_psnr(image, result) for result in run(noisy, psf, std)))
    return found


def _psnr(clean: Image, restored: Image) -> float:
    inner = (slice(_BORDER, -_BORDER),) * 2
    seen = restored.clip(0, 255)[inner]
    return float(peak_signal_noise_ratio(clean[inner], seen, data_range=255))


def _richardson_lucy(noisy: Image, psf: Any, _: float) -> Sequence[Image]:
    image = noisy.clip(0) / 255
    return [255 * richardson_lucy(image, psf, n, clip=False) for n in _ITERATIONS]


def _wiener(noisy: Image, psf: Any, _: float) -> Sequence[Image]:
    return [255 * wiener(noisy / 255, psf, balance, clip=False) for balance in _BALANCES]


def _deblur(
    model: str, device: str, ensemble: bool, noisy: Image, psf: Any, std: float
) -> Sequence[Image]:
    return [deblur(noisy, psf, noise=std, model=model, device=device, ensemble=ensemble)]


if __name__ == "__main__":
    typer.run(main)
