import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.inference import PendingRows, fill_image
from napari_rednet.engine.network import RADIUS


def bands_of(image, known, heights):
    """The rows of an image in bands, with which pixels are known, None where all are."""
    edges = np.cumsum([0, *heights])
    for start, stop in pairwise(edges):
        part = known[..., start:stop, :]
        yield None if part.all() else part, image[..., start:stop, :]


@given(
    given=st.lists(st.integers(1, 7), min_size=1, max_size=8),
    taken=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    ahead=st.integers(0, 20),
    colors=st.sampled_from([(), (3,)]),
    dtype=st.sampled_from(["u1", "i8", "f4"]),
    seed=st.integers(0, 50),
)
def test_rows_are_taken_as_they_were_put(given, taken, ahead, colors, dtype, seed):
    """However they are cut, and however many rows are put ahead of those taken."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, (*colors, sum(given), 5)).astype(dtype)
    known = rng.random(image.shape) < rng.choice([0.5, 1.0])
    pending, bands = PendingRows(), bands_of(image, known, given)
    found, ready, done = [], 0, 0
    for asked in taken:
        count = min(asked, sum(given) - done)
        while ready < min(done + count + ahead, sum(given)):
            finite, rows = next(bands)
            pending.put(finite, rows)
            ready += rows.shape[-2]
        if count:
            found.append(pending.take(count))
            done += count
    for part, expected in zip(zip(*found, strict=True), (known, image), strict=True):
        np.testing.assert_array_equal(np.concatenate(part, -2), expected[..., :done, :])
        assert all(one.dtype == expected.dtype for one in part)


def test_pending_rows_are_those_of_before_the_image_changes():
    """Where the result is written over the image, rows are needed after they are overwritten."""
    image = np.arange(20).reshape(4, 5)
    pending = PendingRows()
    pending.put(None, image)
    expected = image.copy()
    image[:] = -1
    np.testing.assert_array_equal(pending.take(4)[1], expected)


def test_one_thread_puts_while_another_takes():
    pending, image = PendingRows(), np.arange(3000).reshape(1000, 3)
    is_there = threading.Semaphore(0)

    def put():
        for rows in np.split(image, 200):
            pending.put(None, rows)
            is_there.release()

    thread = threading.Thread(target=put)
    thread.start()
    found = []
    for _ in range(200):
        is_there.acquire()
        found += [pending.take(2)[1], pending.take(3)[1]]
    thread.join()
    np.testing.assert_array_equal(np.concatenate(found), image)


def test_more_than_was_put_cannot_be_taken():
    pending = PendingRows()
    pending.put(None, np.zeros((3, 4)))
    with pytest.raises(IndexError):
        pending.take(4)


@pytest.mark.parametrize("value", [0.0, 1e6])
def test_what_unknown_pixels_hold_does_not_matter(value):
    image = torch.rand((1, 1, 30, 40), generator=seeded())
    known = (torch.rand(image.shape, generator=seeded(1)) < 0.7).float()
    filled = fill_image(torch.where(known > 0, image, value), known)
    expected = fill_image(image * known, known)
    torch.testing.assert_close(filled, expected)
    assert torch.equal(filled[known > 0], image[known > 0])
    low, high = image.amin(), image.amax()
    assert ((filled >= low) & (filled <= high)).all()


def test_far_from_all_that_is_known_there_is_nothing():
    image = torch.ones(1, 1, 40, 40)
    known = torch.zeros_like(image)
    known[..., :10, :] = 1
    filled = fill_image(image, known)
    assert torch.equal(filled[..., : 10 + RADIUS - 3, :].round(), image[..., : 10 + RADIUS - 3, :])
    assert not filled[..., 10 + RADIUS + 1 :, :].any()
