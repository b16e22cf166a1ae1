"""What fine-tuning gains on real pairs, and what it loses on photographs.

::

    python -m benchmarks.fine_tuning --train FOLDER --data FOLDER --natural FOLDER --way noisy

`--train` and `--data` are folders that have folders ``noisy`` and ``clean`` with images of the same
names; the former is learnt from, the latter only measured, but for the way `noisy`, which learns
from the noisy images of the latter alone. `--natural` is a folder of clean photographs.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from skimage.metrics import peak_signal_noise_ratio

from benchmarks.common import Device, Out, Table, describe_machine, publish, watched
from benchmarks.quality import clean_planes, invariant_psnr, read_pairs, with_noise
from napari_rednet import Model, denoise
from napari_rednet.engine.network import resolve_device
from napari_rednet.finetuning import fine_tune
from napari_rednet.models import load_model_for

_SIGMA = 25.0

Folder = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images.")]


class Way(Enum):
    """What is learnt from."""

    PAIRED = "paired"
    CLEAN = "clean"
    NOISY = "noisy"


def main(
    *,
    train: Folder,
    data: Folder,
    natural: Folder,
    way: Annotated[list[Way], typer.Option(help="What to learn from; repeatable.")],
    model: Annotated[str, typer.Option(help="Model to start from.")] = "fast",
    minutes: Annotated[float, typer.Option(help="Length of each training.")] = 10.0,
    method: Annotated[
        str | None, typer.Option(help="For noisy images: another method than the default.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; the default if not given.")] = (
        None
    ),
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Folder for the models.")] = None,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Fine-tune in one or several ways and compare with the base model."""
    base = load_model_for("denoise", model)
    pairs = read_pairs(data, None)
    photographs = clean_planes(natural, None)
    columns = ["model", "mean dB", "gain", "least", "most", f"photographs, σ {_SIGMA:g}", "steps"]
    table = Table(f"{data.name}, {len(pairs)} pairs; {minutes:g} minutes each", columns)
    before = _scores(base, pairs, device)
    table.rows.append(_row(base, before, before, photographs, device))
    for kind in way:
        images, targets = _given(kind, train, data)
        chosen = {Way.PAIRED: None, Way.CLEAN: "clean", Way.NOISY: method}[kind]
        tuned = fine_tune(
            images,
            targets,
            model=base,
            minutes=minutes,
            method=chosen,
            rate=rate,
            seed=seed,
            device=device,
            name=f"{base.name}, {kind.value}",
        )
        if save is not None:
            tuned.save(save / f"{base.name}-{kind.value}.safetensors")
        table.rows.append(_row(tuned, _scores(tuned, pairs, device), before, photographs, device))
    publish("Fine-tuning", [table], _NOTES, describe_machine(resolve_device(device)), out)


_NOTES = [
    "Scale-invariant PSNR in dB, as in real-noise.md; the noise of what is restored is estimated. "
    "Photographs: PSNR under Gaussian noise of known σ, as in gaussian.md.",
    "paired learns from the pairs of --train, clean from its clean images and the noise that is "
    "estimated in its noisy ones, noisy from the noisy images of --data without the clean ones.",
    "No ensembles. The best of 20 checks on held-out training images is taken, which may be the "
    "base model itself.",
]


def _given(way: Way, train: Path, data: Path) -> tuple[Path, Path | None]:
    if way is Way.NOISY:
        return data / "noisy", None
    return train / "noisy", train / "clean"


def _scores(
    model: Model, pairs: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]], device: str
) -> npt.NDArray[np.float64]:
    return np.array(
        [
            invariant_psnr(clean, denoise(noisy, model=model, device=device))
            for noisy, clean in watched(pairs, model.name)
        ]
    )


def _row(
    model: Model,
    scores: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64],
    photographs: list[npt.NDArray[np.float32]],
    device: str,
) -> list[str]:
    gain = scores - before
    noisy = [with_noise(clean, _SIGMA, 0, i) for i, clean in enumerate(photographs)]
    natural = [
        peak_signal_noise_ratio(
            clean,
            denoise(image, noise=_SIGMA, model=model, device=device).clip(0, 255),
            data_range=255,
        )
        for clean, image in zip(photographs, noisy, strict=True)
    ]
    steps = model.info.get("training", {}).get("steps", "–")
    figures = [f"{gain.mean():+.2f}", f"{gain.min():+.2f}", f"{gain.max():+.2f}"]
    return [model.name, f"{scores.mean():.2f}", *figures, f"{np.mean(natural):.2f}", str(steps)]


if __name__ == "__main__":
    typer.run(main)
