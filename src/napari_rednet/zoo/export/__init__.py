"""Models for other programs: a bare ONNX graph, or a package for bioimage.io."""

from napari_rednet.zoo.export.writing import export_model

__all__ = ["export_model"]
