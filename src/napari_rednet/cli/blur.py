"""The blur that the options of ``deblur`` say."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def choose_psf(
    psf: Path | None,
    gaussian: float | None,
    disk: float | None,
    motion: float | None,
    angle: float | None,
    *widefield: float | None,
) -> Any:
    """The PSF of the one kind whose parameters are given.

    Raises
    ------
    ValueError
        If none is given, or more than one, or not all parameters of it.
    """
    if angle is not None and motion is None:
        raise ValueError("--angle belongs to --motion, which is not given")
    kinds: dict[str, tuple[Any, ...]] = {
        "psf": (psf,),
        "gaussian": (gaussian,),
        "disk": (disk,),
        "motion": (motion, angle or 0.0) if motion is not None else (None,),
        "widefield": widefield,
    }
    given = {kind: values for kind, values in kinds.items() if any(v is not None for v in values)}
    if len(given) != 1:
        raise ValueError(
            "give one of --psf, --gaussian, --disk, --motion, or --numerical-aperture with "
            f"--wavelength and --pixel-size; got {len(given)} of them"
        )
    ((kind, values),) = given.items()
    if None in values:
        raise ValueError("--numerical-aperture, --wavelength and --pixel-size belong together")
    return _psf(kind, values)


def _psf(kind: str, values: tuple[Any, ...]) -> Any:
    from napari_rednet import psf as psfs
    from napari_rednet.io.tiff import read_tiff

    return read_tiff(*values).data if kind == "psf" else getattr(psfs, kind)(*values)
