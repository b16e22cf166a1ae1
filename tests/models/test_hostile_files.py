"""Model files from anywhere: a bad one is named, is left out, and harms nothing else."""

import json
import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from tests.conftest import few, small_model

import napari_rednet as nr
from napari_rednet.engine.network import NetworkConfig, RedNet
from napari_rednet.models import (
    damaged_models,
    list_models,
    load_model,
    registry,
    remove_model,
    user_models_folder,
)
from napari_rednet.models.model import _digest, expected_shapes, read_contract

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def folder():
    user_models_folder().mkdir(parents=True, exist_ok=True)
    small_model("denoise").save(user_models_folder() / "good.safetensors")
    return user_models_folder()


def contract(**changes):
    network = small_model("denoise").config.to_dict() | changes.pop("network", {})
    whole = {"format": 2, "name": "x", "task": "denoise", "network": network, "info": {}}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def weights(dtype=torch.float16):
    state = small_model("denoise").network.state_dict()
    return {name: value.to(dtype).contiguous() for name, value in state.items()}


def file(told=None, tensors=None):
    """A file that is whole, and whose checksum is right, whatever it says."""
    text = told if isinstance(told, str) else json.dumps(contract() if told is None else told)
    tensors = weights() if tensors is None else tensors
    try:
        checksum = _digest(text, tensors)
    except TypeError:  # of no use to NumPy
        checksum = ""
    return save(tensors, metadata={"napari_rednet": text, "sha256": checksum})


def raw(header, rest=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def declared(**changes):
    """The header of a whole file with other words on its first tensor."""
    whole = file()
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    header["conv.0.weight"] |= changes
    return raw(header, whole[8 + length :])


def without(name):
    return {key: value for key, value in weights().items() if key != name}


HOSTILE = {
    "empty": b"",
    "one byte": b"x",
    "text": b"no model at all" * 100,
    "absurd header": struct.pack("<Q", 2**63) + b"{}",
    "long header": struct.pack("<Q", 2**40) + b"{}" * 100,
    "header of zeros": bytes(1000),
    "header of 5 MB": raw(b" " * 5_000_000 + b"{}"),
    "deep header": raw(DEEP.encode()),
    "header of a list": raw([1, 2]),
    "header of no text": raw(b"\xff\xfe\x00" * 20),
    "huge number": raw(b'{"a": ' + b"9" * 100_000 + b"}"),
    "no metadata": raw({}),
    "odd metadata": raw({"__metadata__": [1]}),
    "odd contract": raw({"__metadata__": {"napari_rednet": 5, "sha256": "x"}}),
    "deep contract": file(DEEP),
    "contract of a list": file([1]),
    "contract of nothing": file("null"),
    "contract of no JSON": file("{"),
    "endless number": file('{"format": 1e999}'),
    "no format": file(contract(format=...)),
    "format of text": file(contract(format="2")),
    "no name": file(contract(name=...)),
    "name of a number": file(contract(name=5)),
    "endless name": file(contract(name="x" * 10_000)),
    "no task": file(contract(task=...)),
    "task of a list": file(contract(task=["denoise"])),
    "unknown task": file(contract(task="paint")),
    "task of another network": file(contract(task="inpaint")),
    "no network": file(contract(network={}) | {"network": None}),
    "no info": file(contract(info=...)),
    "info of a list": file(contract(info=[])),
    "huge layers": file(contract(network={"layers": 10**9})),
    "endless layers": file(contract(network={"layers": 10**30})),
    "odd layers": file(contract(network={"layers": 7})),
    "negative layers": file(contract(network={"layers": -6})),
    "layers of text": file(contract(network={"layers": "6"})),
    "layers of a float": file(contract(network={"layers": 6.0})),
    "layers of a flag": file(contract(network={"layers": True})),
    "huge features": file(contract(network={"features": 10**9})),
    "other features": file(contract(network={"features": 16})),
    "features that are no number": file(contract(network={"features": float("nan")})),
    "no features": file(contract(network={"features": 0})),
    "huge planes": file(contract(network={"planes": 10**9 + 1})),
    "even planes": file(contract(network={"planes": 4})),
    "huge channels": file(contract(network={"in_channels": 10**9})),
    "other stride": file(contract(network={"stride": 1})),
    "unknown stride": file(contract(network={"stride": 3})),
    "skips of a number": file(contract(network={"skips": 1})),
    "biases that are not there": file(contract(network={"bias": True})),
    "unknown field": file(contract(network={"depth": 3})),
    "missing tensor": file(tensors=without("conv.1.weight")),
    "no tensors": file(tensors={}),
    "further tensor": file(tensors=weights() | {"more": torch.zeros(3)}),
    "integers": file(tensors=weights(torch.int16)),
    "bytes": file(tensors=weights(torch.uint8)),
    "bfloat16": file(tensors=weights(torch.bfloat16)),
    "doubles": file(tensors=weights(torch.float64)),
    "turned tensor": file(tensors=weights() | {"conv.0.weight": torch.zeros(4, 8, 4, 4).half()}),
    "flat tensor": file(tensors=weights() | {"conv.1.weight": torch.zeros(8 * 8 * 9).half()}),
    "infinite weight": file(
        tensors=weights() | {"conv.1.weight": torch.full((8, 8, 3, 3), torch.inf).half()}
    ),
    "weight that is no number": file(
        tensors=weights() | {"conv.1.weight": torch.full((8, 8, 3, 3), torch.nan).half()}
    ),
    "declared I16": declared(dtype="I16"),
    "declared nonsense": declared(dtype=["F16"]),
    "declared shape": declared(shape=[10**9, 10**9, 4, 4]),
    "negative shape": declared(shape=[-8, -4, 4, 4]),
    "shape of text": declared(shape="large"),
    "place elsewhere": declared(data_offsets=[10**12, 10**12 + 1024]),
    "place of another": declared(data_offsets=[64, 1088]),
    "cut off": file()[:-100],
    "too long": file() + bytes(100),
    "wrong checksum": file().replace(b'"name', b'"neme', 1),
}


# What only the weights or the checksum tell is noticed when a model is loaded.
LATE = {"infinite weight", "weight that is no number", "wrong checksum", "place elsewhere",
        "place of another"}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_file_is_named_and_harms_nothing(kind, folder):
    path = folder / "bad.safetensors"
    path.write_bytes(HOSTILE[kind])
    for _ in range(2):  # the second time, nothing may have stuck
        with pytest.raises(nr.ModelError, match=r"bad\.safetensors"):
            load_model(path)
    if kind in LATE:
        return
    registry._warned_of.clear()
    with pytest.warns(UserWarning, match=r"left out.*bad\.safetensors"):
        names = [info.name for info in list_models()]
    assert "good" in names
    assert "denoise-fast" in names
    assert [one.path for one in damaged_models()] == [path]
    assert damaged_models()[0].reason.isprintable()
    assert len(damaged_models()[0].reason) < 1500
    assert load_model("good").task == "denoise"


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "dangling", "socket"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="kinds of files of Unix")
def test_what_is_no_file_is_neither_opened_nor_waited_for(kind, folder):
    path = folder / "odd.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as made:
            # The name of a socket may not be long.
            here = os.open(folder, os.O_RDONLY)
            made.bind(f"/proc/self/fd/{here}/odd.safetensors")
            os.close(here)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path, "dangling": folder / "no"}[kind])
    registry._warned_of.clear()
    with pytest.warns(UserWarning, match=r"left out.*odd\.safetensors"):
        assert "good" in [info.name for info in list_models()]
    with pytest.raises(nr.ModelError):
        load_model(path)


