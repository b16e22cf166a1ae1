"""The napari widgets; nothing else of the package imports napari or Qt."""

from napari_rednet.widgets.deblur import DeblurWidget
from napari_rednet.widgets.denoise import DenoiseWidget

__all__ = ["DeblurWidget", "DenoiseWidget"]
