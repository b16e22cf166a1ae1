"""The napari widgets; nothing else of the package imports napari or Qt."""

from napari_rednet.widgets.batch import BatchWidget
from napari_rednet.widgets.compare import CompareWidget
from napari_rednet.widgets.deblock import DeblockWidget
from napari_rednet.widgets.deblur import DeblurWidget
from napari_rednet.widgets.denoise import DenoiseWidget
from napari_rednet.widgets.fine_tune import FineTuneWidget
from napari_rednet.widgets.inpaint import InpaintWidget
from napari_rednet.widgets.models import ModelsWidget
from napari_rednet.widgets.super_resolve import SuperResolveWidget

__all__ = [
    "BatchWidget",
    "CompareWidget",
    "DeblockWidget",
    "DeblurWidget",
    "DenoiseWidget",
    "FineTuneWidget",
    "InpaintWidget",
    "ModelsWidget",
    "SuperResolveWidget",
]