@pytest.mark.parametrize(
    "name", ["-rf", ".hidden", " blank", "a\nb", "\x1b[31mred", "denoise-fast"]
)
def test_names_that_no_model_can_have_are_left_out(name, folder):
    small_model("denoise").save(folder / f"{name}.safetensors")
    registry._warned_of.clear()
    with pytest.warns(UserWarning, match="left out"):
        own = [info.name for info in list_models() if info.origin == "user"]
    assert own == ["good"]
    (damaged,) = damaged_models()
    assert damaged.name.isprintable()
    assert damaged.reason.isprintable()
    if name != "denoise-fast":
        remove_model(damaged.path.stem)
        assert damaged_models() == []


def test_a_name_that_is_no_text_is_left_out(folder):
    bytes_name = os.fsencode(folder) + b"/\xff\xfe.safetensors"
    try:
        with open(bytes_name, "wb") as made:  # noqa: PTH123 - paths of bytes
            made.write(file())
    except OSError:
        pytest.skip("this file system has names of text only")
    registry._warned_of.clear()
    with pytest.warns(UserWarning, match="left out"):
        list_models()
    damaged_models()[0].reason.encode()


@settings(max_examples=5 * few())
@given(data=st.data())
def test_any_damage_is_an_error_of_the_model_or_none(data, tmp_path_factory):
    """Bytes are changed, cut, or inserted anywhere; what loads has the checksum of its weights."""
    whole = bytearray(file())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 1200), st.integers(0, len(whole) - 1)))
        kind = data.draw(st.sampled_from(["change", "cut", "insert"]))
        new = data.draw(st.binary(min_size=1, max_size=4))
        if kind == "cut":
            del whole[place : place + data.draw(st.integers(1, 2000))]
        else:
            whole[place : place + (len(new) if kind == "change" else 0)] = new
        whole = whole or bytearray(b"x")
    path = tmp_path_factory.mktemp("damaged") / "m.safetensors"
    path.write_bytes(whole)
    try:
        model = load_model(path)
    except nr.ModelError:
        return
    assert model.config == small_model("denoise").config


@given(
    half=st.integers(2, 5),
    features=st.integers(1, 6),
    stride=st.sampled_from([1, 2]),
    channels=st.integers(1, 3),
    skips=st.booleans(),
    bias=st.booleans(),
)
def test_the_shapes_are_those_of_the_network(half, features, stride, channels, skips, bias):
    config = NetworkConfig(
        2 * half, features, channels + 1, channels, stride, skips=skips, bias=bias
    )
    state = RedNet(config).state_dict()
    assert dict(expected_shapes(config)) == {k: tuple(v.shape) for k, v in state.items()}


def test_a_file_of_holes_is_not_loaded(folder):
    config = NetworkConfig(1000, 4096, 4)
    header = {name: {"dtype": "F16", "shape": shape} for name, shape in expected_shapes(config)}
    text = json.dumps(contract(network=config.to_dict()))
    path = folder / "bad.safetensors"
    path.write_bytes(raw({"__metadata__": {"napari_rednet": text, "sha256": ""}, **header}))
    with pytest.raises(nr.ModelError, match=r"its weights have 3\d{11} bytes, more than"):
        load_model(path)


def test_nothing_is_built_of_a_header_that_makes_no_sense(folder, monkeypatch):
    path = folder / "bad.safetensors"
    path.write_bytes(HOSTILE["huge features"])
    monkeypatch.setattr(RedNet, "__init__", lambda *_: pytest.fail("a network was built"))
    with pytest.raises(nr.ModelError, match="features of the network must be at most"):
        load_model(path)


def test_installed_models_keep_the_contract():
    for info in list_models():
        found = read_contract(info.path)
        assert (found.task, found.config.layers) == (info.task, info.layers)
