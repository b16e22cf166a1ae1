"""Model cards: what a model is for, what it learned from, on what terms, and where it fails.

Nothing of it is written twice: the recipe beside the weights has a table ``[card]`` for users and a
``[record]`` of its training and figures; a fine-tuned model tells in its header what it comes from.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_rednet.models.model import read_contract
from napari_rednet.models.registry import find_model

_LONGEST = 2000  # of a text, since anybody may write one into a file


@dataclass(frozen=True)
class ModelCard:
    """Model card: purpose, terms, known failures and figures; empty where nothing is known.

    Parameters
    ----------
    name, task : str
        Of the model.
    network : str
        Its size in words.
    purpose : str
        What it does.
    training : str
        How long it was trained, and from what it started.
    data, terms : str
        The images that it learned from, and what their terms mean for users.
    failures : tuple of str
        Where it is known to fail.
    figures : tuple of str
        What was measured, a line each.
    """

    name: str
    task: str
    network: str
    purpose: str = ""
    training: str = ""
    data: str = ""
    terms: str = ""
    failures: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    def as_markdown(self) -> str:
        """The card, without a title."""
        parts = [
            f"{self.purpose} {self.network}.".strip(),
            *_titled("Where it fails", _listed(self.failures)),
            *_titled("Learned from", self.data),
            *_titled("Terms", self.terms),
            *_titled("Figures", _listed(self.figures)),
            *_titled("Training", self.training),
        ]
        return "\n\n".join(parts) + "\n"


def model_card(name_or_path: str | os.PathLike[str]) -> ModelCard:
    """The card of a model, by its name ('denoise-fast', 'my cells') or its ``.safetensors`` file.

    Raises
    ------
    ModelError
        If there is no such model, or its file is damaged.

    Examples
    --------
    >>> card = model_card("denoise-fast")
    >>> print(card.task)
    denoise
    """
    name, path = find_model(name_or_path)
    contract = read_contract(path)
    recipe = _recipe(path.with_suffix(".toml"))
    told, record = _table(recipe, "card"), _table(recipe, "record")
    base, network = _text(contract.info.get("base")), contract.config
    size = f"RED{network.layers}, stride {network.stride}, {network.features} feature maps"
    return ModelCard(
        name=name,
        task=contract.task,
        network=size,
        purpose=_text(told.get("purpose")),
        training="; ".join(_training(contract.info, record)),
        data=_text(record.get("data")) or _own_data(contract.info),
        terms=_text(told.get("terms")) or (_terms_of_base(base) if base else ""),
        failures=tuple(filter(None, map(_text, _list(told.get("failures"))))),
        figures=tuple(_figures(_table(record, "figures"))),
    )


def _recipe(path: Path) -> Mapping[str, Any]:
    """The recipe; an empty one, if there is none that can be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _training(info: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    if base := _text(info.get("base")):
        yield f"fine-tuned from {base}"
    # The header knows the last run alone.
    if isinstance(steps := record.get("steps", info.get("steps")), int):
        yield f"{steps:,} steps"
    if duration := _text(record.get("duration")):
        yield duration
    elif isinstance(minutes := info.get("minutes"), (int, float)):
        yield f"{minutes} minutes"
    yield from filter(None, (_text(info.get("date")), _text(record.get("hardware"))))


def _own_data(info: Mapping[str, Any]) -> str:
    """The images that a fine-tuned model learned from."""
    data = info.get("data")
    if not isinstance(data, Mapping):
        return ""
    stacks, planes = data.get("stacks"), data.get("planes")
    return f"Images of your own: {planes} planes of {stacks} files or layers."


def _terms_of_base(base: str) -> str:
    return f"Those of {base}, from which it was fine-tuned, and those of your own images."


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each measure, such as "set5 PSNR in dB: 37.03 (2), 33.11 (3)"."""
    for name, value in figures.items():
        if name == "command":
            continue
        values = value if isinstance(value, Mapping) else {"": value}
        told = (f"{one} ({_words(key)})" if key else f"{one}" for key, one in values.items())
        yield f"{_words(name)}: {', '.join(told)}"
    if "command" in figures:
        yield f"measured by `{_text(figures['command'])}`"


def _words(key: str) -> str:
    return key.replace("_", " ").replace("psnr", "PSNR in dB")


def _titled(title: str, text: str) -> list[str]:
    return [f"**{title}**", text] if text else []


def _listed(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Text on one line, as recipes break it anywhere."""
    return " ".join(value[:_LONGEST].split()) if isinstance(value, str) else ""
