"""What a change of a recipe is worth: the recipe and its variants, trained briefly and compared.

::

    python -m benchmarks.recipe_study weights/denoise-fast.toml --data FOLDER --validation FOLDER
        --variant "training.ema=0.99" --variant "training.patch=128 training.batch=2"

A variant sets keys of the recipe, ``images.0.share`` that of the first entry of a list; values are
written as in the file (texts in quotes). A study that was stopped goes on where it was, in the
folder of `--runs`. Equal numbers of steps are compared; the table says how many pixels a step has,
and how much of the fastest matrix product a training gets out of the device.
"""

from __future__ import annotations

import copy
import csv
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.baselines import Image
from benchmarks.common import Device, Out, Table, describe_machine, dtype_name, publish
from benchmarks.executions import matrix_speeds
from benchmarks.quality import invariant_psnr, read_pairs
from napari_rednet import denoise
from napari_rednet.engine.network import resolve_device, training_dtype
from napari_rednet.models import Model
from napari_rednet.training.loop import LOG
from napari_rednet.training.recipes import RecipeTraining, as_recipe, with_length

_AS_IT_IS = "as it is"
_COLUMNS = ["variant", "pixels a step", "minutes", "GFLOP/s", "of peak", "PSNR"]


def main(
    recipe: Annotated[Path, typer.Argument(exists=True, help="The recipe to vary.")],
    *,
    data: Annotated[Path, typer.Option(exists=True, help="Folder of the recipe's folders.")],
    validation: Annotated[Path, typer.Option(exists=True, help="Folder of clean images.")],
    variant: Annotated[list[str], typer.Option(help="KEY=VALUE ..., repeatable.")],
    pairs: Annotated[
        Path | None, typer.Option(exists=True, help="Real pairs as well, to denoise.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Of each training.")] = 4000,
    runs: Annotated[Path, typer.Option(help="Checkpoints of the trainings.")] = Path("runs/study"),
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Train a recipe and its variants, and compare the PSNR that they reach."""
    where = resolve_device(device)
    precision = dtype_name(training_dtype(where))
    values = tomllib.loads(recipe.read_text(encoding="utf-8"))
    real = read_pairs(pairs, None) if pairs else []
    table = Table(f"Variants of {recipe.stem}", [*_COLUMNS, *(["real noise"] if real else [])])
    for number, name in enumerate([_AS_IT_IS, *variant]):
        changed = with_length(as_recipe(_varied(values, name)), None, steps)
        folder = runs / f"{number}"
        training = RecipeTraining(changed, data, folder, validation=validation, device=device)
        peak = max(matrix_speeds(device, precision).values())
        last = _trained(training, folder)
        row = _row(name, training, last, peak)
        table.rows.append([*row, f"{_on_pairs(training.model(), real):.2f}"] if real else row)
        typer.echo(" ".join(table.rows[-1]))
    notes = [
        f"{steps} steps each, in {precision}; PSNR: mean in dB on {validation.name}, of the moving "
        "average of the weights.",
        "Real noise: mean scale-invariant PSNR in dB with the noise estimated.",
        "Minutes are those of the clock, on a machine that may have had other work. Of peak: the "
        "useful FLOP/s of the training over those of the fastest matrix product just before.",
    ]
    publish(
        "Recipes", [table], notes if real else [notes[0], notes[2]], describe_machine(where), out
    )


def _varied(values: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The keys of a recipe with those of a variant set."""
    varied = copy.deepcopy(dict(values))
    for change in [] if variant == _AS_IT_IS else variant.split():
        path, _, value = change.partition("=")
        *tables, key = path.split(".")
        place: Any = varied
        for name in tables:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[key] = tomllib.loads(f"value = {value}")["value"]
    return varied


def _trained(training: RecipeTraining, folder: Path) -> Mapping[str, str]:
    """Train to the end, from where it was stopped if it was; return the last row of the log."""
    training.trainer.resume()
    for _ in training.run():
        pass
    with (folder / LOG).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))[-1]


def _row(name: str, training: RecipeTraining, last: Mapping[str, str], peak: float) -> list[str]:
    shape = training.recipe.patches
    speed = float(last["samples_per_second"]) * training.operations_per_patch()
    return [
        name,
        f"{shape.batch * shape.patch**2:,}",
        f"{float(last['minutes']):.1f}",
        f"{speed / 1e9:,.0f}",
        f"{speed / peak:.2f}",
        f"{float(last['score']):.3f}",
    ]


def _on_pairs(model: Model, real: Sequence[tuple[Image, Image]]) -> float:
    """Mean scale-invariant PSNR in dB of restored real images."""
    return float(np.mean([invariant_psnr(y, denoise(x, model=model)) for x, y in real]))


if __name__ == "__main__":
    typer.run(main)
