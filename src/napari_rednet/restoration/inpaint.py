"""Fill missing pixels, and find those of cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_rednet.arguments import as_image, check_options, check_out
from napari_rednet.execution import (
    Job,
    MaskedImage,
    Progress,
    Restoration,
    Steps,
    drain,
    is_dask,
)
from napari_rednet.execution.reading import by_range
from napari_rednet.masks import as_mask, broadcast_mask, defects_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_rednet.arguments import Memory, ModelLike
    from napari_rednet.engine.planes import PlaneLayout

_MOST_PLANES = 12


def inpaint(
    image: Any,
    mask: Any = None,
    *,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
    progress: bool | Progress = False,
    out: Any = None,
) -> Any:
    """Fill missing pixels of an image or a stack.

    Parameters
    ----------
    image : (..., Y, X) array
        As for `denoise`. What is masked in a masked array is missing as well.
    mask : (Y, X) or (..., Y, X) array of bool or int, optional
        What is missing: true, or not 0. Either one mask for all planes, or of the image's shape,
        with or without the channel axis; axes other than Y and X may have the length 1. If None,
        the dead and hot pixels and lines of the camera are found (`find_defects`).
    model, channel_axis, ensemble, tile, memory, device, progress, out :
        As for `denoise`.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape, dtype and intensity units; `out` if given. Known pixels are those
        of the image, bit by bit. A lazy dask array for a dask array without `out`. Non-finite
        pixels that the mask does not cover stay as they are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here, or the mask covers a whole plane; nothing has
        been computed then.
    ModelError, DeviceMemoryError
        As for `denoise`.

    References
    ----------
    .. [1] X. Mao, C. Shen, Y. Yang, "Image restoration using convolutional auto-encoders with
       symmetric skip connections", arXiv:1606.08921.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> clean = data.camera()[:128, :128]
    >>> mask = np.random.default_rng(0).random(clean.shape) < 0.5
    >>> restored = inpaint(np.where(mask, 0, clean), mask)
    >>> bool((restored == clean)[~mask].all())
    True
    """
    steps = inpaint_steps(
        image,
        mask,
        model=model,
        channel_axis=channel_axis,
        ensemble=ensemble,
        tile=tile,
        memory=memory,
        device=device,
        out=out,
    )
    return drain(steps, progress, "inpaint")


def inpaint_steps(image: Any, mask: Any = None, *, out: Any = None, **options: Any) -> Steps:
    """`inpaint`, step by step, as `denoise_steps` does for `denoise`."""
    restoration = prepare_inpaint(image, mask, **options)
    check_out(out, restoration.array, restoration.shape)
    return restoration.steps(out)


def prepare_inpaint(
    image: Any,
    mask: Any = None,
    *,
    model: ModelLike = "fast",
    channel_axis: int | None = None,
    ensemble: bool = False,
    tile: int | None = None,
    memory: Memory | None = None,
    device: str = "auto",
) -> Restoration:
    """Check the arguments of `inpaint`; nothing is computed yet, defects are not looked for."""
    array, layout = as_image(image, channel_axis)
    cover = None if mask is None else as_mask(mask, layout)
    if isinstance(array, MaskedImage):
        cover = _with_masked(array.mask, cover, layout)
        array = array.values
    options = check_options("inpaint", model, ensemble, tile, device, memory)
    job = Job(layout, options.inpainter, by_range, devices=options.devices)

    def find_mask() -> Any:
        return broadcast_mask(_defects(array, layout), layout) if cover is None else cover

    return Restoration(job, array, find_mask)


def _with_masked(masked: Any, cover: Any, layout: PlaneLayout) -> Any:
    """Combine the mask of a masked array with the given one; None if there is neither."""
    if not masked.any():
        return cover
    missing = as_mask(masked, layout, "the mask of image")
    return missing if cover is None else as_mask(missing | np.asarray(cover), layout)


def find_defects(image: Any, *, channel_axis: int | None = None) -> Any:
    """Find the dead and hot pixels and lines of a camera.

    A pixel is a defect if, in at least half of the planes, it differs from the pixels around it by
    more than noise and structures explain. Of long stacks, up to 12 planes are used.

    The argument `defects` of other functions repairs such pixels, but not lines, in each plane by
    itself; ``find_defects(image[t])`` shows those of a plane, with hits of cosmic rays.

    Parameters
    ----------
    image : (..., Y, X) array
        Image of any real dtype.
    channel_axis : int, optional
        Axis of the channels, each of which may come from a camera of its own.

    Returns
    -------
    mask : (Y, X) ndarray of bool, or (1, ..., C, ..., Y, X) if `channel_axis` is given
        The defects; with a channel axis, those of each channel, and axes of length 1 for the
        image's others. A lazy dask array for a dask array. `inpaint` takes it as it is.

    Examples
    --------
    >>> import numpy as np
    >>> frame = np.random.default_rng(0).poisson(100.0, (64, 64))
    >>> frame[20, 30] = 4000
    >>> np.argwhere(find_defects(frame)).tolist()
    [[20, 30]]
    """
    array, layout = as_image(image, channel_axis)
    return _defects(array, layout)


def _defects(array: Any, layout: PlaneLayout) -> Any:
    """The mask of `find_defects`; lazy for dask arrays."""
    known = (layout.channel, *layout.spatial_axes)
    shape = tuple(n if a in known else 1 for a, n in enumerate(layout.shape))
    if layout.channel is None:
        shape = layout.plane_shape
    if 0 in layout.shape:
        return np.zeros(shape, bool)
    channels = (_some_planes(array, layout, c) for c in range(layout.channels))
    if is_dask(array):
        import dask
        import dask.array as da

        lazy = [dask.delayed(defects_of)(list(planes)) for planes in channels]
        masks = da.stack([da.from_delayed(mask, layout.plane_shape, bool) for mask in lazy])
    else:
        masks = np.stack([defects_of(planes) for planes in channels])
    if layout.channel is None:
        return masks[0]
    place = sum(a < layout.channel for a in layout.spatial_axes)
    return np.moveaxis(masks, 0, place).reshape(shape)


def _some_planes(array: Any, layout: PlaneLayout, channel: int) -> Iterator[Any]:
    """Up to 12 planes of a channel, evenly spread, read one by one."""
    return (array[key.index] for key in layout.some_planes(channel, _MOST_PLANES))
