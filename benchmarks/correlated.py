"""Noise as it is in files: correlated by what images went through after the camera.

::

    python -m benchmarks.correlated --data FOLDER

Clean scenes get Poisson-Gaussian noise and are then enlarged, turned, filtered and so on (see
`benchmarks.scenes`). FOLDER has a folder ``clean`` of micrographs, which join scikit-image's
pictures. The noise is estimated, as users have it, and told as it truly is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.ndimage import gaussian_filter

from benchmarks.baselines import Denoiser, installed_baselines
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
from benchmarks.quality import Limit
from benchmarks.scenes import CAMERA, KINDS, PHOTONS, Image, Kind, TrueNoise, scenes, true_noise
from napari_rednet import denoise
from napari_rednet.engine.network import resolve_device
from napari_rednet.noise import fit_noise

BLURS = (1.0, 2.0, 3.0)
_EDGE = 6
_DATA = "Has a folder clean of micrographs; scikit-image's pictures alone if not given."


@dataclass
class Row:
    """Figures of one kind of images, a value for each scene."""

    psnr: dict[str, list[float]] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    correlations: list[tuple[float, float, float, float]] = field(default_factory=list)


def main(
    *,
    data: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help=_DATA)] = None,
    model: Models = DEFAULT_MODELS,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also classical ones.")] = False,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Denoise images whose noise is correlated."""
    found = scenes(None if data is None else data / "clean")
    chosen = dict(list(found.items())[:limit])
    rows = {
        name: _measured(kind, chosen, model, seed, device, baselines=baselines)
        for name, kind in watched(list(KINDS.items()), "kinds of noise")
    }
    notes = [
        f"{len(chosen)} scenes: {', '.join(chosen)}; {PHOTONS:g} photons at the brightest pixels, "
        f"gain {CAMERA.gain:g}, read noise {CAMERA.read_noise:g} gray levels; seed {seed}.",
        "PSNR in dB against the clean scene after the same process, over its range, without a rim "
        f"of {_EDGE} pixels; means over the scenes. The blur is the best of Gaussians of 1, 2 and "
        "3 pixels, chosen with the clean image at hand.",
        "Estimated over true standard deviation of the noise, from the 10th to the 95th "
        "percentile of the signal; correlations of neighbours along y and x.",
    ]
    tables = [_quality(rows), _noise(rows)]
    publish("Correlated noise", tables, notes, describe_machine(resolve_device(device)), out)


def _measured(
    kind: Kind,
    chosen: dict[str, Image],
    models: list[str],
    seed: int,
    device: str,
    *,
    baselines: bool,
) -> Row:
    row = Row()
    for scene in chosen.values():
        clean, noisy = kind.clean(scene), kind.noisy(scene, np.random.default_rng(seed))
        truth, estimate = true_noise(kind, scene), fit_noise([noisy])
        row.ratios += list(estimate.std(truth.signal) / truth.std)
        row.correlations.append((*estimate.correlation, *truth.model.correlation))
        _add(row, "noisy", clean, noisy)
        blurs = [gaussian_filter(noisy, sigma) for sigma in BLURS]
        _add(row, "best blur", clean, max(blurs, key=lambda one: psnr(clean, one)))
        for name, run in _methods(models, truth, device, baselines=baselines).items():
            _add(row, name, clean, run(noisy))
    return row


def _methods(
    models: list[str], truth: TrueNoise, device: str, *, baselines: bool
) -> dict[str, Callable[[Image], Image]]:
    """Methods by name; classical ones are told the mean standard deviation."""
    found: dict[str, Callable[[Image], Image]] = {}
    if baselines:
        sigma = float(np.sqrt(np.mean(truth.std**2)))
        found = {name: partial(_told, run, sigma) for name, run in installed_baselines().items()}
    for name in models:
        found[name] = partial(denoise, model=name, device=device)
        found[f"{name}, told"] = partial(denoise, model=name, device=device, noise=truth.model)
    return found


def _told(run: Denoiser, sigma: float, noisy: Image) -> Image:
    return run(noisy, sigma)


def _add(row: Row, method: str, clean: Image, restored: Image) -> None:
    row.psnr.setdefault(method, []).append(psnr(clean, restored))


def psnr(clean: Image, restored: Image) -> float:
    """In dB over the range of the clean image, without a rim."""
    inner = (slice(_EDGE, -_EDGE),) * 2
    error = float(np.mean((clean[inner] - restored[inner]) ** 2))
    return float(20 * np.log10(np.ptp(clean)) - 10 * np.log10(error))


def _quality(rows: dict[str, Row]) -> Table:
    methods = list(next(iter(rows.values())).psnr)
    last = methods[-2:]
    table = Table("PSNR in dB", ["noise", *methods, "gain over blur", "least gain"])
    for name, row in rows.items():
        gain = np.subtract(row.psnr[last[0]], row.psnr["best blur"])
        means = [f"{np.mean(row.psnr[method]):.2f}" for method in methods]
        table.rows.append([name, *means, f"{gain.mean():+.2f}", f"{gain.min():+.2f}"])
    return table


def _noise(rows: dict[str, Row]) -> Table:
    columns = ["noise", "lowest", "5 %", "median", "95 %", "highest", "correlation y, x", "true"]
    table = Table("Noise: estimated over true standard deviation", columns)
    for name, row in rows.items():
        ratios = np.quantile(row.ratios, (0, 0.05, 0.5, 0.95, 1))
        y, x, true_y, true_x = np.mean(row.correlations, axis=0)
        told = f"{y:.2f}, {x:.2f}", f"{true_y:.2f}, {true_x:.2f}"
        table.rows.append([name, *[f"{ratio:.2f}" for ratio in ratios], *told])
    return table


if __name__ == "__main__":
    typer.run(main)
