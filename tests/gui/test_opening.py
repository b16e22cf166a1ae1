"""Windows open before torch has been imported, and find out in the background what needs it."""

import json
import os
import subprocess
import sys

# In a process of its own, since torch is imported here; in one for all, since that takes seconds.
OPEN = """
import json
import os
import sys
import numpy
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from superqt.utils import WorkerBase
from napari_rednet.widgets import BatchWidget, DenoiseWidget, FineTuneWidget, ModelsWidget
from napari_rednet.widgets import batch, finetuning, models
from napari_rednet.widgets.restore import base

STATES = {
    DenoiseWidget: lambda w: [w.common.model.current_choice, w.common.device.choices[-1]],
    BatchWidget: lambda w: w.run_button.isEnabled(),
    FineTuneWidget: lambda w: w.start_button.isEnabled(),
    ModelsWidget: lambda w: [w.table.rowCount() > 0, w.add_button.isEnabled()],
}
SAID = {
    DenoiseWidget: lambda w: w.status.value,
    BatchWidget: lambda w: w.text.text(),
    FineTuneWidget: lambda w: w.way.text(),
    ModelsWidget: lambda w: w.card.toPlainText(),
}

def opened(kind):
    viewer = ViewerModel()
    viewer.add_image(numpy.eye(4))
    return kind() if kind is ModelsWidget else kind(viewer)

def tell(widget):
    loaded = ["torch" in sys.modules, "matplotlib" in sys.modules]
    told.append([type(widget).__name__, *loaded, STATES[type(widget)](widget)])
    said.append(SAID[type(widget)](widget))

modules, told, said = (base, batch, finetuning, models), [], []
real = base.compute_in_background
for module in modules:
    module.compute_in_background = lambda *arguments: None
kept = []
for kind in STATES:
    kept.append(opened(kind))
    tell(kept[-1])
for module in modules:
    module.compute_in_background = real
for kind in STATES:
    kept.append(opened(kind))
    while WorkerBase._worker_set:
        app.processEvents()
    app.processEvents()
    tell(kept[-1])
print(json.dumps([told, said]), flush=True)
os._exit(0)  # at a usual end, Qt may destroy the application before its widgets
"""


def test_opening_waits_neither_for_torch_nor_for_matplotlib():
    command = [sys.executable, "-c", OPEN]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    told, said = json.loads(done.stdout)
    at_once, in_the_end = told[:4], told[4:]
    assert [told[:3] for told in at_once] == [
        [name, False, False]
        for name in ("DenoiseWidget", "BatchWidget", "FineTuneWidget", "ModelsWidget")
    ]
    assert [told[3] for told in at_once[1:]] == [False, False, [False, False]]
    assert in_the_end == [
        ["DenoiseWidget", True, False, ["fast", "cpu"]],
        ["BatchWidget", True, False, True],
        ["FineTuneWidget", True, False, True],
        ["ModelsWidget", True, False, [True, True]],
    ]
    # What cannot be used yet says why, and says so no longer than that.
    assert set(said[:4]) == {"Looking for models and devices…"}
    assert not any("Looking" in words for words in said[4:])
