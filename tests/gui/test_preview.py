"""The live preview: it is the result, follows all changes, and leaves no trace."""

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from skimage import data
from superqt.utils import WorkerBase

import napari_rednet as nr
from napari_rednet.widgets.restore import preview as live
from napari_rednet.widgets.shared.layers import TEMPORARY, check_restorable

LONG = 60_000
WIDGETS = ["Denoise", "Deblur", "Super-resolve", "Deblock", "Inpaint"]


@pytest.fixture
def is_shown():
    """What is seen in a window is known once it has been drawn; without one, it is all."""
    return True


@pytest.fixture
def settled(qtbot):
    """Wait until the preview shows what is to be seen."""

    def wait(widget):
        preview = widget.preview

        def is_settled():
            return preview._worker is None and not preview._timer.isActive()

        qtbot.waitUntil(is_settled, timeout=LONG)

    return wait


@pytest.fixture
def switched_on(settled):
    """Switch the preview on, wait for it, return its layer."""

    def switch(viewer, widget):
        widget.preview.toggle.native.click()
        settled(widget)
        return preview_in(viewer)

    return switch


def preview_in(viewer):
    """The layer of the preview; None if there is none."""
    found = [layer for layer in viewer.layers if layer.metadata.get(TEMPORARY)]
    assert len(found) <= 1
    return found[0] if found else None


def look_at(viewer, qtbot, rows, columns):
    """Show a part of the first layer."""
    camera = viewer.scene.camera
    camera.center = (np.mean(rows), np.mean(columns))
    camera.zoom = min(viewer.canvas.size) / (rows[1] - rows[0])
    qtbot.wait(100)


def part(layer):
    """Rows and columns of the source that a preview of the same scale covers."""
    first = np.round(layer.translate / layer.scale).astype(int)[-2:]
    shape = layer.data.shape[-3:-1] if layer.rgb else layer.data.shape[-2:]
    return tuple(slice(f, f + n) for f, n in zip(first, shape, strict=True))


def assert_close(previewed, result, most=2):
    assert previewed.dtype == result.dtype
    np.testing.assert_allclose(previewed.astype(float), result.astype(float), rtol=0, atol=most)


@pytest.mark.window
def test_it_is_the_result_where_it_is_seen(viewer, dock, run, switched_on, settled, qtbot):
    image = (data.camera() * 8.0 + np.random.default_rng(0).normal(0, 100, (512, 512))).clip(0)
    source = viewer.add_image(image.astype(np.uint16), contrast_limits=(0, 2000), colormap="magma")
    widget = dock()
    look_at(viewer, qtbot, (100, 200), (200, 300))
    preview = switched_on(viewer, widget)
    seen = part(preview)
    assert seen[0].start <= 100
    assert seen[0].stop >= 200
    assert preview.data.size < source.data.size / 2
    assert viewer.layers[-1] is preview
    assert (preview.colormap.name, list(preview.contrast_limits)) == ("magma", [0, 2000])
    previewed = preview.data
    run(widget)
    assert preview_in(viewer) is None
    assert_close(previewed, viewer.layers[-1].data[seen], most=10)


