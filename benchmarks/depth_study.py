"""Why depth needs skip connections: RED10, RED20 and RED30 trained with and without them.

::

    python -m benchmarks.depth_study --data FOLDER --validation FOLDER --out FILE.md

After figure 3 of Mao, Shen, Yang (NIPS 2016), at a size that a laptop trains in minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
from matplotlib import pyplot as plt

from benchmarks.common import Device, Out, Table, describe_machine, dtype_name, publish
from napari_rednet.engine.degradations import NoiseCorruption
from napari_rednet.engine.network import NetworkConfig, resolve_device, training_dtype
from napari_rednet.training import TrainingConfig, TrainingStatus
from napari_rednet.training.batches import ImageFolder, PatchShape
from napari_rednet.training.recipes import Recipe, RecipeTraining

_LAYERS = (10, 20, 30)
_STD = 50
_CHECKS = 12

Run = Sequence[TrainingStatus]
Runs = dict[tuple[int, bool], Run]
"""Progress by the number of layers and whether there are skips."""


def main(
    *,
    data: Annotated[Path, typer.Option(exists=True, help="Folder of images to train on.")],
    validation: Annotated[Path, typer.Option(exists=True, help="Folder of other images.")],
    steps: Annotated[int, typer.Option(help="Of each training.")] = 1500,
    features: Annotated[int, typer.Option(help="Feature maps; 64 in the paper.")] = 32,
    seed: Annotated[int, typer.Option(help="Of patches, noise and weights.")] = 0,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Train networks of three depths with and without skips, and compare their progress."""
    where = resolve_device(device)
    runs: Runs = {}
    for layers, skips in product(_LAYERS, (True, False)):
        network = NetworkConfig(layers=layers, features=features, in_channels=2, skips=skips)
        recipe = _recipe(network, data, steps, seed)
        runs[layers, skips] = list(_train(recipe, data.parent, validation, str(where)))
        typer.echo(f"{_name(layers, skips)}: {runs[layers, skips][-1].score:.2f} dB")
    notes = [
        f"Gaussian noise of standard deviation 0 to {_STD} gray levels, told to the network; "
        f"stride 1, {features} feature maps, {steps} steps of 8 patches of 48 x 48, AdamW with "
        f"rate 1e-3 falling to 0, seed {seed}, in {dtype_name(training_dtype(where))}.",
        f"PSNR in dB on {validation.name} at σ {_STD / 2:g}, of the moving average of the weights.",
        "Training loss: mean over the steps since the check before, times 1000.",
    ]
    publish("Depth and skip connections", _tables(runs), notes, describe_machine(where), out)
    if out is not None:
        _append_findings(out, runs)


def _recipe(network: NetworkConfig, data: Path, steps: int, seed: int) -> Recipe:
    return Recipe(
        name="depth-study",
        task="denoise",
        network=network,
        training=TrainingConfig(
            steps=steps, rate=1e-3, ema=0.99, interval=max(1, steps // _CHECKS), seed=seed
        ),
        images=(ImageFolder(data.name, 1.0),),
        pairs=(),
        corruption=NoiseCorruption(max_std=_STD / 255, poisson_share=0, varying_share=0),
        patches=PatchShape(batch=8, patch=48),
        validation_stds=(_STD / 2,),
    )


def _train(recipe: Recipe, folder: Path, validation: Path, device: str) -> Iterator[TrainingStatus]:
    with tempfile.TemporaryDirectory() as scratch:
        training = RecipeTraining(
            recipe, folder, Path(scratch), validation=validation, device=device
        )
        yield from training.run()


def _name(layers: int, skips: bool) -> str:
    return f"RED{layers}, {'with' if skips else 'without'} skips"


def _tables(runs: Runs) -> list[Table]:
    steps = [status.step for status in next(iter(runs.values()))]
    shown = [i for i in range(len(steps)) if i % 3 == 2 or i == len(steps) - 1]
    columns = ["network", *[f"step {steps[i]}" for i in shown]]
    psnr = Table("PSNR", [*columns, "minutes"])
    loss = Table("Training loss", columns)
    for key, run in runs.items():
        psnr.rows.append(
            [_name(*key), *[f"{run[i].score:.2f}" for i in shown], f"{run[-1].minutes:.1f}"]
        )
        loss.rows.append([_name(*key), *[f"{1000 * run[i].loss:.3f}" for i in shown]])
    return [psnr, loss]


def _append_findings(out: Path, runs: Runs) -> None:
    """Add the picture, and what the figures of this very run say."""
    picture = out.parent.parent / "images" / f"{out.stem}.png"
    _plot(runs, picture)
    lines = ["## What skips are worth", "", f"![Curves](../images/{picture.name})", ""]
    for layers in _LAYERS:
        gain = runs[layers, True][-1].score - runs[layers, False][-1].score
        lines.append(f"- RED{layers}: {gain:+.2f} dB at the end.")
    with out.open("a", encoding="utf-8") as file:
        file.write("\n" + "\n".join(lines) + "\n")


def _plot(runs: Runs, path: Path) -> None:
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (layers, skips), run in runs.items():
        style = {
            "label": _name(layers, skips),
            "color": f"C{_LAYERS.index(layers)}",
            "linestyle": "-" if skips else ":",
        }
        steps = [status.step for status in run]
        left.plot(steps, [status.score for status in run], **style)
        right.plot(steps, [1000 * status.loss for status in run], **style)
    left.set(xlabel="step", ylabel="PSNR in dB")
    right.set(xlabel="step", ylabel="training loss × 1000", yscale="log")
    left.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
