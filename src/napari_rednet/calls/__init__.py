"""A restoration in words that can be run: recorded in plain values, as Python, as a command."""

from napari_rednet.calls.call import Call
from napari_rednet.calls.command_line import as_command_line
from napari_rednet.calls.origins import Origin, find_origin, read_array
from napari_rednet.calls.python import as_python

__all__ = ["Call", "Origin", "as_command_line", "as_python", "find_origin", "read_array"]
