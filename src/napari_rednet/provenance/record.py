"""What is done to an image: a verb and its arguments, in values that JSON knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from napari_rednet.provenance.sources import Origin
from napari_rednet.tasks import VERBS


@dataclass(frozen=True)
class Call:
    """A restoration of an image, or of one of its planes.

    Parameters
    ----------
    verb : str
        The function of the package.
    source : Origin
        Of the image.
    arguments : mapping
        By the names of the function, in plain values: `noise` as a list with a mapping of the
        fields of a `NoiseModel` for each channel; `psf` as a mapping of `function` and `values`, or
        the fields of an `Origin`; `mask` as these fields and `planes`, its axes before Y and X.
    rgb : bool
        Whether the last axis of the image holds colours.
    alpha : bool
        Whether they come with transparency.
    plane : sequence of int, optional
        Where the plane lies along the axes before Y and X; all are restored if None.
    """

    verb: str
    source: Origin
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rgb: bool = False
    alpha: bool = False
    plane: tuple[int, ...] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The call in values that JSON knows; `from_record` takes it."""
        plane = None if self.plane is None else list(self.plane)
        return {**asdict(self), "plane": plane}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Call:
        """The call of a record, which may have been to JSON and back."""
        plane = None if record["plane"] is None else tuple(record["plane"])
        return cls(**{**record, "source": Origin(**record["source"]), "plane": plane})

    @property
    def has_rgb(self) -> bool:
        """Whether the verb is told of colours as such, and takes care of transparency."""
        return self.rgb and VERBS[self.verb].takes_rgb

    @property
    def changed(self) -> dict[str, Any]:
        """The arguments that are not as they are by default, in the order of the function."""
        defaults = VERBS[self.verb].options
        given = {name: self.arguments[name] for name in defaults if name in self.arguments}
        return {name: value for name, value in given.items() if value != defaults[name]}


def common_noise(noise: list[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The noise of all channels; None if they differ."""
    return noise[0] if all(level == noise[0] for level in noise) else None


def is_gaussian(noise: Mapping[str, float]) -> bool:
    """Whether a standard deviation says it all."""
    return all(value == 0 for name, value in noise.items() if name != "read_noise")
