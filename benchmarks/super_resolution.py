"""How well images made smaller are enlarged again.

::

    python -m benchmarks.super_resolution --data FOLDER --ensemble

The folder has colour or gray images. The protocol is that of the super-resolution papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
import typer
from skimage.color import gray2rgb, rgb2ycbcr
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio

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
from benchmarks.quality import Data, Ensemble, Limit, image_paths
from napari_rednet import super_resolve
from napari_rednet.engine.degradations import resample
from napari_rednet.engine.network import resolve_device

_SCALES = [2, 3, 4]

Method = Callable[[Image, int], Image]

# Of Set5, in dB, for scale only: with the authors' own weights.
_SET5_REFERENCES: dict[str, dict[int, str]] = {
    "published: SRCNN": {2: "36.66", 3: "32.75", 4: "30.49"},
    "published: RED10 ×8": {2: "37.43", 3: "33.43", 4: "31.12"},
    "published: RED30 ×8": {2: "37.66", 3: "33.82", 4: "31.51"},
    "public weights: DnCNN-3": {2: "37.58", 3: "33.76", 4: "31.40"},
}


def main(
    *,
    data: Data,
    scale: Annotated[list[int], typer.Option(help="Factors; repeatable.")] = _SCALES,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Measure how well images made smaller are enlarged again."""
    clean = [_luminance(imread(path)) for path in image_paths(data)[:limit]]
    methods: dict[str, Method] = {
        "bicubic": bicubic,
        **model_runs(super_resolve, "super_resolve", model, ensemble, device),
    }
    table = Table(
        f"PSNR in dB, {data.name}, {len(clean)} images", ["method", *[f"× {s}" for s in scale]]
    )
    for name, run in methods.items():
        means = [np.mean(_scores(run, name, clean, factor)) for factor in scale]
        table.rows.append([name, *[f"{mean:.2f}" for mean in means]])
    if data.name.lower() == "set5" and len(clean) == 5:
        for name, figures in _SET5_REFERENCES.items():
            table.rows.append([name, *[figures.get(s, "–") for s in scale]])
    machine = describe_machine(resolve_device(device))
    publish("Super-resolution", [table], _NOTES, machine, out)


_NOTES = [
    "On luminance (ITU-R BT.601, 16 to 235), cropped to multiples of the factor, made smaller "
    "by antialiased bicubic resampling (a = -0.5), not rounded.",
    "PSNR over the range of 255, results clipped, without a border as wide as the factor.",
    "One model does all factors. Rows that say published or public weights are other people's "
    "figures, for scale.",
]


def _luminance(image: np.ndarray) -> Image:
    rgb = gray2rgb(image) if image.ndim == 2 else image[..., :3]
    return np.asarray(rgb2ycbcr(rgb)[..., 0], np.float32)


def _scores(run: Method, name: str, clean: Sequence[Image], scale: int) -> list[float]:
    found = []
    for image in watched(clean, f"{name}, × {scale}"):
        rows, columns = (side // scale * scale for side in image.shape)
        whole = image[:rows, :columns]
        small = _resampled(whole, (rows // scale, columns // scale))
        restored = run(small, scale).clip(0, 255)
        inner = (slice(scale, -scale),) * 2
        found.append(peak_signal_noise_ratio(whole[inner], restored[inner], data_range=255))
    return found


def bicubic(image: Image, scale: int) -> Image:
    """Bicubic enlargement."""
    return _resampled(image, (image.shape[0] * scale, image.shape[1] * scale))


def _resampled(image: Image, shape: tuple[int, int]) -> Image:
    x = torch.from_numpy(image)[None, None].double()
    return np.asarray(resample(x, shape)[0, 0], np.float32)


if __name__ == "__main__":
    typer.run(main)
