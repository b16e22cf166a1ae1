import torch
from tests.conftest import seeded

from napari_rednet.engine.degradations import smooth_field


def test_fields_are_smooth_and_bounded():
    field = smooth_field(torch.zeros(6, 1, 90, 70), seeded(), 0.2, 0.9)
    assert field.min() >= 0.2
    assert field.max() <= 0.9
    assert field.diff(dim=-1).abs().max() < 0.1
    assert field.std() > 0.05
