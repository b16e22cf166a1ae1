"""Enlarge images, with the detail that the network restores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_rednet.arguments import (
    SHARP,
    as_image,
    check_options,
    check_out,
    check_rgb,
    check_scale,
    outlier_share,
)
from napari_rednet.engine.color import ColorMode
from napari_rednet.execution import Job, Progress, Repairs, Restoration, Steps, drain
from napari_rednet.execution.reading import by_range

if TYPE_CHECKING:
    from napari_rednet.arguments import Memory, ModelLike


def super_resolve(
    image: Any,
    scale: int = 2,
    *,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    rgb: bool = False,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    progress: bool | Progress = False,
    out: Any = None,
) -> Any:
    """Enlarge an image or a stack in Y and X.

    The models undo the antialiased bicubic reduction of sharp images of little noise. Denoise
    noisy ones first.

    Parameters
    ----------
    image : (..., Y, X) array
        Image of any real dtype: numpy, dask, zarr or memory-mapped. Axes other than Y, X and
        `channel_axis` are planes, enlarged one by one under one intensity normalisation per
        channel.
    scale : {2, 3, 4}
        How many pixels a pixel becomes along Y and along X. One model does all three.
    model : str, path or Model
        'fast', a RED20 of stride 2, or another model that `list_models` tells; or a file.
    channel_axis : int, optional
        Axis of the channels, each of which is enlarged by itself.
    rgb : bool
        Whether the channels (of the last axis, if `channel_axis` is not given) are red, green, blue
        and perhaps transparency. The network restores their luminance; chroma and transparency
        are enlarged bicubically.
    defects : {'repair', 'keep'}
        What is done to hot and dead pixels before the image is enlarged, as for `denoise`. Since
        single pixels of sharp images may be detail, the threshold is higher: three quarters of the
        range of the image.
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
    out : array, optional
        Where to write the result: any writable array of the result's shape (numpy, memmap, zarr).
        It is filled band by band, so that memory stays bounded.

    Returns
    -------
    enlarged : (..., scale * Y, scale * X) array
        Of the image's dtype and intensity units; `out` if given. A lazy dask array for a dask
        array without `out`. A pixel that is not finite becomes ``scale`` x ``scale`` of them.
        Pixel (0, 0) of the image covers the first ``scale`` x ``scale`` pixels of the result, whose
        first one therefore lies ``(1 - scale) / (2 * scale)`` image pixels from it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here; nothing has been computed then.
    ModelError
        If the model is unknown, damaged, or made for another task.
    DeviceMemoryError
        If the device has too little memory even for the smallest tile.

    References
    ----------
    .. [1] X. Mao, C. Shen, Y. Yang, "Image restoration using very deep convolutional
       encoder-decoder networks with symmetric skip connections", NIPS 2016.

    Examples
    --------
    >>> from skimage import data, metrics, transform
    >>> clean = data.camera()[:128, :128]
    >>> small = transform.rescale(clean, 0.5, order=3, anti_aliasing=True)
    >>> super_resolve(small, 2).shape
    (128, 128)
    """
    steps = super_resolve_steps(
        image,
        scale,
        model=model,
        channel_axis=channel_axis,
        rgb=rgb,
        defects=defects,
        ensemble=ensemble,
        tile=tile,
        memory=memory,
        device=device,
        out=out,
    )
    return drain(steps, progress, "super-resolve")


def super_resolve_steps(
    image: Any,
    scale: int = 2,
    *,
    out: Any = None,
    repairs: Repairs | None = None,
    **options: Any,
) -> Steps:
    """`super_resolve`, step by step, as `denoise_steps` does for `denoise`."""
    restoration = prepare_super_resolve(image, scale, **options)
    check_out(out, restoration.array, restoration.shape)
    return restoration.steps(out, repairs)


def prepare_super_resolve(
    image: Any,
    scale: int = 2,
    *,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    rgb: bool = False,
    defects: str = "repair",
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
) -> Restoration:
    """Check the arguments of `super_resolve`; nothing is computed yet."""
    factor = check_scale(scale)
    array, layout = as_image(image, check_rgb(image, rgb, channel_axis))
    options = check_options("super_resolve", model, ensemble, tile, device, memory)
    color = ColorMode.LUMINANCE if rgb else None
    job = Job(
        layout,
        options.restorer,
        by_range,
        factor,
        color,
        options.devices,
        outlier_share(defects, SHARP),
    )
    return Restoration(job, array)