def test_it_follows_parameters_view_and_slice(viewer, dock, switched_on, settled, qtbot, noisy):
    stack = np.stack([noisy, noisy // 2, noisy])
    viewer.add_image(stack, scale=(3, 2, 2), translate=(5, 6, 7))
    viewer.dims.set_current_step(0, 0)
    widget = dock()
    preview = switched_on(viewer, widget)
    first = preview.data.copy()
    assert_close(first[0], nr.denoise(stack)[0][part_of_scaled(preview)])
    widget.option["strength"].value = 2
    settled(widget)
    stronger = preview.data.copy()
    assert_close(stronger[0], nr.denoise(stack, strength=2)[0][part_of_scaled(preview)])
    assert np.abs(stronger.astype(float) - first).max() > 10
    viewer.dims.set_current_step(0, 1)
    settled(widget)
    assert preview.translate[0] == 3 * 1 + 5
    assert_close(preview.data[0], nr.denoise(stack, strength=2)[1][part_of_scaled(preview)])


@pytest.mark.window
def test_what_it_shows_already_is_not_restored_again(viewer, dock, switched_on, settled, qtbot):
    source = viewer.add_image(data.camera())
    widget = dock()
    look_at(viewer, qtbot, (100, 200), (200, 300))
    preview = switched_on(viewer, widget)
    shown, seen, told = preview.data, part(preview), widget.preview.status.value
    viewer.scene.camera.zoom *= 2
    qtbot.waitUntil(lambda: widget.preview.status.value != told, timeout=LONG)
    settled(widget)
    assert preview.data is shown
    viewer.scene.camera.zoom /= 2
    qtbot.waitUntil(lambda: widget.preview.status.value == told, timeout=LONG)
    settled(widget)
    assert preview.data is shown
    viewer.scene.camera.zoom /= 1.2
    qtbot.waitUntil(lambda: preview.data is not shown, timeout=LONG)
    assert part(preview)[0].start < seen[0].start
    source.translate = (0, 50)
    qtbot.waitUntil(lambda: preview.translate[1] >= 50, timeout=LONG)
    settled(widget)


def test_of_a_single_plane_it_is_the_plane_restored_by_itself(
    viewer, dock, switched_on, settled, noisy
):
    dark = (noisy // 4).astype(noisy.dtype)
    viewer.add_image(np.stack([noisy, dark, noisy]))
    viewer.dims.set_current_step(0, 0)
    widget = dock()
    widget.extent.planes.value = "shown"
    preview = switched_on(viewer, widget)
    assert_close(preview.data[0], nr.denoise(noisy)[part(preview)])
    viewer.dims.set_current_step(0, 1)
    settled(widget)
    assert preview.translate[0] == 1
    assert_close(preview.data[0], nr.denoise(dark)[part(preview)])


def part_of_scaled(preview):
    """As `part`, for the layer that is moved by (5, 6, 7)."""
    first = np.round((preview.translate[-2:] - (6, 7)) / 2).astype(int)
    return tuple(slice(f, f + n) for f, n in zip(first, preview.data.shape[-2:], strict=True))


@pytest.mark.window
def test_it_follows_the_size_of_the_canvas(viewer, dock, switched_on, settled, qtbot):
    viewer.add_image(data.camera())
    widget = dock()
    look_at(viewer, qtbot, (200, 260), (200, 260))
    preview = switched_on(viewer, widget)
    small, camera = part(preview), viewer.scene.camera.model_dump()
    window = viewer.window._qt_window
    window.resize(window.width() + 300, window.height())
    qtbot.waitUntil(lambda: part(preview)[1] != small[1], timeout=LONG)
    settled(widget)
    assert viewer.scene.camera.model_dump() == camera
    assert part(preview)[1].start < small[1].start
    assert part(preview)[1].stop > small[1].stop


@pytest.mark.window
def test_a_mouse_that_drags_moves_it(viewer, dock, switched_on, settled, qtbot):
    viewer.add_image(data.camera())
    widget = dock()
    look_at(viewer, qtbot, (200, 300), (200, 300))
    preview = switched_on(viewer, widget)
    before = preview.translate.copy()
    canvas = viewer.window._qt_viewer.canvas.native
    left = Qt.MouseButton.LeftButton
    middle = canvas.rect().center()
    qtbot.mousePress(canvas, left, pos=middle)
    for step in range(1, 6):
        qtbot.mouseMove(canvas, middle + QPoint(20 * step, 0))
    qtbot.mouseRelease(canvas, left, pos=middle + QPoint(100, 0))
    qtbot.wait(100)
    settled(widget)
    assert preview.translate[1] < before[1]


def test_it_is_nobodys_input_and_never_active(viewer, dock, switched_on, noisy):
    source = viewer.add_image(noisy)
    heard = []
    viewer.layers.selection.events.active.connect(lambda event: heard.append(event.value))
    widget, others = dock(), [dock(name) for name in ("Deblur", "Fine-tune")]
    preview = switched_on(viewer, widget)
    assert viewer.layers.selection.active is source
    assert set(viewer.layers.selection) == {source}
    assert preview not in heard
    assert widget.common.image.choices == (source,)
    assert others[0].common.image.choices == (source,)
    assert others[0].psf.layer.choices == (source,)
    assert preview not in others[1].controls.images.choices


def test_it_looks_as_its_source_does_later(viewer, dock, switched_on, noisy):
    source = viewer.add_image(noisy)
    preview = switched_on(viewer, dock())
    source.contrast_limits = (100, 900)
    source.gamma = 0.5
    assert (list(preview.contrast_limits), preview.gamma) == ([100, 900], 0.5)
    assert (preview.blending, source.opacity) == (source.blending, 1)


@pytest.mark.parametrize("look", [{"blending": "additive"}, {"opacity": 0.6}], ids=str)
def test_a_layer_that_is_seen_through_is_not_seen_twice(
    viewer, dock, run, switched_on, noisy, look
):
    """Nor are other channels covered: what is seen after a run is what the preview has shown."""
    viewer.add_image(noisy, name="other channel", **look)
    source = viewer.add_image(noisy, name="channel", **look)
    widget = dock()
    preview = switched_on(viewer, widget)
    as_before = (preview.blending, preview.opacity)
    assert as_before == (look.get("blending", source.blending), look.get("opacity", 1))
    assert source.opacity == 0
    widget.preview.toggle.native.click()
    assert (source.opacity, source.visible) == (as_before[1], True)
    run(widget)
    result = viewer.layers[-1]
    assert (result.blending, result.opacity) == as_before
    assert [layer.visible for layer in viewer.layers] == [True, False, True]


@pytest.mark.window
@pytest.mark.parametrize("blending", ["additive", "translucent_no_depth"])
def test_the_window_looks_after_a_run_as_the_preview_did(
    viewer, dock, run, switched_on, noisy, blending
):
    """Also with another channel below, as napari shows the channels of a file that it splits."""
    for name, image in (("green", noisy[::-1]), ("magenta", noisy)):
        viewer.add_image(image, name=name, colormap=name, blending=blending)
    widget = dock()

    def picture():
        # Of one size: napari's status line takes a pixel more for some layers.
        return viewer.screenshot(size=(400, 400), flash=False)[..., :3].astype(float)

    noisy_picture = picture()
    switched_on(viewer, widget)
    previewed = picture()
    run(widget)
    assert np.abs(picture() - previewed).max() <= 3
    assert np.abs(noisy_picture - previewed).mean() > 1
    # Both at once, which would be twice as bright, is another picture.
    viewer.layers["magenta"].visible = True
    is_other = np.abs(picture() - previewed).mean() > 1
    assert is_other == (blending == "additive")


@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_has_it(viewer, dock, run, switched_on, noisy, name):
    image = noisy.copy()
    image[40, 50] = 4095
    viewer.add_image(image)
    widget = dock(name)
    preview = switched_on(viewer, widget)
    previewed, view, extent = preview.data.copy(), preview.extent.world, preview.scale
    run(widget)
    result = viewer.layers[-1]
    first = np.round((view[0] - result.extent.world[0]) / extent).astype(int)
    whole = result.data[tuple(slice(f, f + n) for f, n in zip(first, previewed.shape, strict=True))]
    np.testing.assert_array_equal(result.scale, extent)
    assert_close(previewed, whole, most=4)


@pytest.mark.parametrize("name", ["Denoise", "Super-resolve", "Inpaint"])
def test_colours_with_transparency(viewer, dock, run, switched_on, noisy_colours, name):
    alpha = np.full((*noisy_colours.shape[:2], 1), 200, np.uint8)
    viewer.add_image(np.concatenate([noisy_colours, alpha], axis=-1), rgb=True)
    widget = dock(name)
    preview = switched_on(viewer, widget)
    assert preview.rgb
    assert preview.data.shape[-1] == 4
    assert (preview.data[..., 3] == 200).all()


@pytest.mark.window
def test_rotated_multiscale_and_lazy_layers(viewer, dock, switched_on, qtbot):
    image = np.uint8(data.camera())
    source = viewer.add_image(
        [da.from_array(image, chunks=128), image[::2, ::2]],
        multiscale=True,
        rotate=30,
        scale=(2, 3),
    )
    viewer.reset_view()
    widget = dock()
    preview = switched_on(viewer, widget)
    assert isinstance(preview.data, np.ndarray)
    first = np.round(source.world_to_data(preview.data_to_world((0, 0)))).astype(int)
    seen = tuple(slice(f, f + n) for f, n in zip(first, preview.data.shape, strict=True))
    assert_close(preview.data, nr.denoise(image)[seen])


@pytest.mark.parametrize(
    "end",
    [
        lambda viewer, widget: widget.preview.toggle.native.click(),
        lambda viewer, widget: setattr(widget.common.image, "value", viewer.layers["other"]),
        lambda viewer, widget: viewer.layers.remove(preview_in(viewer)),
        lambda viewer, widget: viewer.layers.remove("cell"),
    ],
    ids=["switch", "another layer", "its removal", "its source's removal"],
)
def test_it_goes(viewer, dock, switched_on, wait, noisy, end):
    source = viewer.add_image(noisy, name="cell")
    viewer.add_image(noisy, name="other")
    widget = dock()
    widget.common.image.value = source
    assert switched_on(viewer, widget) is not None
    end(viewer, widget)
    assert preview_in(viewer) is None
    assert not widget.preview.toggle.value
    assert not widget.preview.status.visible
    wait(widget)


def test_it_pauses_for_a_result_and_goes_on_with_the_next_change(viewer, dock, settled, run, noisy):
    viewer.add_image(np.stack([noisy, noisy]), name="cell")
    widget = dock()
    widget.preview.toggle.value = True
    assert widget.preview.is_busy  # and so it is paused in the middle of it
    run(widget)
    settled(widget)
    assert "paused" in widget.preview.status.value
    widget.option["strength"].value = 1.5
    settled(widget)
    assert preview_in(viewer) is not None
    run(widget)
    assert widget.preview.toggle.value
    assert "paused" in widget.preview.status.value
    viewer.dims.set_current_step(0, 1)  # the result is looked at
    settled(widget)
    assert preview_in(viewer) is None
    widget.option["strength"].value = 2
    settled(widget)
    seen = preview_in(viewer).data[0]
    assert_close(seen, nr.denoise(np.stack([noisy, noisy]), strength=2)[1])


@pytest.mark.window
def test_it_goes_with_the_window(viewer, dock, switched_on, noisy):
    viewer.add_image(noisy)
    widget = dock()
    switched_on(viewer, widget)
    viewer.window.remove_dock_widget(widget.native)
    assert preview_in(viewer) is None


def test_closing_the_viewer_ends_it(make_napari_viewer, qtbot, noisy, notifications):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    widget.preview.toggle.native.click()
    qtbot.waitUntil(lambda: widget.preview._worker is not None, timeout=LONG)
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert notifications() == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda viewer: setattr(viewer.dims, "ndisplay", 3), "2D"),
        (lambda viewer: viewer.dims.roll(), "roll the axes back"),
        (lambda viewer: setattr(viewer.layers[0], "visible", False), "hidden"),
    ],
)
def test_what_cannot_be_previewed_is_refused_in_words(
    viewer, dock, switched_on, settled, noisy, notifications, spoil, words
):
    viewer.add_image(np.stack([noisy, noisy]))
    widget = dock()
    switched_on(viewer, widget)
    spoil(viewer)
    settled(widget)
    assert preview_in(viewer) is None
    assert words in widget.preview.status.value
    assert notifications() == []


