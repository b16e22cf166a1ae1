"""Stacks made of single images: what the kinds are, and what noise does to them."""

import pytest
import torch
from skimage import data
from tests.conftest import seeded

from napari_rednet.engine.degradations import NoiseCorruption, StackSynthesis
from napari_rednet.engine.degradations.stacks import KINDS, ROOM, with_breaks
from napari_rednet.engine.network import stack_inputs

SIDE = 64


def images(seed=0, count=6):
    """Crops of an image, all different."""
    camera = torch.from_numpy(data.camera() / 255.0).float()
    corners = torch.randint(0, 512 - SIDE - 2 * ROOM, (count, 2), generator=seeded(seed))
    side = SIDE + 2 * ROOM
    return torch.stack([camera[y : y + side, x : x + side] for y, x in corners.tolist()])[:, None]


def made(kind, planes=5, seed=0, **options):
    synthesis = StackSynthesis(planes, {kind: 1.0}, **{"changing_share": 0.0, **options})
    return synthesis(images(1), images(2), seeded(seed))


def inner(x):
    return x[..., ROOM:-ROOM, ROOM:-ROOM]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("planes", [1, 3, 5])
def test_a_seed_gives_a_stack(kind, planes):
    stack = made(kind, planes)
    assert stack.shape == (6, planes, SIDE, SIDE)
    assert torch.equal(stack, made(kind, planes))
    if kind in ("moving", "objects", "depth") and planes > 1:
        assert not torch.equal(stack, made(kind, planes, seed=1))
    assert torch.isfinite(stack).all()


def test_the_middle_plane_is_the_image_unless_it_is_composed():
    for kind in ("static", "moving", "unrelated"):
        assert torch.equal(made(kind)[:, 2:3], inner(images(1))), kind
    static = made("static")
    assert torch.equal(static, static[:, 2:3].expand_as(static))


def test_moving_planes_hold_the_same_at_other_places():
    """Some shift brings a neighbour closer to the middle plane than it is."""
    stack = made("moving", 3, seed=4)
    better = 0
    for before, middle, _ in stack:
        part = middle[16:-16, 16:-16]
        errors = {
            (dy, dx): float((before[16 + dy : 48 + dy, 16 + dx : 48 + dx] - part).square().mean())
            for dy in range(-12, 13)
            for dx in range(-12, 13)
        }
        best = min(errors, key=errors.get)
        better += best != (0, 0) and errors[best] < 0.5 * errors[0, 0]
    assert better >= 2


def test_objects_move_over_others_and_depths_are_defocused():
    objects, depth = made("objects"), made("depth")
    assert (objects[:, 0] - objects[:, 4]).abs().mean() > 0.01
    detail = (depth[..., 1:] - depth[..., :-1]).abs().mean((2, 3))
    # Some planes are nearer to a focus than others.
    assert (detail.amax(1) / detail.amin(1)).max() > 1.5


def test_unrelated_planes_do_not_resemble_the_middle_one():
    stack = made("unrelated").flatten(2)
    centred = stack - stack.mean(2, keepdim=True)
    similar = torch.nn.functional.cosine_similarity(centred[:, :1], centred[:, 1:], dim=2)
    assert similar[:, 1].abs().max() < 0.9


def test_what_changes_differs_between_planes_that_are_else_the_same():
    changing = made("static", changing_share=1.0)
    assert (changing[:, :1] - changing[:, 1:]).abs().amax((1, 2, 3)).min() > 0.02


def test_broken_neighbours_leave_the_middle_plane():
    stack = made("static", 3).repeat(40, 1, 1, 1)
    noisy = stack + 0.1 * torch.randn(stack.shape, generator=seeded(1))
    std = torch.full_like(stack, 0.1)
    is_photon = torch.zeros(len(stack), 1, 1, 1, dtype=torch.bool)
    found, levels = with_breaks(noisy, stack, std, is_photon, seeded(2))
    assert torch.equal(found[:, 1], noisy[:, 1])
    assert torch.equal(levels, std)
    dark = (found - noisy).abs().amax((2, 3)) > 0.3
    repeated = (found == found[:, 1:2]).all(3).all(2)
    assert 0.02 < dark[:, [0, 2]].float().mean() < 0.1
    assert 0.02 < repeated[:, [0, 2]].float().mean() < 0.12
    photons, levels = with_breaks(noisy, stack, std, ~is_photon, seeded(2))
    assert (levels > std).any()
    assert (levels < std).any()
    assert torch.equal(photons[:, 1], noisy[:, 1])


def test_noise_is_each_planes_own_and_its_properties_are_shared():
    corruption = NoiseCorruption(processes={"resampled": 1.0}, poisson_share=0.0)
    stack = made("static", 3)
    side = SIDE - 2 * corruption.margin
    inputs, clean, weights = corruption(stack, seeded(3))
    assert inputs.shape == (6, 8, side, side)
    assert clean.shape == (6, 1, side, side)
    assert weights.shape == (6, 1, 1, 1)
    middle, others = inputs[:, :1], inputs[:, 1:3]
    assert ((middle - others).abs().mean((2, 3)) > 1e-4).all()
    # Resampled in the same way, noise free planes would be the same: twice the noise remains.
    error, difference = middle - clean, middle - others[:, :1]
    known = inputs[:, 3:4].mean((1, 2, 3)) > 0.02
    ratio = difference[known].var((1, 2, 3)) / error[known].var((1, 2, 3))
    assert known.any()
    assert ratio.min() > 1.2
    assert ratio.max() < 3
    torch.testing.assert_close(
        inputs[:, 3].mean((1, 2)), inputs[:, 6].mean((1, 2)), rtol=0.05, atol=1e-3
    )


def test_single_images_are_stacks_of_one_plane():
    noisy, std = torch.rand(2, 1, 5, 6), torch.rand(2, 1, 5, 6)
    inputs = stack_inputs(noisy, std, 0.2, 0.1)
    torch.testing.assert_close(inputs, torch.cat([noisy, std, 0.2 * std, 0.1 * std], 1))


@pytest.mark.parametrize("planes", [0, 2, -1])
def test_planes_are_odd(planes):
    with pytest.raises(ValueError, match="planes must be an odd number"):
        StackSynthesis(planes)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match=r"static, moving.*got wobbling"):
        StackSynthesis(3, {"wobbling": 1.0})
