"""The napari widgets: the only part of the package that imports napari, magicgui and Qt."""

from napari_rednet.widgets.denoise import DenoiseWidget

__all__ = ["DenoiseWidget"]
