"""Checks of what users pass, before any work starts."""

from __future__ import annotations

import numbers
import operator
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_rednet.engine.channel import NoiseModel, finite
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import MaskedImage, is_dask, share_storage, without_map
from napari_rednet.options import DEFECTS, SCALES
from napari_rednet.psf import check_center

if TYPE_CHECKING:
    from napari_rednet.engine.deblurring import Deblurrer
    from napari_rednet.engine.inference import Restorer
    from napari_rednet.engine.inpainting import Inpainter
    from napari_rednet.engine.planes import PointSpread
    from napari_rednet.engine.volumes import VolumeDeblurrer
    from napari_rednet.models import Model

    ModelLike = str | os.PathLike[str] | Model

Noise = float | NoiseModel
Memory = int | str

_LEAST_MEMORY = 500_000_000
_MOST_TIMES = 10**6
# Range of integers, as a share of the largest, that takes a hundred steps of float64.
_TOLD_APART = 2.0**-46
LARGEST_SEED = 2**63 - 1
"""Of random numbers, as torch takes them."""
NAMED_AXES = ("z", "t")
"""Names of axes whose planes help to restore each other."""
NOISY, SHARP = 0.25, 0.75
"""Thresholds for hot and dead pixels, as shares of the range: for recordings, and for sharp images,
in which single pixels may be detail."""


@dataclass(frozen=True)
class Options:
    """Checked options that all tasks share: `tile` in pixels, `memory` in bytes."""

    model: Model
    ensemble: bool
    tile: int | None
    device: str
    memory: int | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices to compute on."""
        from napari_rednet.engine.network import devices_to_use

        return tuple(devices_to_use(self.device))

    def restorer(self, device: str | None = None) -> Restorer:
        """A new restorer with these options, on one of the devices."""
        from napari_rednet.engine.inference import Restorer
        from napari_rednet.engine.network import resolve_device

        chosen = resolve_device(device or self.device)
        return Restorer(self.model.network, chosen, self.ensemble, self.tile, self.memory)

    def inpainter(self, device: str | None = None) -> Inpainter:
        """A new inpainter with these options."""
        from napari_rednet.engine.inpainting import Inpainter

        return Inpainter(self.restorer(device))

    def deblurrer(self, psf: PointSpread, iterations: int, device: str | None = None) -> Deblurrer:
        """A new deblurrer with these options, with the model as its prior."""
        from napari_rednet.engine.deblurring import Deblurrer
        from napari_rednet.engine.network import resolve_device

        chosen = resolve_device(device or self.device)
        options = self.ensemble, self.tile, self.memory
        return Deblurrer(self.model.network, chosen, psf, iterations, *options)

    def volume_deblurrer(
        self, psf: PointSpread, iterations: int, device: str | None = None
    ) -> VolumeDeblurrer:
        """The same for volumes, with a PSF of three axes."""
        from napari_rednet.engine.network import resolve_device
        from napari_rednet.engine.volumes import VolumeDeblurrer

        chosen = resolve_device(device or self.device)
        options = self.ensemble, self.tile, self.memory
        return VolumeDeblurrer(self.model.network, chosen, psf, iterations, *options)


def as_image(image: Any, channel_axis: int | None) -> tuple[Any, PlaneLayout]:
    """Check an image; return it as an array with shape and dtype, and its layout.

    Masked arrays become a `MaskedImage`, tensors of torch an array of their values. Raises
    `TypeError` if the values are not real numbers, and `ValueError` if there are too few axes or
    `channel_axis` is out of range.
    """
    array = _as_array(image)
    kind = array.dtype.kind
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
            "taken as X; pass channel_axis=-1 if it holds channels, or rgb=True for colours",
            stacklevel=3,
        )
    return array, layout


def as_floats(name: str, array: Any) -> Any:
    """Values as float64; `ValueError` if that does not tell integers apart, as near 2**63."""
    values = np.asarray(array)
    if values.dtype.kind in "iu" and values.size:
        low, high = int(values.min()), int(values.max())
        if low < high < _TOLD_APART * max(abs(low), abs(high)) + low:
            raise ValueError(
                f"{name} holds integers from {low} to {high}, which floating-point numbers do not "
                "tell apart: subtract the lowest first"
            )
    return values.astype(np.float64)


def _as_array(image: Any) -> Any:
    """An image as an array with a numpy dtype."""
    if isinstance(image, np.ma.MaskedArray):
        return MaskedImage(image)
    if isinstance(image, np.ndarray):
        return without_map(image)
    if not (hasattr(image, "dtype") and hasattr(image, "shape")):
        return np.asarray(image)
    if is_dask(image) and _has_masked_blocks(image):
        raise TypeError(
            "image must not be a dask array of masked arrays; fill what is masked with NaN: "
            "dask.array.ma.filled(image.astype(float), numpy.nan)"
        )
    if isinstance(image.dtype, np.dtype):
        return image
    try:
        # A tensor may require a gradient, or be on another device.
        return np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"image must be an array that numpy can read, got {type(image).__name__} of "
            f"{image.dtype}: {error}"
        ) from None


def _has_masked_blocks(lazy: Any) -> bool:
    from dask.array.utils import meta_from_array

    return isinstance(meta_from_array(lazy), np.ma.MaskedArray)


def check_options(
    task: str,
    model: ModelLike,
    ensemble: bool,
    tile: int | None,
    device: str,
    memory: Memory | None = None,
    *,
    is_stack: bool = False,
) -> Options:
    """Check the options that all tasks share, and load the model.

    Only with `is_stack` it may be one that sees neighbouring planes.
    """
    from napari_rednet.models.registry import check_named

    if tile is not None and _integer("tile", tile) < 16:
        raise ValueError(f"tile must be at least 16 pixels, got {tile}")
    if not isinstance(ensemble, (bool, np.bool_)):
        raise TypeError(f"ensemble must be True or False, got {ensemble!r}")
    bound = None if memory is None else check_memory(memory)
    if isinstance(model, (str, os.PathLike)):
        check_named(model, task)
    check_device_name(device)
    # torch is loaded for what is left to check.
    from napari_rednet.engine.network import resolve_device
    from napari_rednet.models import load_model_for

    resolve_device(device)
    found = load_model_for(task, model, is_stack=is_stack)
    return Options(found, bool(ensemble), tile, device, bound)


def check_device_name(device: object) -> None:
    """Raise `ValueError` if no computer has a device of this name; torch need not be loaded."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(device)):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}")


