"""The speed of a job tells how long jobs of other sizes take."""

import numpy as np
import pytest
from tests.conftest import small_model

from napari_rednet.execution import Speed, drain, speed_steps
from napari_rednet.restoration.deblock import prepare_deblock
from napari_rednet.restoration.denoise import prepare_denoise
from napari_rednet.restoration.inpaint import prepare_inpaint
from napari_rednet.restoration.super_resolve import prepare_super_resolve


def test_planes_and_pixels_count():
    speed = Speed(measuring=0, restoring=1e-3)
    model = small_model("denoise")
    one = prepare_denoise(np.zeros((30, 40)), model=model).job
    many = prepare_denoise(np.zeros((5, 2, 30, 40)), model=model, channel_axis=1).job
    assert speed.seconds(one) == pytest.approx(1.2)
    assert speed.seconds(many) == pytest.approx(12)


def test_colours_are_one_plane_or_three_and_enlarged_pixels_more():
    speed = Speed(measuring=0, restoring=1e-3)
    colours = prepare_deblock(np.zeros((30, 40, 3)), model=small_model("deblock"), rgb=True)
    assert speed.seconds(colours.job) == pytest.approx(1.2)
    noisy = prepare_denoise(np.zeros((30, 40, 3)), model=small_model("denoise"), rgb=True)
    assert speed.seconds(noisy.job) == pytest.approx(3 * 1.2)
    large = prepare_super_resolve(np.zeros((30, 40)), 3, model=small_model("super_resolve"))
    assert speed.seconds(large.job) == pytest.approx(9 * 1.2)


def test_what_is_measured_is_limited():
    speed = Speed(measuring=1e-6, restoring=0)
    model = small_model("denoise")
    stacks = [np.broadcast_to(0.0, (n, 600, 600)) for n in (1, 20, 500)]
    times = [speed.seconds(prepare_denoise(stack, model=model).job) for stack in stacks]
    assert times[0] < times[1]
    assert times[1] == pytest.approx(times[2])


@pytest.mark.parametrize(
    ("prepare", "task"), [(prepare_denoise, "denoise"), (prepare_inpaint, "inpaint")]
)
def test_it_is_measured_without_the_image(prepare, task):
    class Unreadable:
        shape, dtype, ndim = (10, 10), np.dtype("uint16"), 2

    restoration = prepare(Unreadable(), model=small_model(task), device="cpu")
    speed = drain(speed_steps(restoration), False, "")
    assert speed.restoring > 0
    assert speed.measuring > 0
