"""How much of the error of a denoised image its uncertainty covers, pixel by pixel.

::

    python -m benchmarks.uncertainty --data FOLDER

FOLDER has folders ``noisy`` and ``clean`` with images of the same names. The noise is estimated;
the uncertainty knows the noisy image alone, as *Compare → Uncertainty* does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.baselines import Image
from benchmarks.common import Device, Out, Table, describe_machine, publish, watched
from benchmarks.quality import Limit, read_pairs
from napari_rednet import denoise, estimate_noise
from napari_rednet.engine.network import resolve_device
from napari_rednet.quality import uncertainty

_DATA = "Has folders noisy and clean with images of the same names."


def main(
    *,
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help=_DATA)],
    model: Annotated[str, typer.Option(help="A model's name or file.")] = "fast",
    device: Device = "auto",
    side: Annotated[int, typer.Option(help="Of the middle that is taken of each.")] = 256,
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Count the pixels whose error the uncertainty covers."""
    pairs = read_pairs(data, limit)
    run = partial(denoise, model=model, device=device)
    middles = [(_middle(noisy, side), _middle(clean, side)) for noisy, clean in pairs]
    found = np.array([_covered(run, *pair) for pair in watched(middles, "pairs")])
    table = Table(
        f"{data.name}, {len(pairs)} pairs, {model}",
        ["pairs", "within once", "within twice", "correlation", "uncertainty over error"],
        [
            [name, *_words(of(found, axis=0))]
            for name, of in (("mean", np.mean), ("least", np.min), ("most", np.max))
        ],
    )
    notes = [
        f"Of the middle {side} x {side} pixels, how many are off by no more than once and twice "
        "the uncertainty, where 68 and 95 % would be exact; the correlation of both over the "
        "pixels; and the root of the ratio of their mean squares. The clean image is brought "
        "closest to the restored one by an affine change of intensities first.",
    ]
    publish("Uncertainty", [table], notes, describe_machine(resolve_device(device)), out)


def _middle(image: Image, side: int) -> Image:
    top, left = ((length - min(side, length)) // 2 for length in image.shape)
    return image[top : top + side, left : left + side]


def _covered(run: partial[Image], noisy: Image, clean: Image) -> list[float]:
    """Shares of the pixels, correlation, and ratio of the uncertainty to the error."""
    noise = estimate_noise(noisy)
    restore = partial(run, noise=noise)
    uncertain, restored = uncertainty(noisy, restore, noise=noise), restore(noisy)
    slope, offset = np.polyfit(clean.ravel(), restored.ravel(), 1)
    error: npt.NDArray[np.float64] = np.abs(restored - (slope * clean + offset))
    return [
        float((error < uncertain).mean()),
        float((error < 2 * uncertain).mean()),
        float(np.corrcoef(error.ravel(), uncertain.ravel())[0, 1]),
        float(np.sqrt(np.square(uncertain).mean() / np.square(error).mean())),
    ]


def _words(figures: npt.NDArray[np.float64]) -> list[str]:
    once, twice, correlation, ratio = figures
    return [f"{once:.0%}", f"{twice:.0%}", f"{correlation:.2f}", f"{ratio:.2f}"]


if __name__ == "__main__":
    typer.run(main)
