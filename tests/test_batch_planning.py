"""Which files a batch restores, and where their results go."""

import glob
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_rednet.batch import plan_batch
from napari_rednet.batch.planning import is_pattern
from napari_rednet.errors import ImageFileError
from napari_rednet.io import has_image_name


def make(folder, *names):
    """Empty files; a name that ends in a slash is a folder."""
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def planned(folder, *sources, out="out"):
    """Sources, as names below the folder, and the names of their results."""
    files = plan_batch([folder / s for s in sources], folder / out)
    assert all(f.result == folder / out / f.name for f in files)
    return {f.source.relative_to(folder).as_posix(): f.name for f in files}


def test_a_folder_is_all_images_below_it(tmp_path):
    make(tmp_path, "in/a.tif", "in/b.TIFF", "in/deep/er/c.tif", "in/z.zarr/", "in/notes.txt")
    assert planned(tmp_path, "in") == {
        "in/a.tif": "a.tif",
        "in/b.TIFF": "b.TIFF",
        "in/deep/er/c.tif": "deep/er/c.tif",
        "in/z.zarr": "z.zarr",
    }


def test_hidden_files_and_what_lies_in_a_zarr_are_left_out(tmp_path):
    make(tmp_path, "in/a.tif", "in/._a.tif", "in/.trash/b.tif", "in/z.zarr/0/c.tif", "in/z.zarr/x")
    everything = {"in/a.tif": "a.tif", "in/z.zarr": "z.zarr"}
    assert planned(tmp_path, "in") == everything
    assert planned(tmp_path, "in/**") == everything
    assert planned(tmp_path, "in/**/*.tif") == {"in/a.tif": "a.tif"}


def test_patterns_mirror_what_lies_below_their_fixed_part(tmp_path):
    make(tmp_path, "in/p1/a.tif", "in/p2/a.tif", "in/p2/raw/b.tif", "in/q/a.tif")
    assert planned(tmp_path, "in/p*/*.tif") == {
        "in/p1/a.tif": "p1/a.tif",
        "in/p2/a.tif": "p2/a.tif",
    }
    assert planned(tmp_path, "in/p2/**/?.tif") == {
        "in/p2/a.tif": "a.tif",
        "in/p2/raw/b.tif": "raw/b.tif",
    }


def test_files_keep_their_names_and_are_taken_once(tmp_path):
    make(tmp_path, "x/a.tif", "y/b.tif", "c.zarr/")
    sources = ("x/a.tif", "y/../y/b.tif", "c.zarr", "x/a.tif", "x/*.tif", "x")
    found = plan_batch([tmp_path / s for s in sources], tmp_path / "out")
    assert [f.name for f in found] == ["a.tif", "b.tif", "c.zarr"]


def test_brackets_may_be_part_of_a_name(tmp_path):
    make(tmp_path, "cells [2]/image[1].tif", "cells [2]/image1.tif", "cells 2/other.tif")
    name = "cells [2]/image[1].tif"
    assert planned(tmp_path, name) == {name: "image[1].tif"}
    assert set(planned(tmp_path, "cells [2]/*.tif").values()) == {"image[1].tif", "image1.tif"}


def test_an_image_inside_a_zarr_gets_a_name_of_its_own(tmp_path):
    make(tmp_path, "plate.zarr/A/1/0/zarr.json")
    assert planned(tmp_path, "plate.zarr/A/1/0") == {"plate.zarr/A/1/0": "0.zarr"}


@pytest.mark.parametrize("source", ["in", "in/**/*.tif", "in/*/*.tif"])
def test_the_folder_of_the_results_is_no_source(tmp_path, source):
    make(tmp_path, "in/sub/a.tif", "in/out/a.tif", "in/out/sub/a.tif")
    assert set(planned(tmp_path, source, out="in/out")) == {"in/sub/a.tif"}


def test_results_may_lie_beside_a_folder_of_sources(tmp_path):
    make(tmp_path, "in/raw/a.tif", "in/a.tif")
    assert planned(tmp_path, "in/raw", out="in") == {"in/raw/a.tif": "a.tif"}


@pytest.mark.parametrize(
    ("sources", "out"),
    [
        (["in"], "in"),
        (["in/a.tif"], "in"),
        (["in/raw", "other.tif"], "in"),
        (["in/z.zarr"], "in"),
        (["in/z.zarr"], "in/z.zarr"),
        (["in/z.zarr"], "in/z.zarr/deep/er"),
        (["in/link"], "in"),
    ],
)
def test_no_result_overwrites_a_source(tmp_path, sources, out):
    make(tmp_path, "in/a.tif", "in/raw/a.tif", "in/z.zarr/")
    (tmp_path / "in/link").symlink_to(tmp_path / "in")
    (tmp_path / "other.tif").symlink_to(tmp_path / "in/a.tif")
    with pytest.raises(ImageFileError, match="another folder for the results"):
        planned(tmp_path, *sources, out=out)


