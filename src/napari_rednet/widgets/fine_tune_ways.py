"""The ways of fine-tuning, in words; which of them what is chosen leads to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from napari.layers import Image

_METHODS = {
    "paired": "pairs with the target",
    "clean": "the clean target alone",
    "pseudo-clean": "restored images",
}
_WAYS = {
    "paired": "Learns from pairs: an image and its clean target.",
    "clean": "Learns from clean images, which it makes noisy itself.",
    "pseudo-clean": "Learns from noisy images alone: what the base model makes of them.",
}
_FROM_GOOD = "Learns from good images, which it makes worse itself."
TAKES_TARGETS = ("denoise", "deblock")


@dataclass(frozen=True)
class Given:
    """What the user has chosen: a task, images, and a target of one of them or None."""

    task: str
    images: Sequence[Image]
    target: Image | None


def find_way(given: Given, method: str | None) -> tuple[str, bool]:
    """A line on how it will learn, or on what is missing; and whether it can."""
    problem = _find_problem(given)
    if problem:
        return problem, False
    if "torch" not in sys.modules:
        return "", False  # it is being imported in the background
    try:
        way = _choose(given, method)
    except ValueError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}.", False
    from_good = way == "clean" and given.task != "denoise"
    return (_FROM_GOOD if from_good else _WAYS[way]), True


def possible_methods(given: Given) -> list[tuple[str, str | None]]:
    """Labels and names of the methods that fit, if there are several."""
    is_known = "torch" in sys.modules
    possible = [(text, m) for m, text in _METHODS.items() if is_known and _is_possible(given, m)]
    return [("automatic", None), *(possible if len(possible) > 1 else [])]


def _find_problem(given: Given) -> str:
    if not given.images and given.target is None:
        return "Choose one or several image layers."
    if given.target in given.images:
        return "The target is among the images: click it in the list to take it out."
    if given.target is not None and len(given.images) > 1:
        return "A target goes with one image: choose one, or merge them to stacks."
    return ""


def _choose(given: Given, method: str | None) -> str:
    from napari_rednet.finetuning.methods import choose_method

    has_images, has_target = bool(given.images), given.target is not None
    return choose_method(given.task, method, images=has_images, targets=has_target)


def _is_possible(given: Given, method: str) -> bool:
    try:
        _choose(given, method)
    except ValueError:
        return False
    return True
