"""How good restored images are: Gaussian noise on clean images, and real pairs.

::

    python -m benchmarks.quality gaussian --data FOLDER --model fast --ensemble --baselines
    python -m benchmarks.quality pairs --data FOLDER --model fast

`gaussian` takes any folder of clean images, `pairs` a folder that has folders ``noisy`` and
``clean`` with images of the same names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from scipy.ndimage import gaussian_filter
from skimage.util import img_as_float32

from benchmarks.baselines import Denoiser, Image, installed_baselines
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
from napari_rednet import denoise
from napari_rednet.engine.degradations import add_noise
from napari_rednet.engine.network import resolve_device
from napari_rednet.io import read_planes
from napari_rednet.quality import score

app = typer.Typer(help="Quality of restored images.", add_completion=False)

Method = Callable[[Image, float | None], Image]
"""Restores an image, given the standard deviation of its noise; None if it is not known."""

_SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"}
_SIGMAS = [10.0, 15.0, 25.0, 30.0, 50.0, 70.0]
_SEEDS = [0]
_NOISY = "noisy"
_BLUR = "Gaussian blur, σ = 2 px"

# PSNR in dB at σ; for scale only, neither measured here nor with this noise.
_SET12_REFERENCES: dict[str, dict[float, str]] = {
    "published: BM3D": {25: "29.97"},
    "public weights: DnCNN, one network per σ": {15: "32.85", 25: "30.43", 50: "27.17"},
    "public weights: FDnCNN": {15: "32.86", 25: "30.48", 50: "27.27"},
}

Data = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images.")]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Also each model's ×8 ensemble.")]
Limit = Annotated[int | None, typer.Option(help="Use only so many images.")]


@dataclass
class Scores:
    """What one method reached at one noise level, image by image."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """What is the same for all methods."""

    clean: Sequence[Image]
    sigmas: Sequence[float]
    seeds: Sequence[int]
    clip: bool


@app.command()
def gaussian(
    *,
    data: Data,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also classical ones.")] = False,
    sigma: Annotated[list[float], typer.Option(help="Noise levels; repeatable.")] = _SIGMAS,
    seed: Annotated[list[int], typer.Option(help="Of the noise; repeatable.")] = _SEEDS,
    clip: Annotated[bool, typer.Option(help="Clip restored images to the range.")] = True,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Gaussian noise of known standard deviation on clean images."""
    clean = clean_planes(data, limit)
    methods: dict[str, Denoiser] = {
        _NOISY: lambda image, _: image,
        **_models(model, ensemble, device),
        **(installed_baselines() if baselines else {}),
    }
    protocol = Protocol(clean, sigma, seed, clip)
    scores = {
        name: [_score(run, name, level, protocol) for level in sigma]
        for name, run in methods.items()
    }
    tables = _gaussian_tables(data.name, protocol, scores)
    machine = describe_machine(resolve_device(device))
    publish("Gaussian denoising", tables, _gaussian_notes(protocol), machine, out)


def _gaussian_notes(protocol: Protocol) -> list[str]:
    restored = "are clipped to [0, 255]" if protocol.clip else "are not clipped"
    return [
        "Means over all images, against the clean gray image in [0, 255]: PSNR over all pixels, "
        "SSIM with an 11 × 11 Gaussian window of sigma 1.5.",
        "The noise is neither clipped nor quantised, and all methods are told its standard "
        f"deviation σ; seeds {', '.join(map(str, protocol.seeds))}.",
        f"Restored images {restored} and not rounded; the noisy image is scored as it is.",
        "Rows that say published or public weights are other people's figures, with other noise "
        "of the same σ, for scale.",
    ]


def _score(run: Denoiser, name: str, sigma: float, protocol: Protocol) -> Scores:
    scores = Scores()
    cases = [(seed, *case) for seed in protocol.seeds for case in enumerate(protocol.clean)]
    for seed, number, image in watched(cases, f"{name}, σ {sigma:g}"):
        noisy = with_noise(image, sigma, seed, number)
        start = time.perf_counter()
        restored = run(noisy, sigma)
        scores.seconds.append(time.perf_counter() - start)
        if protocol.clip and name != _NOISY:
            restored = restored.clip(0, 255)
        found = score(restored, image, data_range=255)
        scores.psnr.append(found.psnr)
        scores.ssim.append(found.ssim)
    return scores