def test_a_layer_of_bool_and_typed_nonsense_are_refused_in_words(
    viewer, dock, switched_on, settled, noisy, notifications
):
    viewer.add_image(noisy > 500)
    widget = dock()
    assert switched_on(viewer, widget) is None
    with pytest.raises(ValueError, match="bool") as refused:
        check_restorable(viewer.layers[0])
    assert str(refused.value) in widget.preview.status.value
    viewer.add_image(noisy)
    widget.common.image.value = viewer.layers[-1]
    assert switched_on(viewer, widget) is not None
    widget.noise.fields["read_noise"].value = "much"
    settled(widget)
    assert preview_in(viewer) is None
    assert "Read noise" in widget.preview.status.value
    assert notifications() == []


def test_of_a_large_view_the_middle_is_restored(viewer, dock, switched_on, qtbot, monkeypatch):
    monkeypatch.setattr(live, "MOST_PIXELS", 64**2)
    viewer.add_image(data.camera())
    widget = dock()
    preview = switched_on(viewer, widget)
    assert preview.data.size <= 64**2
    rows, columns = part(preview)
    assert abs(rows.start + rows.stop - 512) <= 2
    assert abs(columns.start + columns.stop - 512) <= 2
    assert "middle" in widget.preview.status.value


def test_the_layer_is_measured_once(viewer, dock, switched_on, settled, noisy, monkeypatch):
    from napari_rednet import execution

    measured, measure = [], execution.measure
    monkeypatch.setattr(execution, "measure", lambda r: measured.append(r) or measure(r))
    source = viewer.add_image(noisy)
    widget = dock()
    switched_on(viewer, widget)
    widget.option["strength"].value = 1.5
    settled(widget)
    viewer.scene.camera.zoom *= 2
    settled(widget)
    assert len(measured) == 1
    source.data = noisy // 2
    settled(widget)
    assert len(measured) == 2


