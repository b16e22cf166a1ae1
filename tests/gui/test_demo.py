"""The demo in napari."""

import napari
import numpy as np
import pytest

from napari_rednet.demo import show_demo
from napari_rednet.errors import RednetError
from napari_rednet.sample_data import chromosomes


@pytest.mark.slow
def test_the_demo_shows_before_and_after(make_napari_viewer, monkeypatch):
    viewers = []

    def open_viewer(title):
        viewers.append(make_napari_viewer(title=title))
        return viewers[0]

    monkeypatch.setattr(napari, "Viewer", open_viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    show_demo("cpu")
    before, after = viewers[0].layers
    np.testing.assert_array_equal(before.data, chromosomes())
    assert after.data.std() < before.data.std()
    np.testing.assert_array_equal(after.scale, before.scale)
    assert after.contrast_limits == before.contrast_limits
    assert any("Denoise" in name for name in viewers[0].window.dock_widgets)


def test_without_a_screen_the_demo_says_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RednetError, match="no screen"):
        show_demo("cpu")