def check_named_axis(along: Any) -> int | str | None:
    """Return an axis by its number or name, 'z' or 't', as users and files tell it."""
    if along is None:
        return None
    if isinstance(along, str):
        if along in NAMED_AXES:
            return along
        if not along.removeprefix("-").isdecimal():
            raise ValueError(f"along must be z, t, or the number of an axis, got {along!r}")
        return int(along)
    return _integer("along", along)


def axis_named(along: Any, axes: str) -> int | None:
    """The number of an axis for its number or name; `axes` has a letter for each, such as 'tzyx'.

    A name also stands for the only axis of planes if it has neither name.
    """
    found = check_named_axis(along)
    if not isinstance(found, str):
        return found
    letters = axes.lower()
    if found in letters:
        return letters.index(found)
    others = [i for i, letter in enumerate(letters) if letter not in "yxcs"]
    if len(others) == 1 and letters[others[0]] not in NAMED_AXES:
        return others[0]
    raise ValueError(f"along={found}, but the axes of the image are {', '.join(letters)}")


def check_along(along: Any, layout: PlaneLayout) -> int | None:
    """Return the axis of the planes to restore together, counted from the first; None for none."""
    if along is None:
        return None
    count, axis = len(layout.shape), _integer("along", along)
    if not -count <= axis < count:
        raise ValueError(
            f"along must lie between {-count} and {count - 1} for an image with {count} axes, "
            f"got {axis}"
        )
    axis %= count
    if axis == layout.channel:
        raise ValueError(
            f"along must not be the channel axis ({axis}): channels show different structures"
        )
    if axis in layout.spatial_axes:
        raise ValueError(f"along must be an axis of planes, got {axis}, which is Y or X")
    if layout.shape[axis] < 2:
        raise ValueError(
            f"along needs planes to restore together, and axis {axis} has {layout.shape[axis]}; "
            "leave it out"
        )
    return axis


def check_memory(memory: Any) -> int:
    """Parse an amount of memory, such as 2_000_000_000, '1.5GB', '800 MB' or '2GiB', into bytes."""
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", memory, re.IGNORECASE)
        if found is None:
            raise ValueError(f"memory must be such as '2GB' or a number of bytes, got {memory!r}")
        base = 1024 if found[3] else 1000
        memory = float(found[1]) * base ** " kmgt".index(found[2].lower() or " ")
    check_number("memory", memory)
    if memory < _LEAST_MEMORY:
        raise ValueError(
            f"memory must be at least {_LEAST_MEMORY / 1e6:.0f}MB, which the libraries alone "
            f"need, got {memory / 1e6:.0f}MB"
        )
    return int(memory)


def check_dtype(dtype: Any, image: Any) -> np.dtype[Any] | None:
    """The dtype of a result that is to differ from its image's; None for the same."""
    if dtype is None:
        return None
    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"dtype must be a dtype such as 'float32', got {dtype!r}") from error
    if found.kind not in "iuf":
        raise ValueError(f"dtype must be that of integers or floats, got {found}")
    if np.ma.isMaskedArray(image):
        raise ValueError("dtype must not be given for masked arrays; convert the image first")
    return found


