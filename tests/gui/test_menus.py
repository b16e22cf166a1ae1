"""What the manifest puts into napari's menus, in a real window."""

import pytest
from napari._app_model import get_app_model
from npe2 import PluginManifest

MENUS = {
    "napari/layers/filter": ["denoise", "deblur", "super_resolve", "deblock", "inpaint"],
    "napari/layers/measure": ["compare"],
    "napari/file/io_utilities": ["batch"],
}


def test_the_manifest_names_what_there_is():
    PluginManifest.from_distribution("napari-rednet").validate_imports()


@pytest.mark.window
def test_menus_open_the_widgets_on_the_selected_layer(viewer, noisy):
    viewer.add_image(noisy, name="first")
    selected = viewer.add_image(noisy, name="second")
    viewer.add_image(noisy, name="third")
    viewer.layers.selection.active = selected
    app = get_app_model()
    for menu, names in MENUS.items():
        items = {item.command.id for item in app.menus.get_menu(menu) if hasattr(item, "command")}
        assert {f"napari-rednet.{name}" for name in names} <= items
    app.commands.execute_command("napari-rednet.inpaint").result()
    (widget,) = [widget for name, widget in viewer.window.dock_widgets.items() if "Inpaint" in name]
    assert widget.common.image.value is selected


def test_samples_have_names_that_tell_their_task():
    manifest = PluginManifest.from_distribution("napari-rednet")
    tasks = {widget.display_name for widget in manifest.contributions.widgets}
    for sample in manifest.contributions.sample_data:
        assert sample.display_name.partition(":")[0] in tasks
