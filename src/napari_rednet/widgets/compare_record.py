"""What the metadata of a result says: its source, its noise, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari.layers import Image

from napari_rednet.engine.noise import NoiseModel

_RECORD = "napari_rednet"
_SETTINGS = ("strength", "ensemble", "device")


def source_of(layer: Image | None, layers: Sequence[Image]) -> Image | None:
    """The layer that a result was made from, if it is still among `layers`."""
    name = _record(layer).get("source")
    named = [other for other in layers if other.name == name and other is not layer]
    return named[-1] if named else None


def noise_of(layer: Image | None) -> list[NoiseModel] | None:
    """The noise of each channel that a layer was denoised with; None if it was not."""
    noise = _record(layer).get("noise")
    if not noise or _record(layer).get("verb") != "denoise":
        return None
    return [NoiseModel(**n) if isinstance(n, Mapping) else n for n in noise]


def is_denoised(layer: Image) -> bool:
    """Whether noise was removed from a layer, as far as is known: it may be another's work."""
    return bool(_record(layer).get("verb", "denoise") == "denoise")


def settings_of(layer: Image) -> dict[str, Any]:
    """Arguments of `denoise` that made a layer, the noise apart."""
    record = _record(layer)
    # A model from a file is named by its path in the call.
    model = record.get("call", {}).get("arguments", {}).get("model", record.get("model", "fast"))
    return {"model": model, **{name: record[name] for name in _SETTINGS if name in record}}


def _record(layer: Image | None) -> Mapping[str, Any]:
    record: Mapping[str, Any] = {} if layer is None else layer.metadata.get(_RECORD, {})
    return record
