"""A call of a restoration function, in JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from napari_rednet.provenance.sources import Origin
from napari_rednet.tasks import VERBS


@dataclass(frozen=True)
class Call:
    """A restoration of an image, or of one of its planes.

    `verb` is the function and `arguments` are its own, as plain values: `noise` is a list with the
    fields of a `NoiseModel` for each channel; `psf` has `function` and `values`, or the fields of
    an `Origin`; `mask` has these fields and `planes`, its shape before Y and X. `plane` is the
    index of the plane along the axes before Y and X; None if all are restored.
    """

    verb: str
    source: Origin
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rgb: bool = False
    alpha: bool = False
    plane: tuple[int, ...] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The call in JSON types; `from_record` takes it."""
        plane = None if self.plane is None else list(self.plane)
        return {**asdict(self), "plane": plane}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Call:
        """The call from its record, which may have been to JSON and back."""
        plane = None if record["plane"] is None else tuple(record["plane"])
        return cls(**{**record, "source": Origin(**record["source"]), "plane": plane})

    @property
    def has_rgb(self) -> bool:
        """True if the image is RGB and the verb takes `rgb`, and so handles transparency itself."""
        return self.rgb and VERBS[self.verb].takes_rgb

    @property
    def changed(self) -> dict[str, Any]:
        """The arguments that differ from the defaults, in the order of the function."""
        defaults = VERBS[self.verb].options
        given = {name: self.arguments[name] for name in defaults if name in self.arguments}
        return {name: value for name, value in given.items() if value != defaults[name]}


def common_noise(noise: list[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The noise that all channels share; None if they differ."""
    return noise[0] if all(level == noise[0] for level in noise) else None


def is_gaussian(noise: Mapping[str, float]) -> bool:
    """True if a standard deviation describes the noise."""
    return all(value == 0 for name, value in noise.items() if name != "read_noise")
