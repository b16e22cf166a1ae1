"""Undo a known blur."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.arguments import (
    NOISY,
    Noise,
    as_image,
    check_count,
    check_dtype,
    check_number,
    check_options,
    check_out,
    noise_per_channel,
    outlier_share,
)
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import Job, Progress, Repairs, Restoration, Samples, Steps, drain
from napari_rednet.execution.reading import guarded
from napari_rednet.psf import Center, as_psf, center_remark, reach_remark, rim_remark

if TYPE_CHECKING:
    from napari_rednet.arguments import Memory, ModelLike
    from napari_rednet.engine.planes import ChannelSettings

logger = logging.getLogger(__name__)


def deblur(
    image: Any,
    psf: Any,
    *,
    center: Center = "array",
    noise: Noise | Sequence[Noise] | None = None,
    strength: float = 1.0,
    iterations: int = 8,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    progress: bool | Progress = False,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """Undo a known blur, and remove the noise.

    Parameters
    ----------
    image : (..., Y, X) array
        As for `denoise`. With a PSF of two axes, each plane is deblurred by itself; with one of
        three, each volume, whose planes lie along the last axis before Y and X that is not that of
        channels.
    psf : (H, W) or (D, H, W) array
        Point spread function: the image of a point, non-negative, of any scale, not larger
        than a plane, its background subtracted; or such a stack, with the same distance of planes
        as the image, reaching no further than the image is large. `napari_rednet.psf` generates
        some.
    center : {'array', 'mass'}
        Where in `psf` the point is: in the middle of the array, as in SciPy and scikit-image, which
        lies between pixels if a side is even; or at its centre of mass, which suits a bead that was
        cut out by hand. A warning is logged if both are more than half a pixel apart.
    noise : float, NoiseModel, or a sequence of one of them per channel, optional
        As for `denoise`.
    strength : float
        Factor on the standard deviation of the noise: above 1 smooths more, below 1 sharpens
        more.
    iterations : int
        How often the data term and the prior, a denoiser, are applied in turn.
    model : str, path or Model
        The denoising model that is the prior.
    channel_axis, defects, ensemble, memory, device, progress, dtype, out :
        As for `denoise`.
    tile : int, optional
        Side in pixels of the blocks that large planes, or volumes, are processed in. They overlap,
        and join without a visible seam, but not bit by bit.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape, intensity units and, unless it is given, dtype; `out` if given. A
        lazy dask array for a dask array without `out`, of a block for each volume if the PSF has
        three axes. Non-finite pixels stay as they are; around them, the result is that of an image
        that ends there.

    Raises
    ------
    TypeError, ValueError, ModelError, DeviceMemoryError
        As for `denoise`.

    Warns
    -----
    UserWarning
        If `psf` does not fall to 0 at its rim, as if its background had not been subtracted.

    Notes
    -----
    With a PSF of three axes, and noise that has a share of photons (`gain` above 0), the result has
    no values below that without light (`offset`), as there is no light below zero. This restores
    much of what the microscope does not transmit along Z.

    References
    ----------
    .. [1] K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image
       restoration with deep denoiser prior", IEEE TPAMI 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> from skimage import data, metrics
    >>> from napari_rednet import psf
    >>> clean = data.camera()[100:228, 200:328].astype(float)
    >>> blurred = ndimage.convolve(clean, psf.gaussian(1.6), mode="nearest")
    >>> noisy = blurred + np.random.default_rng(0).normal(0, 2, clean.shape)
    >>> restored = deblur(noisy, psf.gaussian(1.6), noise=2)
    >>> before = metrics.peak_signal_noise_ratio(clean, noisy, data_range=255)
    >>> after = metrics.peak_signal_noise_ratio(clean, restored, data_range=255)
    >>> bool(after > before + 2)
    True
    """
    steps = deblur_steps(
        image,
        psf,
        center=center,
        noise=noise,
        strength=strength,
        iterations=iterations,
        model=model,
        channel_axis=channel_axis,
        defects=defects,
        ensemble=ensemble,
        tile=tile,
        memory=memory,
        device=device,
        dtype=dtype,
        out=out,
    )
    return drain(steps, progress, "deblur")


def deblur_steps(
    image: Any, psf: Any, *, out: Any = None, repairs: Repairs | None = None, **options: Any
) -> Steps:
    """`deblur`, step by step, as `denoise_steps` does for `denoise`."""
    restoration = prepare_deblur(image, psf, **options)
    check_out(out, restoration.array, restoration.shape, restoration.job.dtype)
    _tell_what_is_odd(psf, options.get("center", "array"), restoration.job)
    return restoration.steps(out, repairs)


def prepare_deblur(
    image: Any,
    psf: Any,
    *,
    center: Center = "array",
    noise: Noise | Sequence[Noise] | None = None,
    strength: float = 1.0,
    iterations: int = 8,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    dtype: Any = None,
) -> Restoration:
    """Check the arguments of `deblur`; nothing is computed yet."""
    array, layout = as_image(image, channel_axis)
    depth = _depth_axis(psf, layout)
    shape = layout.plane_shape if depth is None else (layout.shape[depth], *layout.plane_shape)
    kernel = as_psf(psf, shape, center)
    noises = noise_per_channel(noise, layout.channels)
    check_number("strength", strength)
    turns = check_count("iterations", iterations)
    options = check_options("denoise", model, ensemble, tile, device, memory)

    def settings(samples: Samples, channel: int) -> ChannelSettings:
        given = None if noises is None else noises[channel]
        return _deblur_settings(samples, given, float(strength))

    make = options.deblurrer if depth is None else options.volume_deblurrer
    return Restoration(
        Job(
            layout,
            partial(make, kernel, turns),
            settings,
            devices=options.devices,
            outlier_share=outlier_share(defects, NOISY),
            dtype=check_dtype(dtype, image),
            depth=depth,
        ),
        array,
    )


def _depth_axis(psf: Any, layout: PlaneLayout) -> int | None:
    """The axis of the planes of a volume, for a PSF of three axes; None for one of two."""
    if np.ndim(psf) != 3:
        return None
    if layout.depth_axis is None:
        raise ValueError(
            f"psf has three axes, of shape {np.shape(psf)}, and the image of shape {layout.shape} "
            "has no planes along Z; use its sharpest plane, psf[z]"
        )
    return layout.depth_axis


def _deblur_settings(
    samples: Samples, noise: NoiseModel | None, strength: float
) -> ChannelSettings:
    from napari_rednet.engine.planes import ChannelSettings

    model = samples.noise if noise is None else samples.told(noise)
    values = np.concatenate([w[np.isfinite(w)].astype(np.float64) for w in samples])
    level = _rms(model.std(values)) if len(values) else 0.0
    settings = ChannelSettings(samples.range, model, strength, noise_level=level)
    return guarded(settings, samples) if noise is not None or strength > 1 else settings


def _rms(std: npt.NDArray[np.floating]) -> float:
    """Root mean square, of numbers whose squares may overflow as well."""
    largest = float(std.max())
    return largest * float(np.mean(np.square(std / largest))) ** 0.5 if largest else 0.0


def _tell_what_is_odd(psf: Any, center: str, job: Job) -> None:
    odd_center, odd_rim = center_remark(psf, center), rim_remark(psf)
    depth, plane = job.depth, job.layout.plane_shape
    shape = plane if depth is None else (job.layout.shape[depth], *plane)
    for remark in filter(None, (odd_center, reach_remark(psf, shape))):
        logger.warning(remark)
    if odd_rim:
        warnings.warn(odd_rim, stacklevel=4)
