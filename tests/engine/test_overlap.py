import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_rednet.engine.inference import one_ahead, one_behind

LONG = 60


@given(st.lists(st.integers() | st.none()))
def test_items_come_as_they_are_and_in_order(items):
    assert list(one_ahead(iter(items))) == items


@given(st.lists(st.integers()))
def test_work_is_done_as_map_does_it(items):
    seen = []
    assert list(one_behind(lambda i: seen.append(i) or -i, iter(items))) == [-i for i in items]
    assert seen == items


def test_the_next_item_is_made_while_one_is_in_use():
    second_is_made = threading.Event()

    def items():
        yield 1
        second_is_made.set()
        yield 2

    for item in one_ahead(items()):
        # Alone, making the second item would wait for the end of this turn.
        assert second_is_made.wait(LONG), item


def test_work_goes_on_while_the_next_item_is_made():
    first_is_done = threading.Event()

    def items():
        yield 1
        yield 2
        assert first_is_done.wait(LONG)
        yield 3

    def work(item):
        if item == 1:
            first_is_done.set()
        return item

    assert list(one_behind(work, items())) == [1, 2, 3]


def test_an_error_comes_in_the_place_of_its_item():
    def items():
        yield 1
        raise OSError("the disk is gone")

    found = []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(one_ahead(items()))
    assert found == [1]


def test_an_error_of_the_work_ends_it():
    done = []

    def work(item):
        if item == 3:
            raise OSError("the disk is full")
        done.append(item)
        return item

    with pytest.raises(OSError, match="the disk is full"):
        list(one_behind(work, iter(range(100))))
    assert done == [0, 1, 2]


def test_whoever_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    chain = one_behind(lambda i: i, one_ahead(iter(range(100))))
    assert next(chain) == 0
    chain.close()
    assert threading.active_count() == before
