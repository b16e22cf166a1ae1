"""Remove the blocks and ringing of JPEG coding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_rednet.arguments import (
    SHARP,
    as_image,
    check_options,
    check_out,
    check_rgb,
    outlier_share,
)
from napari_rednet.engine.color import ColorMode
from napari_rednet.execution import Job, Progress, Repairs, Restoration, Steps, drain
from napari_rednet.execution.reading import as_coded, by_range

if TYPE_CHECKING:
    from napari_rednet.arguments import Memory, ModelLike


def deblock(
    image: Any,
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
    """Remove JPEG artefacts from an image or a stack.

    One model handles all JPEG qualities, which need not be known. The image may have been cropped
    since it was coded, but not resized.

    Parameters
    ----------
    image : (..., Y, X) array
        As for `denoise`. The range of 8-bit images is taken to be 0 to 255; that of others is
        measured.
    model, channel_axis, ensemble, tile, memory, device, progress, out :
        As for `denoise`.
    defects : {'repair', 'keep'}
        As for `super_resolve`. JPEG images hardly have such pixels, since coding spreads them over
        a block.
    rgb : bool
        Whether the channels (of the last axis, if `channel_axis` is not given) are red, green, blue
        and perhaps transparency. The network restores their luminance and leaves chroma and
        transparency as they are.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape, dtype and intensity units; `out` if given. A lazy dask array for
        a dask array without `out`. Non-finite pixels stay as they are.

    Raises
    ------
    TypeError, ValueError, ModelError, DeviceMemoryError
        As for `denoise`.

    References
    ----------
    .. [1] X. Mao, C. Shen, Y. Yang, "Image restoration using convolutional auto-encoders with
       symmetric skip connections", arXiv:1606.08921.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skimage import data, metrics
    >>> clean = data.camera()[:128, :256]
    >>> file = io.BytesIO()
    >>> Image.fromarray(clean).save(file, "JPEG", quality=10)
    >>> coded = np.asarray(Image.open(file))
    >>> before = metrics.peak_signal_noise_ratio(clean, coded)
    >>> after = metrics.peak_signal_noise_ratio(clean, deblock(coded))
    >>> bool(after > before + 0.5)
    True
    """
    steps = deblock_steps(
        image,
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
    return drain(steps, progress, "deblock")


def deblock_steps(
    image: Any, *, out: Any = None, repairs: Repairs | None = None, **options: Any
) -> Steps:
    """`deblock`, step by step, as `denoise_steps` does for `denoise`."""
    restoration = prepare_deblock(image, **options)
    check_out(out, restoration.array, restoration.shape)
    return restoration.steps(out, repairs)


def prepare_deblock(
    image: Any,
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
    """Check the arguments of `deblock`; nothing is computed yet."""
    array, layout = as_image(image, check_rgb(image, rgb, channel_axis))
    options = check_options("deblock", model, ensemble, tile, device, memory)
    settings = as_coded if array.dtype == np.uint8 else by_range
    color = ColorMode.LUMINANCE if rgb else None
    job = Job(
        layout,
        options.restorer,
        settings,
        color=color,
        devices=options.devices,
        outlier_share=outlier_share(defects, SHARP),
    )
    return Restoration(job, array)
