"""Times in words, as exact as they are known."""

from __future__ import annotations

import time

_LEAST_SECONDS = 1.0


def in_words(seconds: float) -> str:
    """A time such as "25 seconds", "4 minutes", "2 hours", rounded as estimates are."""
    if seconds < 1.5:
        return "a second"
    if seconds < 55:
        return f"{_rounded(seconds)} seconds"
    if seconds < 90:
        return "a minute"
    if seconds < 55 * 60:
        return f"{_rounded(seconds / 60)} minutes"
    if seconds < 90 * 60:
        return "an hour"
    return f"{_rounded(seconds / 3600)} hours"


def _rounded(number: float) -> int:
    """To fives above ten: nobody knows it better."""
    return round(number) if number <= 10 else 5 * round(number / 5)


class Pace:
    """How fast work goes on, by what is reported of it."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def remaining_seconds(self, done: float, total: float) -> float | None:
        """How long the rest will take; None as long as too little is known."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        begun, before = self._first
        if done <= before or now - begun < _LEAST_SECONDS:
            return None
        return (now - begun) * (total - done) / (done - before)
