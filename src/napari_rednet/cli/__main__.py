"""``python -m napari_rednet.cli``."""

from napari_rednet.cli import app

app()
