"""Lazy results: the same as eager ones, whatever the chunks, threads and processes."""

import os
import signal

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data
from tests.conftest import few

import napari_rednet as nr
from napari_rednet.execution import ResumableOutput, parts
from napari_rednet.restoration.denoise import denoise_steps

IMAGE = np.stack([data.camera()[y : y + 150, :120] for y in (0, 100, 300)]).astype(np.uint16)
RESTORED = {
    "denoise": lambda image: nr.denoise(image, noise=20),
    "denoise, estimated": nr.denoise,
    "deblock": nr.deblock,
    "super_resolve": lambda image: nr.super_resolve(image, 2),
    "inpaint": lambda image: nr.inpaint(image, image > 200),
    "deblur": lambda image: nr.deblur(image, nr.psf.gaussian(1.0), noise=2, iterations=2),
}


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(parts, "_LEAST_PIXELS", 1)
    monkeypatch.setattr(parts, "_ROWS_PER_MARGIN", 1)


@pytest.mark.parametrize("task", RESTORED)
def test_lazy_results_equal_eager_ones(task):
    """Up to a rounding of bfloat16 where a plane was cut into segments."""
    expected = RESTORED[task](IMAGE[:2])
    lazy = RESTORED[task](da.from_array(IMAGE[:2], chunks=(2, 70, 33)))
    assert isinstance(lazy, da.Array)
    found = lazy.compute()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.001


@given(st.tuples(st.integers(1, 3), st.integers(20, 150), st.integers(20, 120)))
@settings(
    max_examples=few(), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_chunks_do_not_matter(tiny_model, chunks):
    expected = nr.denoise(da.from_array(IMAGE, chunks=-1), noise=20, model=tiny_model).compute()
    lazy = nr.denoise(da.from_array(IMAGE, chunks=chunks), noise=20, model=tiny_model)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_range_and_noise_are_those_of_the_whole_whatever_is_computed(tiny_model):
    stack = np.stack([IMAGE[0], 10 * IMAGE[1], IMAGE[2]])
    lazy = nr.denoise(da.from_array(stack, chunks=(1, 50, 50)), model=tiny_model)
    np.testing.assert_array_equal(lazy[1].compute(), lazy.compute()[1])


def test_the_model_is_in_the_graph_once(tiny_model):
    """And so travels once to each worker, however many blocks it restores."""
    sizes = []
    for planes in (1, 30):
        stack = da.zeros((planes, 60, 60), chunks=(1, 60, 60), dtype=np.uint16)
        lazy = nr.denoise(stack, noise=20, model=tiny_model)
        sizes.append(len(cloudpickle.dumps(lazy.__dask_graph__().to_dict())))
    weights = sum(4 * p.numel() for p in tiny_model.network.parameters())
    assert sizes[0] > weights
    assert sizes[1] - sizes[0] < 29 * 0.3 * weights


@pytest.mark.parametrize("chunks", [(1, 64, 64), (2, 40, 120)])
def test_blocks_fill_whole_chunks_of_the_output(chunks, tiny_model):
    """Else threads and processes that write side by side would undo each other's work."""
    out = zarr.create_array({}, shape=IMAGE.shape, chunks=chunks, dtype=IMAGE.dtype)
    lazy = da.from_array(IMAGE, chunks=(3, 30, 50))
    with dask.config.set(scheduler="threads", num_workers=4):
        nr.denoise(lazy, noise=20, model=tiny_model, out=out)
    np.testing.assert_array_equal(out[:], nr.denoise(lazy, noise=20, model=tiny_model).compute())


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_processes_give_the_same(cluster, tiny_model):
    lazy = nr.denoise(da.from_array(IMAGE, chunks=(1, 70, 70)), noise=20, model=tiny_model)
    found = cluster.compute(lazy).result(timeout=120)
    np.testing.assert_array_equal(found, lazy.compute(scheduler="synchronous"))


@pytest.mark.slow
def test_a_job_survives_the_death_of_a_worker(cluster, tiny_model, tmp_path):
    planes = np.concatenate([IMAGE] * 6)
    source = zarr.create_array(
        tmp_path / "in.zarr", shape=planes.shape, chunks=(1, 64, 64), dtype=planes.dtype
    )
    source[:] = planes
    lazy = nr.denoise(da.from_zarr(source), noise=20, model=tiny_model)
    future = cluster.compute(lazy)
    pids = cluster.run(os.getpid)
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    found = future.result(timeout=180)
    np.testing.assert_array_equal(found, lazy.compute(scheduler="synchronous"))


@pytest.fixture
def stored(tmp_path):
    """Arrays of small chunks on the disk: the image, and two for results."""
    options = {"shape": IMAGE.shape, "chunks": (1, 64, 64), "dtype": IMAGE.dtype}
    arrays = [zarr.create_array(tmp_path / f"{n}.zarr", **options) for n in range(3)]
    arrays[0][:] = IMAGE
    return arrays


def test_a_lazy_job_is_continued_where_it_was_stopped(stored, tiny_model, tmp_path, monkeypatch):
    source, whole, broken = stored
    monkeypatch.setitem(dask.config.config, "scheduler", "synchronous")  # in order
    lazy = da.from_zarr(source)
    options = {"noise": 20, "model": tiny_model}
    nr.denoise(lazy, out=whole, **options)
    out = ResumableOutput(broken, tmp_path / "record")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(parts, "_BLOCKS_AT_ONCE", 1)
    steps = denoise_steps(lazy, out=out, **options)
    before = [next(steps) for _ in range(3)]
    steps.close()
    assert 0 < before[-1][0] < IMAGE.size
    broken[0, :64, :64] = 0  # a chunk of a finished block is damaged
    after = list(denoise_steps(lazy, out=out, **options))
    assert 0 < after[0][0] < before[-1][0]
    assert after[-1] == (IMAGE.size, IMAGE.size)
    np.testing.assert_array_equal(broken[:], whole[:])
    assert list(denoise_steps(lazy, out=out, **options)) == [(IMAGE.size, IMAGE.size)]


@pytest.mark.slow
def test_a_cluster_reports_block_by_block_and_ends_with_whoever_waits(cluster, stored, tiny_model):
    source, whole, target = stored
    lazy = da.from_zarr(source)
    seen = [done for done, _ in denoise_steps(lazy, out=whole, noise=20, model=tiny_model)]
    assert seen == sorted(seen)
    assert len(set(seen)) > len(IMAGE)
    assert seen[-1] == IMAGE.size
    steps = denoise_steps(lazy, out=target, noise=20, model=tiny_model)
    assert [next(steps)[0] for _ in range(2)][-1] < IMAGE.size
    assert [key for key in cluster.futures if "_store" in key]
    steps.close()
    assert not [key for key in cluster.futures if "_store" in key]