def check_out(
    out: Any,
    image: Any,
    shape: tuple[int, ...] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> None:
    """Check that a result can be written to `out`; shape and dtype default to the image's."""
    if out is None:
        return
    wanted = tuple(image.shape) if shape is None else shape
    has_dtype = isinstance(getattr(out, "dtype", None), np.dtype)
    if not hasattr(out, "__setitem__") or not hasattr(out, "shape") or not has_dtype:
        raise TypeError(f"out must be a writable array, got {type(out).__name__}")
    if tuple(out.shape) != wanted:
        raise ValueError(f"out must have shape {wanted}, got {tuple(out.shape)}")
    wanted_dtype = np.dtype(image.dtype if dtype is None else dtype)
    if np.dtype(out.dtype).newbyteorder("=") != wanted_dtype.newbyteorder("="):
        whose = "the image's dtype" if dtype is None else "dtype"
        raise ValueError(f"out must have {whose} {wanted_dtype}, got {out.dtype}")
    flags = getattr(out, "flags", None)
    if flags is not None and not flags.writeable:
        raise ValueError("out is read-only")
    source = image.values if isinstance(image, MaskedImage) else image
    if share_storage(out, source):
        raise ValueError(
            "out must not share memory or a file with image, which stays unmodified and is read "
            "while out is written"
        )


def noise_per_channel(
    noise: Noise | Sequence[Noise] | None, channels: int
) -> list[NoiseModel] | None:
    """One noise model for each channel; None if it is to be estimated."""
    if noise is None:
        return None
    noise = _without_axes(noise)
    if isinstance(noise, (NoiseModel, numbers.Real)):
        return [_as_noise_model(noise)] * channels
    if isinstance(noise, (list, tuple, np.ndarray)):
        if len(noise) != channels:
            raise ValueError(
                f"noise must have one entry for each of the {channels} channels, got {len(noise)}"
            )
        return [_as_noise_model(entry) for entry in noise]
    raise TypeError(f"noise must be None, a number or a NoiseModel, got {type(noise).__name__}")


def _without_axes(number: Any) -> Any:
    """The number in an array without axes; anything else as it is."""
    return number.item() if getattr(number, "ndim", None) == 0 else number


def _as_noise_model(noise: Any) -> NoiseModel:
    noise = _without_axes(noise)
    if isinstance(noise, NoiseModel):
        return noise
    check_number("noise", noise)
    return NoiseModel(read_noise=float(noise))


def check_defects(defects: Any) -> bool:
    """True for 'repair', False for 'keep'; anything else raises."""
    if not isinstance(defects, str):
        raise TypeError(f"defects must be 'repair' or 'keep', got {type(defects).__name__}")
    if defects not in DEFECTS:
        raise ValueError(f"defects must be 'repair' or 'keep', got {defects!r}")
    return defects == DEFECTS[0]


def check_scale(scale: Any) -> int:
    """Return the scale of super-resolution, or raise if there is no model for it."""
    names = ", ".join(map(str, SCALES[:-1])) + f" or {SCALES[-1]}"
    if isinstance(scale, (bool, np.bool_)) or not isinstance(scale, numbers.Real):
        raise TypeError(f"scale must be {names}, got {type(scale).__name__}")
    if scale not in SCALES:
        raise ValueError(f"scale must be {names}, got {scale}")
    return SCALES[SCALES.index(scale)]


def check_rgb(image: Any, rgb: Any, channel_axis: int | None) -> int | None:
    """Check that an image has colours if `rgb` says so; return its channel axis."""
    if not isinstance(rgb, (bool, np.bool_)):
        raise TypeError(f"rgb must be True or False, got {rgb!r}")
    if not rgb:
        return channel_axis
    axis = -1 if channel_axis is None else _integer("channel_axis", channel_axis)
    shape = np.shape(image)
    PlaneLayout(tuple(shape), axis)
    if shape[axis] not in (3, 4):
        raise ValueError(
            f"rgb needs 3 channels, or 4 with transparency, got {shape[axis]} on axis {axis} of an "
            f"image of shape {tuple(shape)}"
        )
    return axis


def check_number(name: str, value: Any) -> None:
    """Raise if an argument is not a finite number of at least 0."""
    kind = "finite and not negative"
    if finite(name, value, kind) < 0:
        raise ValueError(f"{name} must be {kind}, got {value}")


def check_count(name: str, value: Any, least: int = 1, most: int = _MOST_TIMES) -> int:
    """Return a count, or raise if it is not an integer from `least` to `most`."""
    count = _integer(name, value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    if count > most:
        raise ValueError(f"{name} must be at most {most}, got {count}")
    return count


def _integer(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


CHECKS: Mapping[str, Callable[[Any], object]] = MappingProxyType(
    {
        "strength": partial(check_number, "strength"),
        "along": check_named_axis,
        "scale": check_scale,
        "iterations": partial(check_count, "iterations"),
        "center": check_center,
        "defects": check_defects,
        "dtype": partial(check_dtype, image=None),
    }
)
"""Checks of arguments that need no image; see also `check_options`."""


def outlier_share(defects: Any, share: float) -> float | None:
    """The threshold of outliers; None if `defects`, an argument of a verb, says to keep them."""
    return share if check_defects(defects) else None
