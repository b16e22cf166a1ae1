"""Records of restorations that can be repeated: as plain values, in Python, as a command."""

from napari_rednet.provenance.record import Call, Crop, Origin, find_origin, read_array
from napari_rednet.provenance.scripts import as_command_line, as_python

__all__ = ["Call", "Crop", "Origin", "as_command_line", "as_python", "find_origin", "read_array"]
