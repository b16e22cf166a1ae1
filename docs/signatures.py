"""Parameters that a docstring describes together get defaults of their own, not the first one's.

A griffe extension, for the reference of functions.
"""

from __future__ import annotations

from typing import Any

from griffe import DocstringSectionKind, Extension, Function


class Signatures(Extension):
    """Corrects what griffe reads of "model, device, out : As for `denoise`"."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Called by griffe for each function that it has loaded."""
        if func.docstring is None:
            return
        sections = func.docstring.parse("numpy", warnings=False)
        for section in sections:
            if section.kind is DocstringSectionKind.parameters:
                for described in section.value:
                    correct(described, func)
        func.docstring.parsed = sections


def correct(described: Any, func: Function) -> None:
    """Take the default from the signature, and no type that the docstring does not name."""
    types = [parameter.annotation for parameter in func.parameters]
    if any(described.annotation is annotation for annotation in types):
        described.annotation = None
    if described.name in func.parameters:
        described.value = func.parameters[described.name].default
