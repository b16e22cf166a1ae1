"""The functions with napari's types, for magicgui, and for plugins that chain functions.

They take and give the data of layers, and restore all of it at once; `napari_rednet` has the same
functions with all their options.

>>> from magicgui import magicgui  # doctest: +SKIP
>>> viewer.window.add_dock_widget(magicgui(functions.denoise))  # doctest: +SKIP
"""

from typing import Literal

from napari.types import ImageData, LabelsData


def denoise(
    image: ImageData, strength: float = 1.0, model: str = "fast", *, ensemble: bool = False
) -> ImageData:
    """Remove noise; its level is estimated.

    Parameters
    ----------
    image : (..., Y, X) array
        Image or stack; each plane is restored by itself.
    strength : float
        Factor on the noise: above 1 smooths more.
    model : str
        'fast', or another model that `napari_rednet.list_models` tells.
    ensemble : bool
        Average over the 8 orientations of the image: a little better, 8 times slower.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape and dtype.
    """
    from napari_rednet.restoration.denoise import denoise as function

    return ImageData(function(image, strength=strength, model=model, ensemble=ensemble))


def deblur(
    image: ImageData,
    psf: ImageData,
    strength: float = 1.0,
    iterations: int = 8,
    center: Literal["array", "mass"] = "array",
) -> ImageData:
    """Undo the blur that a PSF tells.

    Parameters
    ----------
    image : (..., Y, X) array
        Image or stack; each plane is restored by itself.
    psf : (Y, X) array
        The image of a point.
    strength : float
        Factor on the noise: above 1 smooths more.
    iterations : int
        How often data and prior take turns.
    center : {'array', 'mass'}
        Where in the PSF the point is: in the middle, or at the centre of mass.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape and dtype.
    """
    from napari_rednet.restoration.deblur import deblur as function

    return ImageData(function(image, psf, strength=strength, iterations=iterations, center=center))


def super_resolve(image: ImageData, scale: Literal[2, 3, 4] = 2, model: str = "fast") -> ImageData:
    """Enlarge along Y and X.

    Parameters
    ----------
    image : (..., Y, X) array
        Image or stack.
    scale : {2, 3, 4}
        How many pixels each pixel becomes along both axes.
    model : str
        As for `denoise`.

    Returns
    -------
    enlarged : (..., scale * Y, scale * X) array
        Of the image's dtype.
    """
    from napari_rednet.restoration.super_resolve import super_resolve as function

    return ImageData(function(image, scale, model=model))


def deblock(image: ImageData, model: str = "fast") -> ImageData:
    """Remove the blocks and ringing of JPEG coding.

    Parameters
    ----------
    image : (..., Y, X) array
        Image or stack that was coded as JPEG before.
    model : str
        As for `denoise`.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape and dtype.
    """
    from napari_rednet.restoration.deblock import deblock as function

    return ImageData(function(image, model=model))


def inpaint(image: ImageData, mask: LabelsData, model: str = "fast") -> ImageData:
    """Fill what is painted.

    Parameters
    ----------
    image : (..., Y, X) array
        Image or stack.
    mask : (Y, X) or (..., Y, X) array of int
        What is missing: not 0.
    model : str
        As for `denoise`.

    Returns
    -------
    restored : (..., Y, X) array
        Of the image's shape and dtype; known pixels as they are.
    """
    from napari_rednet.restoration.inpaint import inpaint as function

    return ImageData(function(image, mask, model=model))
