import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import random_network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_rednet.engine.network import (
    INITIALIZATIONS,
    NetworkConfig,
    RedNet,
    as_subpixel_convolution,
    initialize,
    orient,
    orientations,
    red10,
    red20,
    red30,
    reorient,
)


@pytest.mark.parametrize(
    ("make", "pairs"),
    [
        (red10, ()),
        (red20, ((9, 1), (7, 3), (5, 5), (3, 7), (1, 9))),
        (red30, ((14, 1), (12, 3), (10, 5), (8, 7), (6, 9), (4, 11), (2, 13))),
    ],
)
def test_skips_join_the_mirrored_layers(make, pairs):
    assert make().skip_pairs == pairs


@pytest.mark.parametrize(("make", "half"), [(red10, 5), (red20, 10), (red30, 15)])
def test_layers_are_convolutions_then_deconvolutions(make, half):
    layers = list(RedNet(make(features=4)).layers())
    assert [type(layer) for layer in layers] == [nn.Conv2d] * half + [nn.ConvTranspose2d] * half
    assert all(layer.kernel_size == (3, 3) and layer.padding == (1, 1) for layer in layers)


def test_parameter_counts_are_those_of_the_paper():
    # 28 layers of 64 x 64 x 9, the two ends of 64 x 9, and a bias for every map.
    count = sum(p.numel() for p in RedNet(red30(bias=True)).parameters())
    assert count == 28 * 64 * 64 * 9 + 2 * 64 * 9 + 29 * 64 + 1


@pytest.mark.parametrize("parts", [("weight",), ("weight", "bias")])
def test_state_dict_names_are_stable(parts):
    config = NetworkConfig(layers=4, features=2, bias="bias" in parts)
    layers = ["conv.0", "conv.1", "deconv.0", "deconv.1"]
    names = list(RedNet(config).state_dict())
    assert names == [f"{layer}.{part}" for layer in layers for part in parts]


@given(
    power=st.integers(-12, 12),
    factor=st.floats(1e-3, 1e3),
    stride=st.sampled_from([1, 2]),
    rows=st.integers(5, 20),
    columns=st.integers(5, 20),
)
def test_results_scale_with_the_input(power, factor, stride, rows, columns):
    """By powers of 2, which change no digit, to the last one."""
    config = NetworkConfig(layers=8, features=6, in_channels=4, stride=stride)
    network = random_network(config)
    image = torch.rand((2, 4, rows, columns), generator=torch.Generator().manual_seed(rows))
    plain = network(image)
    assert (plain - image[:, :1]).abs().max() > 0.05
    assert torch.equal(network(2.0**power * image), 2.0**power * plain)
    torch.testing.assert_close(network(factor * image) / factor, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_with_biases_results_do_not_scale(stride):
    network = random_network(NetworkConfig(layers=8, features=6, stride=stride, bias=True))
    image = torch.rand((2, 1, 16, 18), generator=torch.Generator().manual_seed(0))
    assert (network(4 * image) / 4 - network(image)).abs().max() > 1e-3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_zero_weights_are_the_identity(stride, channels):
    config = NetworkConfig(
        layers=6, features=4, in_channels=channels + 1, out_channels=channels, stride=stride
    )
    network = RedNet(config)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    image = torch.rand(2, channels + 1, 9, 7)
    assert torch.equal(network(image), image[:, :channels])


@pytest.mark.parametrize(
    "config",
    [red10(features=3), red20(features=3), red20(features=3, stride=2), red30(features=3)],
)
def test_declared_receptive_field_is_the_measured_one(config):
    network = random_network(config)
    for layer in network.layers():
        layer.weight.abs_().add_(0.01)
    size = 2 * config.receptive_radius + 20
    image = torch.ones(1, 1, size, size, requires_grad=True)
    result = network(image)
    reach = []
    for centre in (size // 2, size // 2 + 1):  # with stride 2, neighbours see different pixels
        (gradient,) = torch.autograd.grad(result[0, 0, centre, centre], image, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        reach += [centre - int(seen.min()), int(seen.max()) - centre]
    assert max(reach) == config.receptive_radius


@pytest.mark.parametrize("rectify_sum", [False, True])
def test_skips_are_added_to_the_named_deconvolutions(rectify_sum):
    """Written out for one small network, as the authors' code has it, and as the paper's text."""
    network = random_network(NetworkConfig(layers=6, features=4, rectify_sum=rectify_sum))
    x = torch.rand(1, 1, 8, 8)
    c = list(itertools.accumulate(network.conv, lambda y, layer: layer(y).relu(), initial=x))
    d1 = network.deconv[0](c[3])
    assert d1.min() < 0
    d1 = ((d1 if rectify_sum else d1.relu()) + c[2]).relu()
    d2 = network.deconv[1](d1).relu()
    expected = network.deconv[2](d2) + x
    torch.testing.assert_close(network(x), expected)


def test_no_skips_differ_from_skips():
    with_skips = random_network(NetworkConfig(layers=6, features=4))
    without = RedNet(NetworkConfig(layers=6, features=4, skips=False))
    without.load_state_dict(with_skips.state_dict())
    x = torch.rand(1, 1, 8, 8)
    assert not torch.allclose(with_skips(x), without(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("turn", list(orientations()))
def test_turned_kernels_do_what_a_turned_image_does(stride, turn):
    network = random_network(NetworkConfig(layers=6, features=4, in_channels=2, stride=stride))
    image = torch.rand(1, 2, 12, 18)
    turned = reorient(network(orient(image, *turn)), *turn)
    torch.testing.assert_close(network.reoriented(*turn)(image), turned, atol=1e-5, rtol=1e-4)


def test_orientations_are_eight_different_ones():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    results = {tuple(orient(image, *turn).flatten().tolist()) for turn in orientations()}
    assert len(results) == 8
    for turn in orientations():
        assert torch.equal(reorient(orient(image, *turn), *turn), image)


def test_operations_are_those_that_run():
    config = red20(features=16, in_channels=2)
    network, shape = RedNet(config), (1, 2, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(shape))
    assert counter.get_total_flops() == config.operations_per_pixel() * 32 * 32


@pytest.mark.parametrize("kind", INITIALIZATIONS)
def test_initial_network_changes_little_but_not_nothing(kind):
    network = RedNet(red20(features=16))
    initialize(network, torch.Generator().manual_seed(0), kind)
    image = torch.rand(1, 1, 32, 32)
    change = (network(image) - image).std()
    assert 0 < change < 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 7},
        {"layers": 2},
        {"stride": 3},
        {"features": 0},
        {"in_channels": 1, "out_channels": 2},
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        NetworkConfig(**wrong)


@given(seed=st.integers(0, 20), outputs=st.integers(1, 3))
def test_a_deconvolution_of_stride_2_is_a_shuffled_convolution(seed, outputs):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((2, 5, 7, 6), generator=generator)
    weight = torch.randn((5, outputs, 4, 4), generator=generator)
    wanted = F.conv_transpose2d(x, weight, stride=2, padding=1)
    found = F.pixel_shuffle(F.conv2d(x, as_subpixel_convolution(weight), padding=1), 2)
    torch.testing.assert_close(found, wanted)
