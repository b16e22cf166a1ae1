"""Model files with random damage: an error of the model, or a model that is as it was."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import small_model

import napari_rednet as nr
from napari_rednet.models import load_model


def damaged(whole, lot, changes):
    """A file with bytes changed, cut out and inserted, mostly in its header."""
    content = bytearray(whole)
    for _ in range(changes):
        place = int(
            lot.integers(0, min(len(content), 1500) if lot.random() < 0.7 else len(content))
        )
        new = bytes(lot.integers(0, 256, int(lot.integers(1, 9)), dtype=np.uint8))
        kind = lot.integers(3)
        if kind == 0:
            content[place : place + len(new)] = new
        elif kind == 1:
            content[place:place] = new
        else:
            del content[place : place + int(lot.integers(1, 300))]
        content = content or bytearray(b"x")
    return bytes(content)


def test_a_damaged_model_is_refused_or_as_it_was(counted, tmp_path):
    model = small_model("denoise")
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()

    @settings(max_examples=5 * settings.default.max_examples, suppress_health_check=[*HealthCheck])
    @given(seed=st.integers(0, 2**32), changes=st.integers(1, 8))
    def check(seed, changes):
        path.write_bytes(damaged(whole, np.random.default_rng(seed), changes))
        counted("hostile models")
        try:
            found = load_model(path)
        except nr.ModelError:
            return
        assert found.config == model.config

    check()