def test_stale_previews_are_cancelled(viewer, dock, settled, qtbot, noisy, monkeypatch):
    viewer.add_image(noisy)
    widget = dock()
    shown, steps = [], live.Previewer.steps

    def slow(self, order):
        while not shown:
            yield 1, 2
        return (yield from steps(self, order))

    monkeypatch.setattr(live.Previewer, "steps", slow)
    widget.preview.toggle.native.click()
    qtbot.waitUntil(lambda: widget.preview._worker is not None, timeout=LONG)
    first = widget.preview._worker
    widget.option["strength"].value = 2
    qtbot.waitUntil(lambda: widget.preview._worker not in (None, first), timeout=LONG)
    assert first.abort_requested
    assert preview_in(viewer) is None
    shown.append(True)
    settled(widget)
    preview = preview_in(viewer)
    assert_close(preview.data, nr.denoise(noisy, strength=2)[part(preview)])


@pytest.fixture
def restored(monkeypatch):
    """What is restored: (place, rows, columns, channel) of each window, as it begins."""
    from napari_rednet import execution

    noted, at = [], execution.Windows.at

    def noting(self, *window):
        noted.append(window)
        return at(self, *window)

    monkeypatch.setattr(execution.Windows, "at", noting)
    return noted


@pytest.mark.window
def test_only_what_comes_into_view_is_restored(
    viewer, dock, run, switched_on, settled, qtbot, restored
):
    image = (data.camera() * 8.0 + np.random.default_rng(0).normal(0, 100, (512, 512))).clip(0)
    viewer.add_image(image.astype(np.uint16))
    widget = dock()
    look_at(viewer, qtbot, (100, 300), (150, 350))
    preview = switched_on(viewer, widget)
    before = part(preview)
    restored.clear()
    viewer.scene.camera.center = (220, 240)
    qtbot.waitUntil(lambda: part(preview) != before, timeout=LONG)
    settled(widget)
    seen, previewed = part(preview), preview.data
    new = np.zeros(image.shape, bool)
    new[seen] = True
    new[before] = False
    for _, rows, columns, _ in restored:
        assert new[rows, columns].all()
        new[rows, columns] = False
    assert not new.any()
    run(widget)
    assert_close(previewed, viewer.layers[-1].data[seen], most=10)


