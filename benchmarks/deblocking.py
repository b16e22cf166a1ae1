"""How well JPEG artefacts are removed.

::

    python -m benchmarks.deblocking --data FOLDER --ensemble
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import typer
from PIL import Image as Picture
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_tv_chambolle

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
from napari_rednet import deblock
from napari_rednet.engine.network import resolve_device

_QUALITIES = [10, 20, 30, 40]
_WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.08)
# An offset that is no multiple of the coder's 8 pixels.
_CROP = (slice(3, None), slice(5, None))

Method = Callable[[Image], Sequence[Image]]
"""Restored images of which the best one counts."""

# Of Classic5, in dB, for scale only.
_CLASSIC5_REFERENCES: dict[str, dict[int, str]] = {
    "public weights: DnCNN-3": {10: "29.41", 20: "31.64", 30: "32.92", 40: "33.79"},
}


def main(
    *,
    data: Data,
    quality: Annotated[list[int], typer.Option(help="Of the coder; repeatable.")] = _QUALITIES,
    model: Models = DEFAULT_MODELS,
    ensemble: Ensemble = False,
    device: Device = "auto",
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Measure how well JPEG artefacts are removed."""
    clean = clean_planes(data, limit)
    methods: dict[str, Method] = {
        "JPEG": lambda image: [image],
        "total variation (scikit-image), best weight": _total_variation,
        **{
            name: partial(_on_eight_bits, run)
            for name, run in model_runs(deblock, "deblock", model, ensemble, device).items()
        },
    }
    columns = ["method", *[f"quality {q}" for q in quality]]
    whole = Table(f"PSNR in dB, {data.name}, {len(clean)} images", columns)
    cropped = Table("The same, cropped by 3 rows and 5 columns after coding", columns)
    for table, crop in ((whole, (slice(None),) * 2), (cropped, _CROP)):
        for name, run in methods.items():
            means = [np.mean(_scores(run, name, clean, q, crop)) for q in quality]
            table.rows.append([name, *[f"{mean:.2f}" for mean in means]])
    if data.name.lower() == "classic5" and len(clean) == 5:
        for name, figures in _CLASSIC5_REFERENCES.items():
            whole.rows.append([name, *[figures.get(q, "–") for q in quality]])
    machine = describe_machine(resolve_device(device))
    publish("JPEG deblocking", [whole, cropped], _NOTES, machine, out)


_NOTES = [
    "Gray images (luminance of colour ones) coded and decoded by Pillow's libjpeg, against the "
    "8-bit image that was coded. The models give 8-bit images too.",
    "The models are not told the quality; one model does all. Total variation gets the best of "
    f"{len(_WEIGHTS)} weights for each image.",
    "Rows that say public weights are other people's figures, for scale.",
]


def _scores(
    run: Method, name: str, clean: Sequence[Image], quality: int, crop: tuple[slice, slice]
) -> list[float]:
    found = []
    for image in watched(clean, f"{name}, quality {quality}"):
        target = np.rint(image)
        results = run(_coded(target, quality)[crop])
        found.append(max(_psnr(target[crop], result) for result in results))
    return found


def _psnr(target: Image, restored: Image) -> float:
    return float(peak_signal_noise_ratio(target, restored.clip(0, 255), data_range=255))


def _coded(image: Image, quality: int) -> Image:
    file = io.BytesIO()
    Picture.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Picture.open(file), np.float32)


def _total_variation(image: Image) -> Sequence[Image]:
    return [255 * denoise_tv_chambolle(image / 255, weight) for weight in _WEIGHTS]


def _on_eight_bits(run: Callable[..., Image], image: Image) -> Sequence[Image]:
    return [run(image.astype(np.uint8))]


if __name__ == "__main__":
    typer.run(main)
