"""Checks of what users pass, before any work starts."""

from __future__ import annotations

import math
import numbers
import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneLayout
from napari_rednet.engine.noise_model import NoiseModel

if TYPE_CHECKING:
    import os

    from napari_rednet.engine.deblurring import Deblurrer
    from napari_rednet.engine.inference import Restorer
    from napari_rednet.zoo import Model

    ModelLike = str | os.PathLike[str] | Model

Noise = float | NoiseModel


@dataclass(frozen=True)
class Options:
    """The options of a restoration that do not depend on the task, already checked.

    Parameters
    ----------
    model : Model
        What to run.
    ensemble : bool
        Average over 8 orientations.
    tile : int or None
        Cap of what is held at once, in pixels.
    device : str
        As given by the user; it exists.
    """

    model: Model
    ensemble: bool
    tile: int | None
    device: str

    def restorer(self) -> Restorer:
        """A fresh runner for these options."""
        from napari_rednet.engine.devices import resolve_device
        from napari_rednet.engine.inference import Restorer

        device = resolve_device(self.device)
        return Restorer(self.model.network, device, self.ensemble, self.tile)

    def deblurrer(self, psf: npt.NDArray[np.float64], iterations: int) -> Deblurrer:
        """A fresh runner that deblurs, with the model as its prior."""
        from napari_rednet.engine.deblurring import Deblurrer
        from napari_rednet.engine.devices import resolve_device

        device = resolve_device(self.device)
        return Deblurrer(self.model.network, device, psf, iterations, self.ensemble, self.tile)


def as_image(image: Any, channel_axis: int | None) -> tuple[Any, PlaneLayout]:
    """Check an image; return it as an array with shape and dtype, and its layout.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If it has too few axes or `channel_axis` is out of range.
    """
    array = image if hasattr(image, "dtype") and hasattr(image, "shape") else np.asarray(image)
    kind = np.dtype(array.dtype).kind
    if kind not in "iuf":
        hint = "; inpaint takes masks" if kind == "b" else ""
        raise TypeError(
            f"image must hold integers or real floating-point numbers, got {array.dtype}{hint}"
        )
    axis = None if channel_axis is None else _integer("channel_axis", channel_axis)
    layout = PlaneLayout(tuple(array.shape), axis)
    if (
        axis is None
        and len(array.shape) >= 3
        and array.shape[-1] in (3, 4)
        and array.shape[-2] > 16
    ):
        warnings.warn(
            f"image of shape {tuple(array.shape)} looks like colours in the last axis, which is "
            "taken as X; pass channel_axis=-1 if it holds channels",
            stacklevel=3,
        )
    return array, layout


def check_options(
    task: str, model: ModelLike, ensemble: bool, tile: int | None, device: str
) -> Options:
    """Check the options that all tasks share, and load the model."""
    from napari_rednet.engine.devices import resolve_device
    from napari_rednet.zoo import load_model_for

    if tile is not None and _integer("tile", tile) < 16:
        raise ValueError(f"tile must be at least 16 pixels, got {tile}")
    if not isinstance(ensemble, (bool, np.bool_)):
        raise TypeError(f"ensemble must be True or False, got {ensemble!r}")
    resolve_device(device)
    return Options(load_model_for(task, model), bool(ensemble), tile, device)


def check_out(out: Any, image: Any) -> None:
    """Check that a result can be written to `out`."""
    if out is None:
        return
    if not hasattr(out, "__setitem__") or not hasattr(out, "shape"):
        raise TypeError(f"out must be a writable array, got {type(out).__name__}")
    if tuple(out.shape) != tuple(image.shape):
        raise ValueError(f"out must have shape {tuple(image.shape)}, got {tuple(out.shape)}")
    if np.dtype(out.dtype).newbyteorder("=") != np.dtype(image.dtype).newbyteorder("="):
        raise ValueError(f"out must have the image's dtype {image.dtype}, got {out.dtype}")
    flags = getattr(out, "flags", None)
    if flags is not None and not flags.writeable:
        raise ValueError("out is read-only")
    if (
        isinstance(out, np.ndarray)
        and isinstance(image, np.ndarray)
        and np.may_share_memory(out, image)
    ):
        raise ValueError("out must not share memory with image, which stays unmodified")


def noise_per_channel(
    noise: Noise | Sequence[Noise] | None, layout: PlaneLayout
) -> list[NoiseModel] | None:
    """One noise model for each channel; None if it is to be estimated."""
    if noise is None:
        return None
    if isinstance(noise, (NoiseModel, numbers.Real)):
        return [_as_noise_model(noise)] * layout.channels
    if isinstance(noise, (list, tuple, np.ndarray)):
        if len(noise) != layout.channels:
            raise ValueError(
                f"noise must have one entry for each of the {layout.channels} channels, "
                f"got {len(noise)}"
            )
        return [_as_noise_model(entry) for entry in noise]
    raise TypeError(f"noise must be None, a number or a NoiseModel, got {type(noise).__name__}")


def _as_noise_model(noise: Any) -> NoiseModel:
    if isinstance(noise, NoiseModel):
        return noise
    check_number("noise", noise)
    return NoiseModel(read_noise=float(noise))


def check_number(name: str, value: Any) -> None:
    """Raise if an argument is not a finite number of at least 0."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be finite and not negative, got {value}")


def check_count(name: str, value: Any) -> int:
    """Return a count, or raise if it is not a positive integer."""
    count = _integer(name, value)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    return count


def _integer(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
