"""Images of few photons, each of them counted.

::

    python -m benchmarks.photons --data FOLDER

FOLDER has a folder ``clean`` of micrographs, which join scikit-image's pictures. Scenes are dense,
or sparse: the same, with all but their brightest tenth on an empty background.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.ndimage import gaussian_filter

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
from benchmarks.correlated import BLURS, psnr
from benchmarks.quality import Limit
from benchmarks.scenes import Image, scenes
from napari_rednet import NoiseModel, denoise
from napari_rednet.engine.network import resolve_device
from napari_rednet.noise import fit_noise

RATES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
"""Mean photons at the brightest pixels."""
_BRIGHT = 0.9
_GAIN = 30
_OFFSET = 100
_DATA = "Has a folder clean of micrographs; scikit-image's pictures alone if not given."


def main(
    *,
    data: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help=_DATA)] = None,
    model: Models = DEFAULT_MODELS,
    seed: Annotated[int, typer.Option(help="Of the photons.")] = 0,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Denoise images of counted photons, with their noise estimated and told."""
    dense = dict(list(scenes(None if data is None else data / "clean").items())[:limit])
    sparse = {name: _sparse(scene) for name, scene in dense.items()}
    kinds = [(kind, name) for name in model for kind in ("Dense", "Sparse")]
    tables = [
        _table(kind, dense if kind == "Dense" else sparse, name, seed, device)
        for kind, name in watched(kinds, "scenes")
    ]
    notes = [
        f"{len(dense)} scenes: {', '.join(dense)}; a photon counts {_GAIN} gray levels above "
        f"{_OFFSET}, and nothing else is noise; 16-bit integers in, float32 out; seed {seed}.",
        "PSNR in dB over the range of the clean scene; means over the scenes. The blur is the best "
        "of Gaussians of 1, 2 and 3 pixels, chosen with the clean image at hand.",
        "Estimated over true standard deviation of the noise at the brightest pixels and at a "
        "tenth of them: the lowest and the highest of all scenes.",
    ]
    publish("Counted photons", tables, notes, describe_machine(resolve_device(device)), out)


def _sparse(scene: Image) -> Image:
    bright = np.quantile(scene, _BRIGHT)
    return ((scene - bright) / (1 - bright)).clip(0).astype(np.float32)


def _table(title: str, chosen: dict[str, Image], model: str, seed: int, device: str) -> Table:
    columns = ["photons", "noisy", "best blur", model, f"{model}, told", "least gain", "noise"]
    table = Table(title, columns)
    for rate in RATES:
        found = [_measured(scene, rate, model, seed, device) for scene in chosen.values()]
        figures, ratios = zip(*found, strict=True)
        noisy, blur, estimated, told = np.mean(figures, axis=0)
        gains = [row[2] - row[1] for row in figures]
        table.rows.append(
            [
                f"{rate:g}",
                *[f"{value:.2f}" for value in (noisy, blur, estimated, told)],
                f"{min(gains):+.2f}",
                f"{np.min(ratios):.2f} to {np.max(ratios):.2f}",
            ]
        )
    return table


def _measured(
    scene: Image, rate: float, model: str, seed: int, device: str
) -> tuple[list[float], list[float]]:
    """PSNR of noisy, blurred, denoised and told; ratios of estimated to true noise."""
    photons = np.random.default_rng(seed).poisson(rate * scene)
    frame = (_OFFSET + _GAIN * photons).astype(np.uint16)
    clean = (_OFFSET + _GAIN * rate * scene).astype(np.float32)
    truth, estimate = NoiseModel(_GAIN, _OFFSET), fit_noise([frame])
    results = [frame.astype(np.float32)]
    blurs = [gaussian_filter(results[0], sigma) for sigma in BLURS]
    results.append(max(blurs, key=lambda one: psnr(clean, one)))
    run = partial(denoise, frame, model=model, device=device, dtype="float32")
    results += [run(noise=noise) for noise in (estimate, truth)]
    levels = [_OFFSET + _GAIN * rate * share for share in (1.0, 0.1)]
    ratios = [estimate.std(level) / truth.std(level) for level in levels]
    return [psnr(clean, one) for one in results], ratios


if __name__ == "__main__":
    typer.run(main)
