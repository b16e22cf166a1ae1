"""The one table of options: what the command line says of each, and its control in windows.

An option of a function that restores needs a row here, and nothing else: commands, batches and
windows find it in the function's signature. Options without a control here have one of their own
(noise, mask, PSF, model), or none: what is asked of machines, and what the layer says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Number:
    """A number between two others; an integer if `step` is one."""

    label: str
    tooltip: str
    low: float
    high: float
    step: float = 1


@dataclass(frozen=True)
class Choice:
    """One of several values, each with its text."""

    label: str
    tooltip: str
    choices: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Tick:
    """A box to tick: the values if it is, and if it is not; presets know it by its `name`."""

    text: str
    tooltip: str
    name: str
    values: tuple[Any, Any] = (True, False)


@dataclass(frozen=True)
class Option:
    """An option of the commands that restore.

    Parameters
    ----------
    type : type
        As typer reads it from the command line; bool for a flag.
    metavar : str, optional
        What stands for the value in the help.
    shows_default : bool
        Whether the help tells it.
    control : Number, Choice or Tick, optional
        In windows.
    """

    help: str
    type: Any = float | None
    metavar: str | None = None
    shows_default: bool = True
    control: Number | Choice | Tick | None = None


SCALES = (2, 3, 4)
"""The factors of super-resolution that the models are trained for."""
DEFECTS = ("repair", "keep")
"""Treatments of hot and dead pixels before the network sees them."""
OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "scale": Option(
            "2, 3 or 4.",
            int,
            control=Choice(
                "Scale",
                "How many pixels each pixel becomes along Y and along X. The result lies where the "
                "image lies: its pixels are smaller.",
                tuple((f"×{scale}", scale) for scale in SCALES),
            ),
        ),
        "mask": Option(
            "Image whose pixels that are not 0 are missing, in all images; if not given, dead and "
            "hot pixels are found, in each image by itself.",
            Path | None,
        ),
        "psf": Option(
            "TIFF with the image of a point: a plane, or a stack for volumes.", Path | None
        ),
        "center": Option(
            "Where in it the point is: in the middle of the array, or at the centre of mass, as "
            "suits a bead that was cut out by hand.",
            str,
            "array|mass",
        ),
        "gaussian": Option("Standard deviation in pixels."),
        "disk": Option("Radius in pixels (out of focus)."),
        "motion": Option("Length in pixels."),
        "angle": Option("Of the motion, in degrees; 0 if not given."),
        "numerical_aperture": Option("Of a widefield microscope; with the next two."),
        "wavelength": Option("Of the light, as pixel size."),
        "pixel_size": Option("In the sample; that in the file, in µm, if not given."),
        "z_step": Option(
            "Distance of the planes of a volume, as pixel size, for a PSF of three axes; that in "
            "the file if --refractive-index is given."
        ),
        "refractive_index": Option("Of the immersion medium, such as 1.33, for the same."),
        "excitation": Option("Wavelength of the exciting light of a confocal microscope."),
        "pinhole": Option("Of a confocal microscope, in Airy units; 1 if not given."),
        "noise": Option("Standard deviation of Gaussian noise; estimated if not given."),
        "gain": Option("Image units per photon."),
        "offset": Option("Signal without light."),
        "read_noise": Option("Noise without light."),
        "grain_y": Option("Grain of the noise along Y in pixels; 0 if it is white."),
        "grain_x": Option("The same along X."),
        "strength": Option(
            "Factor on the noise level.",
            float,
            control=Number(
                "Strength",
                "Factor on the noise: above 1 smooths more, below 1 keeps more of the noise.",
                0.0,
                3.0,
                0.1,
            ),
        ),
        "iterations": Option(
            "How often data and prior take turns.",
            int,
            control=Number(
                "Iterations",
                "How often data and prior take turns; the time is proportional to it.",
                1,
                100,
            ),
        ),
        "along": Option(
            "Axis of planes that show the same objects and help to restore each other: z, t, or "
            "its number; each by itself if not given.",
            str | None,
            "z|t|N",
            control=Choice(
                "Planes",
                "Planes of the same objects, in z or time, have noise of their own: each is "
                "restored with the help of those next to it. What moves by itself, or is in one "
                "of them only, is restored as by itself.",
                (
                    ("each by itself", None),
                    ("together along z", "z"),
                    ("together along t", "t"),
                ),
            ),
        ),
        "defects": Option(
            "What is done to hot and dead pixels before the network sees them: repair or keep.",
            str,
            control=Tick(
                "Repair hot pixels",
                "Replace single hot and dead pixels, which neither noise nor optics explain, by "
                "the mean of their neighbours before the network sees them. Without it, they "
                "spread.",
                "repair",
                DEFECTS,
            ),
        ),
        "dtype": Option(
            "Of the result, if not that of the image: float32 keeps what lies between integers, "
            "as the means of few photons do.",
            str | None,
            shows_default=False,
            control=Tick(
                "Keep fractions (float32)",
                "The result is float32 instead of integers, which lose the means of few photons. "
                "Colours stay as they are.",
                "fractions",
                ("float32", None),
            ),
        ),
        "model": Option("fast, a model's name (napari-rednet models) or a .safetensors file.", str),
        "ensemble": Option(
            "Mean over 8 orientations.",
            bool,
            control=Tick(
                "Ensemble (8 orientations)",
                "Average over 8 orientations of the image: a little better, 8 times slower.",
                "ensemble",
            ),
        ),
        "device": Option("auto, cpu, cuda, cuda:N or mps.", str),
        "tile": Option("Cap in pixels for what is held at once.", int | None),
        "memory": Option(
            "Cap for what the program holds, such as 2GB.", str | None, shows_default=False
        ),
    }
)
"""In the order of the help."""
