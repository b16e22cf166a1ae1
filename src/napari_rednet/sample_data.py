"""Sample images for each task: real micrographs, as recorded or degraded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Layer = tuple[npt.NDArray[Any], dict[str, Any], str]

SAMPLE, ROLE = "napari_rednet_sample", "napari_rednet_role"
"""Metadata keys of layers that belong together: name of the sample, role of the layer."""
MASK, PSF = "mask", "psf"
"""Values of `ROLE`."""

# Author and licence of each file in data/.
_NEUBIAS = "NEUBIAS training resources, CC-BY 4.0"
_NOTEBOOKS = "MPI-CBG Dresden; BioImageAnalysisNotebooks, CC-BY 4.0"
_CREDITS = {
    "chromosomes": _NEUBIAS,
    "epithelium": _NEUBIAS,
    "membranes": f"Sascha M. Kuhn, Nadler Lab, {_NOTEBOOKS}",
    "grid": f"Bert Nitzsche and Robert Haase, {_NOTEBOOKS}",
}
_AS_RECORDED = "as recorded"
_MICROMETRES = ("um", "um", "um")
# z, y and x, in micrometres.
_CHROMOSOMES_SPACING = (0.15, 1 / 29.53846, 1 / 29.53846)
_GRID_SPACING = (0.125, 1 / 45.52759, 1 / 45.52759)
_BEAD_SPACING = (1 / 44.46053,) * 2
_BEAD_BACKGROUND = 2

_WHITE = 65  # brightest gray level that the epithelium is shown with
_WELL_EXPOSED = (slice(90, 346), slice(200, 456))  # part of the epithelium without the hot pixel
_FULL = 4095  # gray levels of 12-bit cameras
_SHOWN = (0.2, 99.8)  # percentiles of an original between black and white


def sample_path() -> Path:
    """Path of the bundled noisy stack: mitotic chromosomes, 40 planes of 152 x 126 pixels.

    Source: NEUBIAS training resources (https://github.com/NEUBIAS/training-resources),
    CC-BY 4.0.
    """
    return _path("chromosomes")


def chromosomes() -> npt.NDArray[np.uint16]:
    """The bundled noisy stack as a (40, 152, 126) uint16 array; see `sample_path`."""
    return _read("chromosomes")


def chromosomes_layer() -> list[Layer]:
    """The bundled noisy stack as napari layer data, in micrometres."""
    stack = chromosomes()
    options = {
        "contrast_limits": tuple(np.percentile(stack, _SHOWN).tolist()),
        "name": "chromosomes",
        "scale": _CHROMOSOMES_SPACING,
        "units": _MICROMETRES,
        "axis_labels": ("z", "y", "x"),
        "metadata": _origin("chromosomes", _AS_RECORDED),
    }
    return [(stack, options, "image")]


def epithelium() -> list[Layer]:
    """Membranes and nuclei of an epithelium, with a hot pixel and noise, as recorded."""
    membranes, nuclei = _read("epithelium")
    shown = {
        "blending": "additive",
        "axis_labels": ("y", "x"),
        "metadata": _origin("epithelium", _AS_RECORDED),
    }
    green = {"name": "membranes", "colormap": "green", "contrast_limits": (1, _WHITE)}
    magenta = {"name": "nuclei", "colormap": "magenta", "contrast_limits": (1, 45)}
    # napari selects the last layer: membranes, since the nuclei's hot pixel lies on a bright one.
    return [(nuclei, {**magenta, **shown}, "image"), (membranes, {**green, **shown}, "image")]


def noisy() -> list[Layer]:
    """An epithelium under photon noise, in 12 bits, and the original."""
    from napari_rednet.engine.degradations import add_noise
    from napari_rednet.engine.network import poisson_gaussian_std

    clean = _tensor(_epithelium() / _WHITE)
    std = poisson_gaussian_std(clean, gain=0.02, read_noise=0.02)
    degraded = add_noise(clean, std, _generator())
    shown, hidden = (_integers(100 + 3000 * x, np.uint16, _FULL) for x in (degraded, clean))
    return _pair("epithelium", "noisy epithelium", shown, hidden, "photon and read noise added")


def small() -> list[Layer]:
    """Membranes of living cells over time at half the resolution, and the original."""
    from napari_rednet.engine.degradations import resample

    clean = _read("membranes")
    rows, columns = (side // 2 for side in clean.shape[-2:])
    degraded = _integers(resample(_tensor(clean), (rows, columns)), np.uint16, _FULL)
    return _pair("membranes", "small membranes", degraded, clean, "half as many rows and columns")


def jpeg() -> list[Layer]:
    """An epithelium coded as JPEG of quality 10, and the original."""
    from napari_rednet.engine.degradations import code_jpeg

    clean = _integers(255 / _WHITE * _tensor(_epithelium()), np.uint8, 255)
    degraded = _integers(255 * code_jpeg(_tensor(clean / 255), 10), np.uint8, 255)
    return _pair("epithelium", "JPEG epithelium", degraded, clean, "8 bits, JPEG of quality 10")


def blurred() -> list[Layer]:
    """Confocal planes of a fluorescent grid as recorded, and the PSF of the microscope.

    They have 8 gray levels, too few for the restored image, so they are float32. The background is
    shown black, as is usual for fluorescence; half of the pixels are that.
    """
    recorded = _read("grid").astype(np.float32)
    origin = _origin("grid", _AS_RECORDED) | {SAMPLE: "blurred"}
    grid = {
        "name": "grid",
        "contrast_limits": (float(np.median(recorded)), float(recorded.max())),
        "scale": _GRID_SPACING,
        "units": _MICROMETRES,
        "axis_labels": ("z", "y", "x"),
        "metadata": origin,
    }
    psf = {
        "name": "PSF (a bead)",
        "scale": _BEAD_SPACING,
        "units": _MICROMETRES[1:],
        "axis_labels": ("y", "x"),
        "visible": False,
        "metadata": origin | {ROLE: PSF},
    }
    bead = (_read("bead").astype(np.float32) - _BEAD_BACKGROUND).clip(0)
    return [(recorded, grid, "image"), (bead, psf, "image")]


def holes() -> list[Layer]:
    """An epithelium with scratches and dead pixels, marked in a Labels layer; and the original."""
    from napari_rednet.engine.degradations import draw_mask

    clean, generator = _epithelium(), _generator()
    like = _tensor(clean)
    masks = [draw_mask(kind, like, generator, 0.5) for kind in ("scratches", "dead")]
    missing = (masks[0] | masks[1])[0, 0].numpy()
    degraded = np.where(missing, 255, clean).astype(clean.dtype)
    layers = _pair("epithelium", "scratched epithelium", degraded, clean, "pixels overwritten")
    marks = {"name": "missing", "opacity": 0.5, "axis_labels": ("y", "x"), "metadata": {ROLE: MASK}}
    layers.append((missing.astype(np.uint8), marks, "labels"))
    for _, options, _ in layers:
        options["metadata"][SAMPLE] = "holes"
    return layers


def _pair(
    source: str,
    name: str,
    degraded: npt.NDArray[Any],
    original: npt.NDArray[Any],
    changes: str,
) -> list[Layer]:
    """The degraded image, and the original over the same area in the same contrast, hidden."""
    common = {
        "axis_labels": ("t", "y", "x")[-original.ndim :],
        "contrast_limits": tuple(np.percentile(original, _SHOWN).tolist()),
    }
    shown = {"name": name, "metadata": _origin(source, changes)}
    hidden = {"name": f"{source}, original", "metadata": _origin(source, "a part")}
    placed = _placed(degraded.shape, original.shape)
    return [
        (degraded, {**shown, **common, **placed}, "image"),  # first: widgets offer it first
        (original, {**hidden, **common, "visible": False}, "image"),
    ]


def _placed(shape: Sequence[int], original: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """Scale and translation that put the borders of a smaller image on those of the original."""
    factors = tuple(old / new for old, new in zip(original, shape, strict=True))
    return {"scale": factors, "translate": tuple((factor - 1) / 2 for factor in factors)}


def _origin(name: str, changes: str) -> dict[str, str]:
    return {"source": _CREDITS[name], "changes": changes}


def _path(name: str) -> Path:
    with as_file(files("napari_rednet").joinpath(f"data/{name}.tif")) as path:
        return path


def _read(name: str) -> npt.NDArray[Any]:
    import tifffile

    array: npt.NDArray[Any] = tifffile.imread(_path(name))
    return array


def _epithelium() -> npt.NDArray[np.uint16]:
    membranes: npt.NDArray[np.uint16] = _read("epithelium")[0]
    return membranes[_WELL_EXPOSED]


def _tensor(image: npt.NDArray[Any]) -> Tensor:
    import torch

    planes = image.reshape(-1, 1, *image.shape[-2:])
    return torch.from_numpy(planes.astype(np.float32))


def _integers(image: Tensor, dtype: Any, highest: int) -> npt.NDArray[Any]:
    planes: npt.NDArray[Any] = image[:, 0].round().clamp(0, highest).numpy().astype(dtype)
    return planes[0] if len(planes) == 1 else planes


def _generator() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(0)
