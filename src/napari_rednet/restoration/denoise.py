"""Remove noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_rednet.arguments import (
    NOISY,
    Noise,
    as_image,
    check_along,
    check_dtype,
    check_number,
    check_options,
    check_out,
    check_rgb,
    noise_per_channel,
    outlier_share,
)
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.color import COLORS, ColorMode
from napari_rednet.execution import Job, Progress, Repairs, Restoration, Samples, Steps, drain
from napari_rednet.execution.reading import guarded

if TYPE_CHECKING:
    from napari_rednet.arguments import Memory, ModelLike
    from napari_rednet.engine.planes import ChannelSettings


def denoise(
    image: Any,
    *,
    noise: Noise | Sequence[Noise] | None = None,
    strength: float = 1.0,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    along: int | None = None,
    rgb: bool = False,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    progress: bool | Progress = False,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """Remove noise from an image or a stack.

    Parameters
    ----------
    image : (..., Y, X) array
        Image of any real dtype: numpy, dask, zarr or memory-mapped. Axes other than Y, X and
        `channel_axis` (z, time, positions) are planes under one intensity normalisation and one
        noise model per channel, restored one by one unless `along` is given. What is masked in a
        masked array (`numpy.ma`) has no influence, and stays as it is. Tensors of torch are taken
        by their values.
    noise : float, NoiseModel, or a sequence of one of them per channel or colour, optional
        Standard deviation of Gaussian noise in image units, or a `NoiseModel`. If None, it
        is estimated from the image (`estimate_noise`). Noise of more than half of the range of a
        channel is told to the network as that, and the result tends to the channel's mean.
    strength : float
        Factor on the standard deviation of the noise: above 1 smooths more, below 1 less.
    model : str, path or Model
        'fast', a RED20 of stride 2, or another model that `list_models` tells; or a file.
    channel_axis : int, optional
        Axis of the channels (or colours), which may have different ranges and noise.
    along : int, optional
        Axis of planes that show the same objects, z or time: each plane is restored with the help
        of the two before it and the two after it, as far as there are. They are averaged where
        they show the same, and the network is told how much less noise the average has; drift of
        up to 16 pixels a plane is undone. The more alike, the more is gained; what moves or is in
        one plane only is restored as by itself. If None, each plane is restored by itself.
    rgb : bool
        Whether the channels (of the last axis, if `channel_axis` is not given) are red, green, blue
        and perhaps transparency. Their mean and two differences are restored together, which
        leaves less noise than each by itself (1.2 dB on photographs with equal noise); a colour
        with a third of the noise of another, or less, is better off by itself. Transparency stays.
    defects : {'repair', 'keep'}
        What is done to hot and dead pixels and hits of cosmic rays, which the network would spread.
        'repair' replaces them by the mean of their neighbours, in the result as well: single
        pixels, two that touch, and very bright streaks one or two pixels wide, if neither noise nor
        optics explain them. Their number is logged (level INFO); ``find_defects(image[t])`` shows
        those of a single plane. 'keep' is for images in which single pixels may be real.
    ensemble : bool
        Average over the 8 orientations of the image: a little better, 8 times slower.
    tile : int, optional
        Largest side, in pixels, of what is processed at once. It changes memory and speed, not
        the result. If None, it is chosen from the free memory.
    memory : int or str, optional
        Limit for the main memory of the process, libraries included: bytes, or '1.5GB'. To keep
        it, `out` must not be in memory either: give a zarr array, for example.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'mps'}
        Where to compute.
    progress : bool or callable
        True shows a progress bar; a callable receives (pixels done, pixels in all).
    dtype : dtype, optional
        Of the result, if it is to be another than the image's: 'float32' keeps what lies between
        the integers of an image, as the means of few photons do.
    out : array, optional
        Where to write the result: any writable array of the image's shape (numpy, memmap, zarr)
        that does not share memory, or a file, with the image. It is filled band by band, so that
        memory stays bounded.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape, intensity units and, unless it is given, dtype; `out` if given. A
        lazy dask array for a dask array without `out`, a masked one, with the same mask, for a
        masked array without `out`. Non-finite pixels stay as they are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here; nothing has been computed then.
    ModelError
        If the model is unknown, damaged, or made for another task.
    DeviceMemoryError
        If the device has too little memory even for the smallest tile.
    ReadError
        If a part of the image cannot be read, or its file is cut off meanwhile.

    Warns
    -----
    UserWarning
        If the noise exceeds the range of the image, as in another unit.

    References
    ----------
    .. [1] X. Mao, C. Shen, Y. Yang, "Image restoration using very deep convolutional
       encoder-decoder networks with symmetric skip connections", NIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data, metrics
    >>> clean = data.camera()[:128, :128].astype(float)
    >>> noisy = clean + np.random.default_rng(0).normal(0, 25, clean.shape)
    >>> restored = denoise(noisy, noise=25)
    >>> before = metrics.peak_signal_noise_ratio(clean, noisy, data_range=255)
    >>> after = metrics.peak_signal_noise_ratio(clean, restored, data_range=255)
    >>> bool(after > before + 8)
    True
    """
    steps = denoise_steps(
        image,
        noise=noise,
        strength=strength,
        model=model,
        channel_axis=channel_axis,
        along=along,
        rgb=rgb,
        defects=defects,
        ensemble=ensemble,
        tile=tile,
        memory=memory,
        device=device,
        dtype=dtype,
        out=out,
    )
    return drain(steps, progress, "denoise")


def denoise_steps(
    image: Any, *, out: Any = None, repairs: Repairs | None = None, **options: Any
) -> Steps:
    """`denoise`, step by step: arguments are checked at once, the work is done by iterating.

    Parameters
    ----------
    image, out, **options
        As of `denoise`, without `progress`.
    repairs : Repairs, optional
        Its `count` is increased by the pixels that are repaired.

    Returns
    -------
    steps : generator
        Yields (pixels done, pixels in all) and returns the restored image. Closing it cancels.
    """
    restoration = prepare_denoise(image, **options)
    check_out(out, restoration.array, restoration.shape, restoration.job.dtype)
    return restoration.steps(out, repairs)


def prepare_denoise(
    image: Any,
    *,
    noise: Noise | Sequence[Noise] | None = None,
    strength: float = 1.0,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    along: int | None = None,
    rgb: bool = False,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    dtype: Any = None,
) -> Restoration:
    """Check the arguments of `denoise`; nothing is computed yet."""
    array, layout = as_image(image, check_rgb(image, rgb, channel_axis))
    noises = noise_per_channel(noise, COLORS if rgb else layout.channels)
    check_number("strength", strength)
    axis = check_along(along, layout)
    is_stack = axis is not None
    options = check_options("denoise", model, ensemble, tile, device, memory, is_stack=is_stack)

    def settings(samples: Samples, channel: int) -> ChannelSettings:
        given = None if noises is None else noises[channel]
        return denoise_settings(samples, given, float(strength))

    color = ColorMode.OPPONENT if rgb else None
    job = Job(
        layout,
        options.restorer,
        settings,
        color=color,
        devices=options.devices,
        outlier_share=outlier_share(defects, NOISY),
        dtype=check_dtype(dtype, image),
        along=axis,
        planes=options.model.network.config.planes,
    )
    return Restoration(job, array)


def denoise_settings(
    samples: Samples, noise: NoiseModel | None, strength: float
) -> ChannelSettings:
    """Settings of a channel for denoising; the noise is estimated from the samples if None."""
    from napari_rednet.engine.planes import ChannelSettings

    model = samples.noise if noise is None else samples.told(noise)
    settings = ChannelSettings(samples.range.above(samples.dark), model, strength)
    return guarded(settings, samples) if noise is not None or strength > 1 else settings
