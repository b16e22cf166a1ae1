"""The pictures of the documentation by name, and the command that makes them.

A picture is a function that is marked with `picture`; `main` makes those that are named, or all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

PICTURES: dict[str, Callable[[], None]] = {}
options = argparse.Namespace(theme="dark", out=Path(__file__).parent / "images", data=None)


def picture(function: Callable[[], None]) -> Callable[[], None]:
    """Make a function one of the pictures."""
    PICTURES[function.__name__] = function
    return function


def main() -> None:
    """Make the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(PICTURES)}; all if none")
    parser.add_argument("--theme", choices=["dark", "light"], default=options.theme)
    parser.add_argument("--out", type=Path, default=options.out, help="folder of the pictures")
    parser.add_argument("--data", type=Path, help="folder of the images of others, for `real`")
    parser.parse_args(namespace=options)
    if unknown := set(options.name) - set(PICTURES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.name or PICTURES:
        PICTURES[name]()
