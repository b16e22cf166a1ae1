import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_network

from napari_rednet.engine.network import NetworkConfig
from napari_rednet.engine.planes import NOT_CUT, Cuts, cut_into_strips
from napari_rednet.engine.streaming import RowStream, StreamableNetwork, stream_bytes

CPU = torch.device("cpu")
CONFIGS = [
    NetworkConfig(layers=10, features=4, skips=False),
    NetworkConfig(layers=10, features=4, in_channels=2),
    NetworkConfig(layers=10, features=4, in_channels=2, stride=2),
    NetworkConfig(layers=10, features=4, in_channels=2, stride=2, rectify_sum=True),
    NetworkConfig(layers=8, features=4, in_channels=3, out_channels=3, stride=2, rectify_sum=True),
]
NETWORKS = [random_network(config) for config in CONFIGS]


def stream(network, image, band, dtype=torch.float32, cuts=NOT_CUT):
    rows = RowStream(StreamableNetwork(network, CPU, dtype), image.shape[3], cuts)
    return torch.cat([rows.push(part) for part in image.split(band, 2)] + [rows.finish()], 2)


@settings(max_examples=60)
@given(
    network=st.sampled_from(NETWORKS),
    height=st.integers(1, 60),
    width=st.integers(1, 30),
    band=st.integers(1, 70),
    planes=st.integers(1, 2),
)
def test_streamed_is_whole(network, height, width, band, planes):
    shape = (planes, network.config.in_channels, height, width)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(height * width))
    torch.testing.assert_close(stream(network, image, band), network(image), atol=1e-5, rtol=1e-5)


@settings(max_examples=30)
@given(
    network=st.sampled_from(NETWORKS),
    width=st.integers(1, 120),
    side=st.integers(1, 60),
)
def test_strips_join_without_a_seam(network, width, side):
    image = torch.rand((1, network.config.in_channels, 12, width))
    config = network.config
    parts = [
        stream(network, image[..., strip.read], 8)[..., strip.inner]
        for strip in cut_into_strips(width, side, config.receptive_radius, config.stride)
    ]
    torch.testing.assert_close(torch.cat(parts, 3), network(image), atol=1e-5, rtol=1e-5)


@settings(max_examples=60)
@given(
    network=st.sampled_from(NETWORKS),
    cuts=st.builds(Cuts, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    height=st.integers(0, 20),
    width=st.integers(0, 20),
    band=st.integers(1, 70),
)
def test_parts_are_as_in_the_whole_image(network, cuts, height, width, band):
    """Whatever lies beyond sides that are cut."""
    config = network.config
    reach = config.layers * config.stride
    left, right, top, bottom = cuts.margins(reach)
    rows = slice(top, top + config.stride * (height + 1) + (not cuts.bottom))
    columns = slice(left, left + config.stride * (width + 1) + (not cuts.right))
    whole = torch.rand(1, config.in_channels, rows.stop + bottom, columns.stop + right)
    beyond = (*cuts.margins(6),)
    image = torch.nn.functional.pad(whole, beyond, value=0.7)
    expected = network(image)[..., beyond[2] :, beyond[0] :][..., rows, columns]
    found = stream(network, whole, band, cuts=cuts)
    assert found.shape == (1, config.out_channels, *whole.shape[2:])
    torch.testing.assert_close(found[..., rows, columns], expected, atol=1e-5, rtol=1e-5)


def test_what_is_thrown_away_is_not_computed(monkeypatch):
    network, computed = StreamableNetwork(NETWORKS[2], CPU, torch.float32), []
    convolve = StreamableNetwork.convolve

    def counting(self, x, layer):
        y = convolve(self, x, layer)
        computed.append(y.numel())
        return y

    monkeypatch.setattr(StreamableNetwork, "convolve", counting)
    image = torch.rand(1, 2, 60, 60)
    counts = []
    for cuts in (NOT_CUT, Cuts(top=True), Cuts(left=True), Cuts(True, True, True, True)):
        computed.clear()
        rows = RowStream(network, 60, cuts)
        rows.push(image)
        rows.finish()
        counts.append(sum(computed))
    none, top, left, all_sides = counts
    assert top == left < none
    assert all_sides < none / 2


def test_half_precision_stays_close():
    network, image = NETWORKS[1], torch.rand(1, 2, 40, 40)
    exact, half = network(image), stream(network, image, 16, torch.bfloat16)
    assert (half - exact).abs().max() < 0.05 * (exact - image[:, :1]).abs().max()


@given(height=st.integers(1, 40), width=st.integers(1, 4), planes=st.integers(1, 3))
def test_narrow_images_depend_on_nothing_else(height, width, planes):
    """PyTorch's convolutions may read what lies behind an image of few columns."""
    network, image = NETWORKS[2], torch.rand(planes, 2, height, width)
    junk = [torch.full((n,), torch.nan, dtype=torch.bfloat16) for n in range(100, 6000, 100)]
    del junk
    half = stream(network, image, 16, torch.bfloat16)
    torch.testing.assert_close(half, network(image), atol=0.05, rtol=0)


def test_nothing_waits_longer_than_it_must():
    """After a push, only rows within the receptive field of rows to come are held back."""
    network = NETWORKS[1]
    rows = RowStream(StreamableNetwork(network, CPU, torch.float32), 8)
    assert rows.push(torch.rand(1, 2, 30, 8)).shape[2] == 30 - network.config.receptive_radius


def test_an_empty_stream_cannot_be_finished():
    rows = RowStream(StreamableNetwork(NETWORKS[0], CPU, torch.float32), 8)
    assert rows.push(torch.rand(1, 1, 0, 8)).shape[2] == 0
    with pytest.raises(ValueError, match="at least one row"):
        rows.finish()


def test_planes_that_are_cut_need_what_is_cut_off():
    network = StreamableNetwork(NETWORKS[0], CPU, torch.float32)
    rows = RowStream(network, 8, Cuts(top=True, bottom=True))
    assert rows.push(torch.rand(1, 1, 2 * NETWORKS[0].config.layers - 1, 8)).shape[2] == 0
    with pytest.raises(ValueError, match="too few"):
        rows.finish()


def test_memory_grows_with_width_and_not_with_height():
    config = CONFIGS[2]
    assert stream_bytes(config, 2000, 32, 2) > 1.9 * stream_bytes(config, 1000, 32, 2)
    assert stream_bytes(config, 1000, 32, 4) > stream_bytes(config, 1000, 32, 2)
