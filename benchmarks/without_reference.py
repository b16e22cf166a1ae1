"""What is said of a denoised image without a clean one, against what the clean one says.

::

    python -m benchmarks.without_reference --data FOLDER

FOLDER has folders ``noisy`` and ``clean`` with images of the same names. The noise is estimated,
the image denoised at several strengths; its residual is judged and its error estimated as the
Compare window does, knowing the noisy image alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.baselines import Image
from benchmarks.common import Device, Out, Table, describe_machine, publish, watched
from benchmarks.quality import Limit, invariant_psnr, read_pairs
from napari_rednet import denoise, estimate_noise
from napari_rednet.engine.network import resolve_device
from napari_rednet.quality import estimate_error, residual_report

_STRENGTHS = [0.5, 1.0, 2.0, 3.0]
_VERDICTS = ("noise left", "noise", "structure")
_DATA = "Has folders noisy and clean with images of the same names."


@dataclass(frozen=True)
class Judged:
    """One image at one strength: PSNR and gain in dB, what was estimated of it, the verdict."""

    psnr: float
    gain: float
    estimated_gain: float
    verdict: str


def main(
    *,
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help=_DATA)],
    model: Annotated[str, typer.Option(help="A model's name or file.")] = "fast",
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Compare estimates without a reference to measurements with one."""
    images = read_pairs(data, limit)
    table = Table(
        f"{data.name}, {len(images)} pairs, {model}",
        ["strength", "mean dB", "mean gain", "estimated", "median error of it", *_VERDICTS],
    )
    for strength in _STRENGTHS:
        run = partial(denoise, model=model, device=device, strength=strength)
        found = [_judge(run, *image) for image in watched(images, f"strength {strength:g}")]
        table.rows.append([f"{strength:g}", *_figures(found)])
    notes = [
        "Scale-invariant PSNR in dB, and its gain over the noisy image. Estimated: from the noisy "
        "image alone, by Stein's formula; the median of how far it is from the gain, image by "
        "image. The last columns count the verdicts on the residual.",
    ]
    publish("Without a reference", [table], notes, describe_machine(resolve_device(device)), out)


def _judge(run: partial[Image], noisy: Image, clean: Image) -> Judged:
    noise = estimate_noise(noisy)
    denoised = partial(run, noise=noise)
    restored = denoised(noisy)
    psnr = invariant_psnr(clean, restored)
    estimate = estimate_error(noisy, restored, denoised, noise=noise)
    verdict = residual_report(noisy, restored, noise=noise).verdict
    return Judged(psnr, psnr - invariant_psnr(clean, noisy), estimate.gain, verdict)


def _figures(found: list[Judged]) -> list[str]:
    errors = [abs(one.estimated_gain - one.gain) for one in found]
    counts = Counter(one.verdict for one in found)
    return [
        f"{np.mean([one.psnr for one in found]):.2f}",
        f"{np.mean([one.gain for one in found]):+.2f}",
        f"{np.mean([one.estimated_gain for one in found]):+.2f}",
        f"{np.median(errors):.2f}",
        *[str(counts[verdict]) for verdict in _VERDICTS],
    ]


if __name__ == "__main__":
    typer.run(main)
