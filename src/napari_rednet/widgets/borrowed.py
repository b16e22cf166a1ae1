"""Settings of napari that a window changes for a while and puts back."""

from __future__ import annotations

from typing import Any


class Borrowed:
    """Remembers what attributes were before they were set.

    What the user has changed in the meantime stays as the user wants it.
    """

    def __init__(self) -> None:
        self._settings: dict[tuple[int, str], _Setting] = {}

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute that can be put back; it may be set again and again."""
        setting = self._settings.setdefault((id(owner), name), _Setting(owner, name))
        setting.change(value)

    def give_back(self) -> None:
        """Put everything back as it was, the last first."""
        for setting in reversed(self._settings.values()):
            setting.put_back()
        self._settings.clear()


class _Setting:
    """An attribute: what it was, and what it was set to."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name  # kept alive, so that its id stays its own
        self._before = self._ours = getattr(owner, name)

    def change(self, value: Any) -> None:
        setattr(self._owner, self._name, value)
        # As it is kept there, which may be another type.
        self._ours = getattr(self._owner, self._name)

    def put_back(self) -> None:
        if getattr(self._owner, self._name) == self._ours:
            setattr(self._owner, self._name, self._before)