def test_planes_that_were_seen_or_come_next_are_there_already(
    viewer, dock, switched_on, settled, qtbot, noisy, restored
):
    stack = np.stack([noisy // n for n in (1, 2, 3, 4, 5)])
    viewer.add_image(stack)
    viewer.dims.set_current_step(0, 1)
    widget = dock()
    preview = switched_on(viewer, widget)
    assert [place for place, *_ in restored] == [(1,)]

    def step_to(plane):
        viewer.dims.set_current_step(0, plane)
        qtbot.waitUntil(lambda: preview.translate[0] == plane, timeout=LONG)
        settled(widget)

    step_to(2)
    assert [place for place, *_ in restored] == [(1,), (2,), (3,)]
    assert preview.translate[0] == 2
    step_to(3)
    step_to(2)
    assert [place for place, *_ in restored] == [(1,), (2,), (3,), (4,)]
    assert_close(preview.data[0], nr.denoise(stack)[2][part(preview)])
    step_to(4)
    step_to(0)  # nothing is ahead of a jump
    assert [place for place, *_ in restored] == [(1,), (2,), (3,), (4,), (0,)]
    widget.option["strength"].value = 2
    settled(widget)
    assert [place for place, *_ in restored][5:] == [(0,)]


def test_what_is_done_is_shown_before_all_is(
    viewer, dock, switched_on, settled, qtbot, monkeypatch
):
    monkeypatch.setattr(live, "_SECONDS_TO_FIRST_ROWS", 0)
    image = (data.camera() * 8.0 + np.random.default_rng(0).normal(0, 100, (512, 512))).clip(0)
    viewer.add_image(np.stack([image, image, image / 2]).astype(np.uint16))
    viewer.dims.set_current_step(0, 0)
    widget = dock()
    preview = switched_on(viewer, widget)
    viewer.dims.set_current_step(0, 1)  # so that the next plane is restored ahead
    qtbot.waitUntil(lambda: preview.translate[0] == 1, timeout=LONG)
    settled(widget)
    weak, shown = preview.data[0].copy(), []
    preview.events.data.connect(lambda: shown.append(preview.data[0].copy()))
    widget.option["strength"].value = 2
    settled(widget)
    strong = shown[-1]
    assert len(shown) > 1
    for values in shown:
        changed = (values != weak).any(1)
        done = np.flatnonzero(changed)[-1] + 1
        np.testing.assert_array_equal(values[:done], strong[:done])
        np.testing.assert_array_equal(values[done:], weak[done:])
    assert (shown[0] != strong).any()


def test_values_changed_in_place_are_previewed_anew(
    viewer, dock, settled, qtbot, noisy, monkeypatch
):
    source = viewer.add_image(noisy.copy())
    widget = dock()
    begun, steps = [], live.Previewer.steps

    def slow(self, order):
        begun.append(order)
        while len(begun) == 1 and not go_on:
            yield 1, 2
        return (yield from steps(self, order))

    go_on = []
    monkeypatch.setattr(live.Previewer, "steps", slow)
    widget.preview.toggle.native.click()
    qtbot.waitUntil(lambda: len(begun) == 1, timeout=LONG)
    source.data[:] //= 2
    source.data = source.data
    qtbot.waitUntil(lambda: len(begun) == 2, timeout=LONG)
    go_on.append(True)
    settled(widget)
    preview = preview_in(viewer)
    assert_close(preview.data, nr.denoise(noisy // 2)[part(preview)])


def test_what_is_painted_is_filled(viewer, dock, switched_on, settled, noisy):
    viewer.add_image(noisy)
    labels = viewer.add_labels(np.zeros(noisy.shape, np.uint8))
    labels.data[2, 2] = 1
    widget = dock("Inpaint")
    widget.mask.value = labels
    preview = switched_on(viewer, widget)
    rows, columns = part(preview)
    assert (preview.data != noisy[rows, columns]).sum() <= 1
    labels.brush_size = 9
    with labels.block_history():  # as a stroke of the mouse does
        labels.paint((rows.start + 30, columns.start + 40), 1)
    settled(widget)
    assert 30 < (preview.data != noisy[rows, columns]).sum() < 100
