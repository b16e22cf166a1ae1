"""The user's own models: kept in a folder, found by name."""

import json
import os
import string
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.conftest import idle_model, small_model

import napari_rednet as nr
from napari_rednet.errors import ModelError
from napari_rednet.models import (
    list_models,
    load_model_for,
    on_change,
    read_model,
    registry,
    user_models_folder,
)
from napari_rednet.models.registry import check_name

GOOD = string.ascii_letters + string.digits + "äßж_-. "
good_names = st.text(GOOD, min_size=1, max_size=60).filter(
    lambda name: name[0] not in "-. " and name[-1] != " "
)


def names(task=None):
    return [info.name for info in list_models(task) if info.origin == "user"]


def files():
    return sorted(os.listdir(user_models_folder()))


def damage(name):
    path = user_models_folder() / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:70])
    return path


def header(**changes):
    """What a file that is nearly a model says of itself."""
    network = {"layers": 6, "features": 8, "in_channels": 4, "stride": 2}
    contract = {"format": 2, "name": "odd", "task": "denoise", "network": network, "info": {}}
    return json.dumps({**contract, **changes})


# Names ---------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(name=good_names, new_name=good_names)
def test_names_go_a_round_trip(name, new_name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_REDNET_MODELS", str(folder))
        info = nr.add_model(small_model("denoise"), name)
        assert (info.name, info.variant, info.path.stem) == (name, name, name)
        assert nr.load_model(name).name == name
        if name.casefold() != new_name.casefold():
            nr.rename_model(name, new_name)
            assert names() == [new_name]
            assert nr.load_model(new_name).name == new_name
            name = new_name
        nr.remove_model(name)
        assert files() == []


@given(name=st.text(max_size=70))
@example("")
@example("../up")
@example("a\\b")
@example("a\n")
@example("x" * 61)
@example("-option")
@example(".hidden")
@example("space ")
@example("a.SafeTensors")
def test_a_name_is_good_or_refused_in_words(name):
    try:
        check_name(name)
    except ValueError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert repr(name) in message
    else:
        assert 1 <= len(name) <= 60
        assert not set(name) & set('/\\:*?"<>|\n\0')


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x", ".x", "x ", "x.safetensors", "y" * 61])
def test_bad_names_are_refused(tiny_model, name):
    for refused in (lambda: nr.add_model(tiny_model, name), lambda: rename("tiny", name)):
        with pytest.raises(ValueError, match="name of a model must"):
            refused()


def rename(old, new):
    nr.add_model(small_model("denoise"), old, overwrite=True)
    nr.rename_model(old, new)


@pytest.mark.parametrize("name", ["fast", "best", "Fast", "denoise-fast", "sr-fast"])
def test_names_of_the_package_stay_its_own(tiny_model, name):
    with pytest.raises(ValueError, match="belongs to the package"):
        nr.add_model(tiny_model, name)


# Adding --------------------------------------------------------------------------------------


def test_the_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_REDNET_MODELS", str(tmp_path / "a" / "b"))
    assert user_models_folder() == tmp_path / "a" / "b"
    assert names() == []
    nr.add_model(small_model("denoise"))
    assert files() == ["tiny.safetensors"]
    monkeypatch.setenv("NAPARI_REDNET_MODELS", "")
    assert user_models_folder().parts[-2:] == ("napari-rednet", "models")


def test_an_added_model_is_found_by_every_verb(noisy_camera):
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        nr.add_model(small_model(task), f"my {task}")
    denoiser = small_model("denoise")
    denoiser.save(user_models_folder().parent / "tiny.safetensors")
    expected = nr.denoise(noisy_camera, model=user_models_folder().parent / "tiny.safetensors")
    np.testing.assert_array_equal(nr.denoise(noisy_camera, model="my denoise"), expected)
    assert nr.super_resolve(noisy_camera, 2, model="my super_resolve").shape == (320, 360)
    assert nr.deblock(noisy_camera, model="my deblock").shape == noisy_camera.shape
    assert nr.inpaint(noisy_camera, model="my inpaint").shape == noisy_camera.shape


def test_a_file_is_copied_under_the_name_it_is_given(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "file.safetensors")
    assert nr.add_model(tmp_path / "file.safetensors").name == "tiny"
    assert nr.add_model(str(tmp_path / "file.safetensors"), "other").name == "other"
    assert read_model(user_models_folder() / "other.safetensors").name == "other"
    assert nr.load_model("other").info == tiny_model.info


def test_an_existing_model_is_replaced_only_when_asked(tiny_model):
    nr.add_model(tiny_model, "mine")
    for name in ("mine", "MINE"):
        with pytest.raises(nr.ModelError, match="a model 'mine' already"):
            nr.add_model(small_model("deblock"), name)
    nr.add_model(small_model("deblock"), "mine", overwrite=True)
    assert (names("denoise"), names("deblock")) == ([], ["mine"])


def test_the_users_models_follow_the_installed_ones(tiny_model):
    for name in ("b", "A", "c"):
        nr.add_model(tiny_model, name)
    infos = list_models("denoise")
    assert infos[0].variant == "fast"
    assert [info.origin for info in infos[-4:]] == ["installed", "user", "user", "user"]
    assert names() == ["A", "b", "c"]


def test_a_folder_that_cannot_be_written_is_named(tiny_model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in place of the folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "models"):
        monkeypatch.setenv("NAPARI_REDNET_MODELS", str(folder))
        assert names() == []
        with pytest.raises(nr.ModelError, match="folder of your models cannot be made"):
            nr.add_model(tiny_model)


def test_a_full_disk_leaves_the_old_model(tiny_model, monkeypatch):
    nr.add_model(tiny_model, "mine")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for change in (lambda: nr.rename_model("mine", "other"), lambda: nr.add_model(tiny_model)):
        with pytest.raises(nr.ModelError, match="No space left"):
            change()
    assert files() == ["mine.safetensors"]


# Renaming and removing -----------------------------------------------------------------------


def test_renaming_changes_file_and_header(tiny_model):
    nr.add_model(tiny_model, "old")
    before = nr.load_model("old").network.state_dict()
    assert nr.rename_model("old", "new").path.stem == "new"
    assert files() == ["new.safetensors"]
    again = read_model(user_models_folder() / "new.safetensors")
    assert again.name == "new"
    assert all(torch.equal(again.network.state_dict()[key], before[key]) for key in before)


def test_renaming_replaces_no_other_model(tiny_model):
    nr.add_model(tiny_model, "one")
    nr.add_model(tiny_model, "two")
    for taken in ("two", "TWO", "one"):
        with pytest.raises(nr.ModelError, match="already"):
            nr.rename_model("one", taken)
    assert names() == ["one", "two"]


@pytest.mark.parametrize("name", ["denoise-fast", "fast"])
def test_installed_models_are_neither_renamed_nor_removed(name):
    with pytest.raises(nr.ModelError, match="belongs to the package"):
        nr.rename_model(name, "mine")
    with pytest.raises(nr.ModelError, match="belongs to the package"):
        nr.remove_model(name)


@pytest.mark.parametrize("name", ["none", "../tiny", "/etc/passwd"])
def test_unknown_models_are_neither_renamed_nor_removed(tiny_model, name):
    nr.add_model(tiny_model)
    with pytest.raises(nr.ModelError, match=r"no model .* of your own; your models: tiny"):
        nr.rename_model(name, "mine")
    with pytest.raises(nr.ModelError, match=r"no model .* of your own; your models: tiny"):
        nr.remove_model(name)


def test_listeners_are_told(tiny_model, monkeypatch):
    monkeypatch.setattr(registry, "_listeners", set())
    told = []
    on_change(lambda: told.append(names()))
    nr.add_model(tiny_model)
    nr.rename_model("tiny", "mine")
    nr.remove_model("mine")
    assert told == [["tiny"], ["mine"], []]


# Loading -------------------------------------------------------------------------------------


def test_a_model_of_another_task_is_refused_with_those_that_fit(tiny_model, noisy_camera):
    nr.add_model(tiny_model, "my cells")
    nr.add_model(small_model("deblock"), "my blocks")
    message = (
        "'my blocks' was made for deblock, not for denoise; models for denoise: fast.*my cells"
    )
    with pytest.raises(nr.ModelError, match=message):
        nr.denoise(noisy_camera, model="my blocks")


def test_unknown_names_tell_the_users_models_too(tiny_model):
    nr.add_model(tiny_model, "my cells")
    with pytest.raises(nr.ModelError, match=r"no model 'mine'; known: .*denoise-fast.*my cells"):
        nr.load_model("mine")


def test_a_file_renamed_by_hand_goes_by_its_new_name(tiny_model):
    path = nr.add_model(tiny_model, "old").path
    path.rename(path.with_stem("by hand"))
    assert names() == ["by hand"]
    assert nr.load_model("by hand").name == "by hand"


def test_damaged_files_are_left_out_named_once_and_removable(tiny_model):
    nr.add_model(tiny_model, "good")
    nr.add_model(tiny_model, "bad")
    path = damage("bad")
    with pytest.warns(UserWarning, match="left out.*bad.safetensors is damaged"):
        assert names() == ["good"]
    assert names() == ["good"]
    with pytest.raises(nr.ModelError, match="damaged"):
        nr.rename_model("bad", "new")
    nr.remove_model("bad")
    assert not path.exists()


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (None, "not a napari-rednet model"),
        ("no json", "makes no sense"),
        ("[1, 2]", "makes no sense"),
        ("{}", "makes no sense"),
        (header(network={"layers": 5}), "makes no sense"),
        (header(network=3), "makes no sense"),
        (header(task="paint"), "made for 'paint'"),
        (header(task=["denoise"]), "makes no sense"),
        (header(format=99), "newer version"),
    ],
)
def test_foreign_files_are_left_out_and_not_added(tmp_path, contract, message):
    odd = user_models_folder() / "odd.safetensors"
    odd.parent.mkdir(exist_ok=True)
    metadata = {} if contract is None else {"napari_rednet": contract}
    save_file({"weight": torch.zeros(3)}, odd, metadata=metadata)
    with pytest.warns(UserWarning, match=message):
        assert names() == []
    with pytest.raises(nr.ModelError, match=message):
        nr.add_model(odd, "other")


