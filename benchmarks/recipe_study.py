"""What a change of a recipe is worth: the recipe and its variants, trained briefly and compared.

::

    python -m benchmarks.recipe_study weights/denoise-fast.toml --data FOLDER --validation FOLDER
        --variant "training.ema=0.99" --variant "training.patch=128 training.batch=2"

A variant sets keys of the recipe; values are written as in the file (texts in quotes). A study
that was stopped goes on where it was, in the folder of `--runs`. Equal numbers of steps are
compared; the table says how many pixels a step has.
"""

from __future__ import annotations

import copy
import csv
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import Device, Out, Table, describe_machine, dtype_name, publish
from napari_rednet.engine.checkpoints import LOG
from napari_rednet.engine.devices import resolve_device, training_dtype
from napari_rednet.recipes import Recipe, RecipeTraining, as_recipe, with_length

_AS_IT_IS = "as it is"


def main(
    recipe: Annotated[Path, typer.Argument(exists=True, help="The recipe to vary.")],
    *,
    data: Annotated[Path, typer.Option(exists=True, help="Folder of the recipe's folders.")],
    validation: Annotated[Path, typer.Option(exists=True, help="Folder of clean images.")],
    variant: Annotated[list[str], typer.Option(help="KEY=VALUE ..., repeatable.")],
    steps: Annotated[int, typer.Option(help="Of each training.")] = 4000,
    runs: Annotated[Path, typer.Option(help="Checkpoints of the trainings.")] = Path("runs/study"),
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Train a recipe and its variants, and compare the PSNR that they reach."""
    where = resolve_device(device)
    values = tomllib.loads(recipe.read_text(encoding="utf-8"))
    table = Table(f"Variants of {recipe.stem}", ["variant", "pixels a step", "minutes", "PSNR"])
    for number, name in enumerate([_AS_IT_IS, *variant]):
        changed = with_length(as_recipe(_varied(values, name)), None, steps)
        folder = runs / f"{number}"
        training = RecipeTraining(changed, data, folder, validation=validation, device=device)
        last = _trained(training, folder)
        table.rows.append(_row(name, changed, last))
        typer.echo(" ".join(table.rows[-1]))
    notes = [
        f"{steps} steps each, in {dtype_name(training_dtype(where))}; mean PSNR in dB on "
        f"{validation.name}, of the moving average of the weights.",
        "Minutes are those of the clock, on a machine that may have had other work.",
    ]
    publish("Recipes", [table], notes, describe_machine(where), out)


def _varied(values: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The keys of a recipe with those of a variant set."""
    varied = copy.deepcopy(dict(values))
    for change in [] if variant == _AS_IT_IS else variant.split():
        path, _, value = change.partition("=")
        *tables, key = path.split(".")
        place = varied
        for name in tables:
            place = place.setdefault(name, {})
        place[key] = tomllib.loads(f"value = {value}")["value"]
    return varied


def _trained(training: RecipeTraining, folder: Path) -> Mapping[str, str]:
    """Train to the end, from where it was stopped if it was; return the last row of the log."""
    training.trainer.resume()
    for _ in training.run():
        pass
    with (folder / LOG).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))[-1]


def _row(name: str, recipe: Recipe, last: Mapping[str, str]) -> list[str]:
    pixels = recipe.patches.batch * recipe.patches.patch**2
    return [name, f"{pixels:,}", f"{float(last['minutes']):.1f}", f"{float(last['score']):.3f}"]


if __name__ == "__main__":
    typer.run(main)
