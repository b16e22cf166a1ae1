"""Names of devices, which can be checked before torch has been loaded."""

from __future__ import annotations

import re

_ACCEPTED = "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"


def check_device_name(device: object) -> str:
    """The name of a device; `ValueError` if no computer has one of this name."""
    name = str(device)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError(f"device must be {_ACCEPTED}, got {name!r}")
    return name
