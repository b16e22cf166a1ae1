"""The napari widgets; nothing else of the package imports napari or Qt."""

from napari_rednet.widgets.batch import BatchWidget
from napari_rednet.widgets.compare import CompareWidget
from napari_rednet.widgets.finetuning import FineTuneWidget
from napari_rednet.widgets.models import ModelsWidget
from napari_rednet.widgets.restore import (
    DeblockWidget,
    DeblurWidget,
    DenoiseWidget,
    InpaintWidget,
    SuperResolveWidget,
)

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
