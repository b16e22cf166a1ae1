"""Zarrs at a URL: in a file system of the tests' own, and from a server on this machine."""

import contextlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest
from tests.conftest import small_model
from tests.io.conftest import STACK, written
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.batch import plan_batch
from napari_rednet.batch.restoring import state_of
from napari_rednet.errors import ImageFileError
from napari_rednet.io import read_image
from napari_rednet.io.sources import RemotePath, as_path


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def in_memory(folder):
    """Nothing is listed, or found, but what is asked for by its name."""
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/files", recursive=True)
    try:
        yield "memory://files"
    finally:
        system.rm("/files", recursive=True)


@pytest.fixture
def folder(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "there").mkdir()
    return tmp_path


@pytest.mark.parametrize("place", [served, in_memory])
def test_a_zarr_at_a_url_is_restored(folder, version, place):
    source = written(folder / "there/a.ome.zarr", [STACK[0, 0, :48, :64]], "yx", version=version)
    model = folder / "tiny.safetensors"
    expected = nr.denoise(read_image(source).data[...], noise=5, model=model)
    options = ("--model", model, "--noise", 5)
    with place(folder / "there") as url:
        code, text = call("denoise", f"{url}/a.ome.zarr", folder / "b.zarr", *options)
        assert code == 0, text
        out = ("--out", folder / "out")
        code, text = call("denoise", f"{url}/a.ome.zarr", *out, *options)
        assert code == 0, text
        code, text = call("denoise", f"{url}/a.ome.zarr", *out, *options, "--resume")
        assert "1 skipped" in text
        code, text = call("denoise", f"{url}/none.zarr", folder / "c.zarr", *options)
        assert code == 1
        assert f"{url}/none.zarr" in text
        assert "Traceback" not in text
        code, text = call("denoise", f"{url}/a.tif", folder / "c.tif", *options)
        assert "only Zarrs are read from URLs" in text
    for path in (folder / "b.zarr", folder / "out/a.ome.zarr"):
        np.testing.assert_array_equal(read_image(path).data[...], expected)


def test_metadata_tell_whether_it_changed(folder):
    written(folder / "there/a.zarr", [STACK[0, 0]], "yx", version="0.5")
    with in_memory(folder / "there") as url:
        path = as_path(f"{url}/a.zarr")
        before = state_of(path)
        assert state_of(path) == before
        fsspec.filesystem("memory").pipe("/files/a.zarr/zarr.json", b"{}")
        assert state_of(path) != before


@pytest.mark.parametrize("url", ["s3://bucket/b.zarr", "memory://b.zarr", "https://h.example/b"])
@pytest.mark.parametrize("option", [(), ("--out",)])
def test_nothing_is_written_to_a_url(folder, monkeypatch, url, option):
    """Nor into folders here that are called like one."""
    written(folder / "there/a.zarr", [STACK[0, 0]], "yx", version="0.5")
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    code, text = call("denoise", folder / "there/a.zarr", *option, url)
    assert code == 1
    assert "results are not written to URLs" in text
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("url", ["s3://bucket/a/b.zarr", "https://host.example/x/c.zarr"])
def test_urls_stay_what_they_are(tmp_path, url):
    path = as_path(url)
    assert str(path) == str(path.resolve()) == url
    assert str(path / "0") == f"{url}/0"
    assert path.suffix == ".zarr"
    assert isinstance(path, RemotePath)
    assert not isinstance(as_path("a/b.zarr"), RemotePath)
    assert not isinstance(as_path("C:/b.zarr"), RemotePath)


def test_without_fsspec_or_a_server_a_line_tells(tmp_path, monkeypatch):
    code, text = call("denoise", "http://127.0.0.1:9/a.zarr", tmp_path / "b.zarr")
    assert code == 1
    assert "error: http://127.0.0.1:9/a.zarr" in text
    assert "cannot be read" in text

    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ImageFileError, match="needs: pip install fsspec"):
        plan_batch([as_path("http://127.0.0.1:9/a.zarr")], tmp_path / "out")
