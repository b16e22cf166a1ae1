"""Units of length and time: names in OME-Zarr, symbols in TIFF."""

from __future__ import annotations

_PREFIXES = {
    "yocto": "y", "zepto": "z", "atto": "a", "femto": "f", "pico": "p", "nano": "n", "micro": "µ",
    "milli": "m", "centi": "c", "deci": "d", "": "", "hecto": "h", "kilo": "k", "mega": "M",
    "giga": "G", "tera": "T", "peta": "P", "exa": "E", "zetta": "Z", "yotta": "Y",
}  # fmt: skip
_SYMBOLS = {
    **{f"{name}meter": f"{prefix}m" for name, prefix in _PREFIXES.items()},
    **{f"{name}second": f"{prefix}s" for name, prefix in _PREFIXES.items()},
    "angstrom": "Å", "inch": "in", "foot": "ft", "yard": "yd", "mile": "mi", "parsec": "pc",
    "minute": "min", "hour": "h", "day": "d",
}  # fmt: skip
# ImageJ and its users write the micrometre in many ways: with a micro sign, a Greek letter...
_SPELLINGS = {
    "um": "micrometer", "μm": "micrometer", "\\u00B5m": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "us": "microsecond", "μs": "microsecond", "sec": "second",
}  # fmt: skip
_NAMES = {
    **{symbol: name for name, symbol in _SYMBOLS.items()},
    **{name: name for name in _SYMBOLS},
    **_SPELLINGS,
}


def unit_name(unit: str | None) -> str | None:
    """The name of a unit in OME-Zarr, or None if it is none of length or time."""
    return _NAMES.get((unit or "").strip())


def unit_symbol(unit: str | None) -> str | None:
    """The symbol of a unit in OME-TIFF, or None if it has none."""
    return _SYMBOLS.get(unit_name(unit) or "")
