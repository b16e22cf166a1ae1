import pytest
import torch

from napari_rednet.arguments import check_device_name
from napari_rednet.engine.network import (
    available_devices,
    fast_dtype,
    free_memory,
    resolve_device,
    training_dtype,
)


def test_auto_is_the_preferred_device():
    assert str(resolve_device("auto")) == available_devices()[0]
    assert available_devices()[-1] == "cpu"


def test_names_are_resolved():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu:1"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu', 'cuda'"):
        check_device_name(name)
    with pytest.raises(ValueError, match="does not exist here"):
        resolve_device(name)


def test_missing_devices_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"'cuda:97' does not exist here; available: cpu"):
        resolve_device("cuda:97")


def test_precision_is_one_the_device_has():
    cpu = torch.device("cpu")
    assert fast_dtype(cpu) in (torch.bfloat16, torch.float32)
    assert training_dtype(cpu) == fast_dtype(cpu)


def test_free_memory_is_plausible():
    assert 10**7 < free_memory(torch.device("cpu")) < 10**14