def test_a_link_in_the_place_of_a_result_may_lead_to_a_source(tmp_path):
    make(tmp_path, "in/a.tif", "out/")
    (tmp_path / "out/a.tif").symlink_to(tmp_path / "in/a.tif")
    with pytest.raises(ImageFileError, match="would overwrite"):
        planned(tmp_path, "in")


def test_no_source_lies_in_the_place_of_a_result(tmp_path):
    make(tmp_path, "in/z.zarr/", "out/z.zarr/sub/a.tif")
    with pytest.raises(ImageFileError, match="lies in the place of a result"):
        planned(tmp_path, "in/z.zarr", "out/z.zarr/sub/a.tif")


def test_two_results_of_one_name_are_refused(tmp_path):
    make(tmp_path, "x/a.tif", "y/a.tif")
    with pytest.raises(ImageFileError, match=r"x.a\.tif and .*y.a\.tif would both be written"):
        planned(tmp_path, "x/a.tif", "y/a.tif")
    assert len(planned(tmp_path, "?/a.tif")) == 2


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_names_that_differ_in_case_clash_where_disks_ignore_it(tmp_path, monkeypatch, platform):
    make(tmp_path, "x/a.tif", "y/A.tif")
    assert len(planned(tmp_path, "x", "y")) == 2
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ImageFileError, match="would both be written"):
        planned(tmp_path, "x", "y")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.tif", "there is no file"),
        ("missing", "there is no file"),
        ("missing/*.tif", "there is no folder"),
        ("in/*.tiff", r"no images \(.tif, .tiff, .png, .jpg or .zarr\) match"),
        ("in/*.txt", "no images"),
        ("empty", "there are no images"),
        ("in/notes.txt", "must be a .tif, .tiff, .png, .jpg or .zarr file"),
    ],
)
def test_nothing_to_restore_is_an_error_in_words(tmp_path, source, message):
    make(tmp_path, "in/a.tif", "in/notes.txt", "empty/")
    with pytest.raises(ImageFileError, match=message):
        planned(tmp_path, source)


def test_a_folder_that_cannot_be_searched_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    make(tmp_path, "in/a.tif")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageFileError, match="cannot be searched: Permission denied"):
        planned(tmp_path, "in")


def test_links_to_folders_are_followed_but_not_round_and_round(tmp_path):
    make(tmp_path, "elsewhere/b.tif", "in/a.tif")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/round").symlink_to(tmp_path / "in")
    assert planned(tmp_path, "in") == {"in/a.tif": "a.tif", "in/link/b.tif": "link/b.tif"}


def test_the_users_folder_has_a_short_name_in_quotes_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(make(tmp_path, "in/a.tif")))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (file,) = plan_batch([Path("~/in/*.tif")], tmp_path / "out")
    assert file.source == tmp_path / "in/a.tif"


def test_relative_names_are_taken_from_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(make(tmp_path, "in/a.tif", "in/z.zarr/zarr.json"))
    assert [f.name for f in plan_batch([Path("*/*.tif")], Path("out"))] == ["in/a.tif"]
    assert [f.name for f in plan_batch([Path()], Path("out"))] == ["in/a.tif", "in/z.zarr"]
    monkeypatch.chdir(tmp_path / "in/z.zarr")
    assert [f.name for f in plan_batch([Path()], tmp_path / "out")] == ["z.zarr"]


NAMES = st.sampled_from(["a", "ab", "b.tif", "c.tif", ".d.tif", ".e", "f.txt"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PARTS = st.sampled_from(["**", "*", "a*", "?", "*.tif", "[bc].tif", "[!b].tif", "b.tif", "a"])


@given(st.sets(PATHS, max_size=8), st.lists(PARTS, min_size=1, max_size=4))
def test_patterns_match_as_pythons_own_do(tmp_path_factory, names, parts):
    folder = tmp_path_factory.mktemp("tree")
    for name in sorted(names, key=len, reverse=True):
        path = folder / name
        if not path.exists() and not any(p.is_file() for p in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    pattern = folder / "/".join(parts)
    expected = {
        Path(p)
        for p in glob.glob(str(pattern), recursive=True)  # noqa: PTH207 (what it is compared with)
        if not p.endswith(os.sep) and Path(p).is_file() and has_image_name(Path(p), is_folder=False)
    }
    if not is_pattern(pattern):
        return
    try:
        found = {f.source for f in plan_batch([pattern], folder / "out")}
    except ImageFileError:
        found = set()
    assert found == expected
