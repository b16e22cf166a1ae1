import numpy as np
import pytest
import torch
from hypothesis import settings
from skimage import data

from napari_rednet.engine.network import NetworkConfig, RedNet, initialize
from napari_rednet.models import Model
from napari_rednet.tasks import TASKS

# A busy machine is slow, and that is no failure. `scripts/test --slow` asks for the thorough one.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")


def few():
    """How many examples do of what is dear."""
    return settings.default.max_examples // 5


def psnr(clean, image, span=255.0):
    error = np.mean((np.asarray(clean, float) - np.asarray(image, float)) ** 2)
    return 10 * np.log10(span**2 / error)


def random_network(config, seed=0):
    """A network whose last layer matters, unlike that of a freshly initialised one."""
    network = RedNet(config)
    initialize(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        network.deconv[-1].weight.mul_(5)
        for layer in network.layers():
            if layer.bias is not None:
                layer.bias.normal_(0, 0.05, generator=torch.Generator().manual_seed(seed + 1))
    return network.eval().requires_grad_(False)


# A recipe up to the scales of its images.
SMALL_RECIPE = """
name = "small"
task = "denoise"
[network]
layers = 4
features = 4
in_channels = 4
[[images]]
folder = "clean"
share = 1.0
"""


def small_model(task, stride=2):
    """An untrained model of a task, for tests of everything but quality."""
    channels = TASKS[task].in_channels
    config = NetworkConfig(layers=6, features=8, in_channels=channels, stride=stride)
    return Model("tiny", task, random_network(config), {"steps": 0})


def stack_model(planes=3, seed=0):
    """An untrained denoiser that sees neighbouring planes."""
    channels = TASKS["denoise"].channels_for(planes)
    config = NetworkConfig(layers=6, features=8, in_channels=channels, stride=2, planes=planes)
    return Model("tiny stack", "denoise", random_network(config, seed), {"steps": 0})


def idle_model(task):
    """A model that restores nothing: its result is its input."""
    model = small_model(task)
    for parameter in model.network.parameters():
        parameter.zero_()
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def users_models(tmp_path_factory, monkeypatch):
    """A folder for the user's models that is not the developer's own."""
    monkeypatch.setenv("NAPARI_REDNET_MODELS", str(tmp_path_factory.mktemp("users-models")))


@pytest.fixture(autouse=True)
def remembered_parameters(tmp_path_factory, monkeypatch):
    """A folder for what the windows remember that is not the developer's own."""
    monkeypatch.setenv("NAPARI_REDNET_CONFIG", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def exact(monkeypatch):
    """Computing in float32, where results are compared to the last digits."""
    for module in ("inference", "streaming"):
        name = f"napari_rednet.engine.{module}.fast_dtype"
        monkeypatch.setattr(name, lambda device: torch.float32)


@pytest.fixture
def camera():
    return data.camera()[100:260, 150:330]


@pytest.fixture
def noisy_camera(camera):
    return camera + np.random.default_rng(0).normal(0, 25, camera.shape)


@pytest.fixture
def tiny_model():
    return small_model("denoise")
