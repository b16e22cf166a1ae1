"""What TIFF files of microscopes tell in ways of their own: Zeiss LSM, MetaMorph STK, Aperio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tifffile

from napari_rednet.io.tiff.ome import LETTERS, colour_number

_METRE = 1e6  # in micrometres
_MICRONS = re.compile(rb"\bMPP\s*=\s*([0-9.]+(?:[eE][-+]?\d+)?)")
_MICROMETRES = ("um", "µm", "μm", "micron", "microns", "micrometer", "microns/pixel")


def vendor_options(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str
) -> dict[str, Any] | None:
    """Arguments of tifffile's writer for a file that OME can describe; None for other files.

    Samples of LSM files are channels, whatever the tags say of their colours.
    """
    if series.kind == "lsm" and file.lsm_metadata:
        metadata = _lsm(file.lsm_metadata)
    elif series.kind == "stk" and file.stk_metadata:
        metadata = _stk(file.stk_metadata)
    else:
        return None
    options: dict[str, Any] = {"photometric": "minisblack"}
    if not set(axes) <= set(LETTERS):
        return {**options, "metadata": {"axes": axes}}
    if "C" not in axes:
        metadata.pop("Channel", None)
    return {**options, "ome": True, "metadata": {"axes": axes, **metadata}}


def _lsm(told: Mapping[str, Any]) -> dict[str, Any]:
    found = _sizes({axis: _METRE * float(told.get(f"VoxelSize{axis}", 0)) for axis in "XYZ"})
    interval = float(told.get("TimeIntervall", 0))  # as the format spells it
    if interval > 0:
        found |= {"TimeIncrement": interval, "TimeIncrementUnit": "s"}
    channels = told.get("ChannelColors") or {}
    names, colours = channels.get("ColorNames", ()), channels.get("Colors", ())
    if names or colours:
        rgb = ["".join(f"{int(value) & 255:02X}" for value in colour[:3]) for colour in colours]
        numbers = [colour_number(colour) for colour in rgb]
        parts = {"Name": [str(name) for name in names], "Color": numbers}
        found["Channel"] = {key: values for key, values in parts.items() if values}
    return found


def _stk(told: Mapping[str, Any]) -> dict[str, Any]:
    if str(told.get("CalibrationUnits", "")).strip().lower() not in _MICROMETRES:
        return {}
    distances = [abs(float(n)) for n in told.get("ZDistance", ())]
    sizes = {axis: float(told.get(f"{axis}Calibration", 0)) for axis in "XY"}
    return _sizes({**sizes, "Z": distances[0] if distances else 0.0})


def _sizes(sizes: Mapping[str, float]) -> dict[str, Any]:
    """Lengths in micrometres as OME tells them; none if they are not positive."""
    found: dict[str, Any] = {}
    for axis, size in sizes.items():
        if size > 0:
            found |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    return found


def microns_per_pixel(description: bytes) -> float | None:
    """The size of pixels that a description of Aperio tells; None if it does not."""
    found = _MICRONS.search(description)
    return float(found[1]) if found else None
