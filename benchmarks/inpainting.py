"""How well missing pixels are filled.

::

    python -m benchmarks.inpainting --data FOLDER --ensemble --baselines

`--baselines` adds scikit-image's biharmonic inpainting, which takes minutes an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import inpaint_biharmonic

from benchmarks.baselines import Image
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
from benchmarks.quality import Data, Ensemble, Limit, clean_planes
from napari_rednet import inpaint
from napari_rednet.engine.degradations import MASKS, draw_mask
from napari_rednet.engine.inpainting import fill_holes
from napari_rednet.engine.network import resolve_device

Mask = npt.NDArray[np.bool_]
Method = Callable[[Image, Mask], Image]

_KINDS = ["random", "text", "scratches"]


def main(
    *,
    data: Data,
    mask: Annotated[
        list[str], typer.Option(help=f"Kinds of masks: {', '.join(MASKS)}; repeatable.")
    ] = _KINDS,
    amount: Annotated[float, typer.Option(help="How much is missing, 0 to 1 within a kind.")] = 0.5,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also biharmonic.")] = False,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Measure how well missing pixels are filled."""
    clean = clean_planes(data, limit)
    methods: dict[str, Method] = {
        "smooth guess": _smooth,
        **({"biharmonic (scikit-image)": _biharmonic} if baselines else {}),
        **model_runs(inpaint, "inpaint", model, ensemble, device),
    }
    shares = [
        np.mean([_mask(kind, image, i, amount).mean() for i, image in enumerate(clean)])
        for kind in mask
    ]
    columns = ["method", *[f"{k}, {share:.0%}" for k, share in zip(mask, shares, strict=True)]]
    table = Table(f"PSNR in dB, {data.name}, {len(clean)} images", columns)
    for name, run in methods.items():
        means = [np.mean(_scores(run, name, clean, kind, amount)) for kind in mask]
        table.rows.append([name, *[f"{mean:.2f}" for mean in means]])
    publish("Inpainting", [table], _NOTES, describe_machine(resolve_device(device)), out)


_NOTES = [
    "Gray images in [0, 255]; PSNR over all pixels, known ones included, results clipped.",
    "Masks of `napari_rednet.engine.degradations.draw_mask`, the number of the image as seed; the "
    "columns say how much is missing.",
]


def _mask(kind: str, image: Image, number: int, amount: float) -> Mask:
    generator = torch.Generator().manual_seed(number)
    like = torch.from_numpy(image)[None, None]
    return np.asarray(draw_mask(kind, like, generator, amount)[0, 0])


def _scores(
    run: Method, name: str, clean: Sequence[Image], kind: str, amount: float
) -> list[float]:
    found = []
    for number, image in enumerate(watched(clean, f"{name}, {kind}")):
        missing = _mask(kind, image, number, amount)
        restored = run(np.where(missing, np.float32(0), image), missing).clip(0, 255)
        found.append(peak_signal_noise_ratio(image, restored, data_range=255))
    return found


def _smooth(image: Image, missing: Mask) -> Image:
    known = torch.from_numpy(~missing)[None, None].float()
    return np.asarray(fill_holes(torch.from_numpy(image)[None, None], known)[0, 0])


def _biharmonic(image: Image, missing: Mask) -> Image:
    return np.asarray(255 * inpaint_biharmonic(image / 255, missing), np.float32)


if __name__ == "__main__":
    typer.run(main)