def with_noise(clean: Image, sigma: float, seed: int, number: int) -> Image:
    """Noise that depends on the seed and the image's number, but on nothing done before."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + number)
    noisy: Image = add_noise(torch.from_numpy(clean)[None, None], sigma, generator)[0, 0].numpy()
    return noisy


def _gaussian_tables(name: str, protocol: Protocol, scores: dict[str, list[Scores]]) -> list[Table]:
    levels = [f"σ {sigma:g}" for sigma in protocol.sigmas]
    images = f"{name}, {len(protocol.clean)} images"
    psnr = Table(f"PSNR in dB, {images}", ["method", *levels, "s / image"])
    ssim = Table(f"SSIM, {images}", ["method", *levels])
    for method, found in scores.items():
        seconds = np.mean([s for score in found for s in score.seconds])
        time_taken = "–" if method == _NOISY else f"{seconds:.2f}"
        psnr.rows.append([method, *[f"{np.mean(s.psnr):.2f}" for s in found], time_taken])
        ssim.rows.append([method, *[f"{np.mean(s.ssim):.4f}" for s in found]])
    if name.lower() == "set12" and len(protocol.clean) == 12:
        for method, figures in _SET12_REFERENCES.items():
            psnr.rows.append([method, *[figures.get(s, "–") for s in protocol.sigmas], "–"])
    return [psnr, ssim]


@app.command()
def pairs(
    *,
    data: Data,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Real noisy images of unknown noise, against clean images of the same names."""
    methods: dict[str, Method] = {
        _NOISY: lambda noisy, _: noisy,
        _BLUR: lambda noisy, _: np.asarray(gaussian_filter(noisy, 2.0)),
        **_models(model, ensemble, device),
    }
    images = read_pairs(data, limit)
    scores = {
        name: [invariant_psnr(clean, run(noisy, None)) for noisy, clean in watched(images, name)]
        for name, run in methods.items()
    }
    machine = describe_machine(resolve_device(device))
    publish("Real noise", [_pairs_table(data.name, scores)], _PAIRS_NOTES, machine, out)


_PAIRS_NOTES = [
    "Scale-invariant PSNR in dB: least-squares affine fit of the restored image to the clean one, "
    "then PSNR over the range of the clean image.",
    "The models estimate the noise from the noisy image (`noise=None`); images are given as "
    "float32, so that nothing is rounded.",
]


def invariant_psnr(clean: Image, restored: Image) -> float:
    """PSNR after the affine change of intensities that brings `restored` closest to `clean`."""
    return score(restored, clean).invariant_psnr


def _pairs_table(name: str, scores: dict[str, list[float]]) -> Table:
    blurred = np.array(scores[_BLUR])
    columns = ["method", "mean dB", "mean gain over blur", "least gain", "images better than blur"]
    table = Table(f"{name}, {len(blurred)} pairs", columns)
    for method, values in scores.items():
        gain = np.array(values) - blurred
        row = [method, f"{np.mean(values):.2f}", f"{gain.mean():+.2f}", f"{gain.min():+.2f}"]
        table.rows.append([*row, f"{(gain > 0).sum()} of {len(gain)}"])
    return table


def _models(names: Sequence[str], ensemble: bool, device: str) -> dict[str, Method]:
    """A method for every model, plain and, if asked, as an ensemble."""
    runs = model_runs(denoise, "denoise", names, ensemble, device)
    return {label: _as_method(run) for label, run in runs.items()}


def _as_method(run: Callable[..., Image]) -> Method:
    return lambda noisy, sigma: run(noisy, noise=sigma)


def clean_planes(folder: Path, limit: int | None) -> list[Image]:
    """Gray planes in [0, 255] of the images of a folder."""
    return [_gray(plane) for path in image_paths(folder)[:limit] for plane in read_planes(path)]


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder, in order."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise typer.BadParameter(f"there are no images in {folder}", param_hint="--data")
    return found


def _gray(plane: npt.NDArray[np.generic]) -> Image:
    """A clean image of any dtype in [0, 255]."""
    return np.asarray(img_as_float32(plane) * 255, np.float32)


def read_pairs(folder: Path, limit: int | None) -> list[tuple[Image, Image]]:
    """Noisy and clean images of the same names, in their own units."""
    paths = image_paths(folder / "clean")[:limit]
    sides = (folder / "noisy", folder / "clean")
    read = [
        [read_planes(side / path.name)[0].astype(np.float32) for side in sides] for path in paths
    ]
    return [(noisy, clean) for noisy, clean in read]


if __name__ == "__main__":
    app()