def test_a_file_in_the_way_of_an_installed_model_is_left_out(tiny_model):
    path = nr.add_model(tiny_model).path
    path.rename(path.with_stem("denoise-fast"))
    with pytest.warns(UserWarning, match="has the name of an installed model"):
        assert names() == []
    assert nr.load_model("denoise-fast").config.layers == 20
    nr.remove_model("denoise-fast")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "denoise-fast" in [info.name for info in list_models()]


def test_models_can_be_loaded_by_the_names_that_functions_take():
    found = nr.load_model("fast", task="denoise")
    assert (found.name, found.task) == ("denoise-fast", "denoise")
    assert nr.load_model("denoise-fast", "denoise").name == "denoise-fast"
    with pytest.raises(ModelError, match="made for denoise, not for inpaint"):
        nr.load_model("denoise-fast", "inpaint")
    with pytest.raises(ValueError, match="task must be one of"):
        nr.load_model("fast", task="paint")
    with pytest.raises(ModelError, match="no model 'fast'"):
        nr.load_model("fast")


def test_files_are_read_once_until_they_change(tmp_path):
    """What users load is theirs to change; what functions load is shared."""
    assert load_model_for("denoise", "fast") is load_model_for("denoise", "fast")
    assert nr.load_model("fast", "denoise") is not load_model_for("denoise", "fast")
    path = tmp_path / "mine.safetensors"
    small_model("denoise").save(path)
    first = load_model_for("denoise", path)
    assert load_model_for("denoise", path) is first
    idle_model("denoise").save(path)
    os.utime(path, ns=(1, 1))
    changed = load_model_for("denoise", path)
    assert not any(weights.any() for weights in changed.network.parameters())
    path.unlink()
    with pytest.raises(ModelError, match="no model file"):
        load_model_for("denoise", path)
