import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conftest import random_network

import napari_rednet as nr
from napari_rednet.engine.network import NetworkConfig
from napari_rednet.models import Model, list_models, load_model, read_model


@settings(max_examples=15)
@given(
    half=st.integers(2, 5),
    features=st.integers(1, 6),
    stride=st.sampled_from([1, 2]),
    channels=st.integers(1, 3),
    skips=st.booleans(),
    bias=st.booleans(),
    name=st.text(max_size=8),
)
def test_save_and_load_is_a_round_trip(
    half, features, stride, channels, skips, bias, name, tmp_path_factory
):
    config = NetworkConfig(
        2 * half, features, channels + 1, channels, stride, skips=skips, bias=bias
    )
    model = Model(name, "denoise", random_network(config), {"steps": 7, "data": ["a", "b"]})
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    model.save(path)
    again = read_model(path)
    assert (again.name, again.task, again.config, again.info) == (
        name,
        "denoise",
        config,
        model.info,
    )
    for key, value in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value.half().float())


def test_a_saved_model_restores_as_before(tiny_model, noisy_camera, tmp_path):
    tiny_model.save(tmp_path / "tiny.safetensors")
    before = nr.denoise(noisy_camera, model=tiny_model)
    after = nr.denoise(noisy_camera, model=tmp_path / "tiny.safetensors")
    assert np.abs(before - after).max() < 0.02 * np.abs(before - noisy_camera).max()


def test_damaged_files_are_named(tiny_model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    tiny_model.save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[: len(whole) // 2], b"PK" + whole):
        path.write_bytes(damaged)
        with pytest.raises(nr.ModelError, match="damaged or not a safetensors file"):
            read_model(path)


def test_altered_weights_and_headers_are_noticed(tiny_model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    tiny_model.save(path)
    whole = bytearray(path.read_bytes())
    weights = whole.copy()
    weights[-3] ^= 1
    header = whole.replace(b"tiny", b"tidy", 1)
    for altered in (weights, header):
        path.write_bytes(altered)
        with pytest.raises(nr.ModelError, match="checksum"):
            read_model(path)


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(nr.ModelError, match="not a napari-rednet model"):
        read_model(path)


@pytest.mark.parametrize(
    ("number", "message"), [(99, "newer version"), (1, r"version 0\.1.*train or fine-tune it anew")]
)
def test_models_of_other_versions_are_refused(tiny_model, tmp_path, number, message):
    path = tmp_path / "tiny.safetensors"
    tiny_model.save(path)
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {k: file.get_tensor(k) for k in list(file.keys())}
    contract = json.loads(header["napari_rednet"]) | {"format": number}
    save_file(tensors, path, metadata=header | {"napari_rednet": json.dumps(contract)})
    with pytest.raises(nr.ModelError, match=message):
        read_model(path)


def test_unwritable_places_are_named_and_nothing_is_left(tiny_model, tmp_path):
    with pytest.raises(nr.ModelError, match="cannot be written"):
        tiny_model.save(tmp_path / "missing" / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        tiny_model.save(tmp_path / "tiny.pt")
    assert list(tmp_path.iterdir()) == []


def test_shipped_models_can_be_listed_and_loaded():
    infos = list_models()
    assert "denoise-fast" in [info.name for info in infos]
    for info in infos:
        model = load_model(info.name)
        assert (model.name, model.task) == (info.name, info.task)
        assert (model.config.layers, model.config.stride) == (info.layers, info.stride)
        assert info.path.with_suffix(".toml").exists(), "each model comes with its recipe"
        assert info.path.stat().st_size < 8e6


def test_fast_is_a_red20_of_stride_2():
    config = load_model("denoise-fast").config
    assert (config.layers, config.stride, config.features, config.in_channels) == (20, 2, 64, 4)
    assert not config.bias


def test_unknown_names_and_tasks_are_refused():
    with pytest.raises(nr.ModelError, match=r"no model 'denoise-slow'; known: .*denoise-fast"):
        load_model("denoise-slow")
    with pytest.raises(ValueError, match="task must be one of denoise"):
        list_models("paint")
