"""Which way to learn: chosen by what the user has."""

from __future__ import annotations

METHODS = ("paired", "clean", "pseudo-clean")
"""The ways to learn; see `fine_tune`."""


def choose_method(task: str, method: str | None, *, images: bool, targets: bool) -> str:
    """The way to learn for what is given.

    Raises
    ------
    ValueError
        If the method is unknown, or does not go with what is given.
    """
    if method is not None and method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not images and not targets:
        raise ValueError("give images, targets (clean images), or both")
    possible = _possible(task, images, targets)
    if not possible:
        raise ValueError(
            f"{task} learns from clean images alone, given as images, and makes its own bad ones"
        )
    if method is None:
        return possible[0]
    if method not in possible:
        raise ValueError(
            f"method {method!r} does not go with what is given; possible: {', '.join(possible)}"
        )
    return method


def _possible(task: str, images: bool, targets: bool) -> tuple[str, ...]:
    if task == "denoise":
        if not targets:
            return ("pseudo-clean",)
        return ("paired", "clean") if images else ("clean",)
    if not targets:
        return ("clean",)
    return ("paired",) if task == "deblock" and images else ()
