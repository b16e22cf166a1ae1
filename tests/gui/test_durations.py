"""Times in words."""

import pytest

from napari_rednet.widgets.restore import run_control
from napari_rednet.widgets.restore.run_control import Pace, in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "a second"),
        (3.4, "3 seconds"),
        (23, "25 seconds"),
        (61, "a minute"),
        (200, "3 minutes"),
        (1260, "20 minutes"),
        (3600, "an hour"),
        (3 * 3600, "3 hours"),
    ],
)
def test_words(seconds, words):
    assert in_words(seconds) == words


def test_the_rest_takes_as_long_as_what_is_done(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_control.time, "monotonic", lambda: now[0])
    pace = Pace()
    assert pace.remaining_seconds(20, 100) is None
    now[0] += 0.5
    assert pace.remaining_seconds(30, 100) is None
    now[0] += 9.5
    assert pace.remaining_seconds(40, 100) == pytest.approx(30)
    assert pace.remaining_seconds(100, 100) == 0
