"""Parts of planes that are seen, and what one can be made of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_rednet.widgets.restore.preview_view import View, missing_parts

SIDE = 40


@st.composite
def views(draw):
    """A part of a plane."""
    sides = [sorted(draw(st.sets(st.integers(0, SIDE), min_size=2, max_size=2))) for _ in "yx"]
    return View((draw(st.integers(0, 3)) // 3,), *(slice(*side) for side in sides))


def count(parts):
    """How often each pixel of the plane is part of them."""
    counts = np.zeros((SIDE, SIDE), int)
    for part in parts:
        counts[part.rows, part.columns] += 1
    return counts


@given(views(), views())
def test_overlaps_and_what_is_beyond_make_the_whole(one, other):
    common = one.overlap(other)
    if one.place != other.place:
        assert common is None
        return
    np.testing.assert_array_equal(
        count([] if common is None else [common]), count([one]) * count([other])
    )
    assert other.covers(one) == (common == one)
    if common is not None:
        np.testing.assert_array_equal(count([common, *one.without(common)]), count([one]))


@given(views(), views(), st.integers(0, 30))
def test_what_is_missing_is_found_and_costs_no_more_than_all(view, known, margin):
    def cost(parts):
        return sum(np.prod([side + margin for side in part.shape]) for part in parts)

    parts = missing_parts(view, known, margin)
    assert cost(parts) <= cost([view])
    counts = count(parts)
    assert counts.max(initial=0) <= 1
    inside = known if known.place == view.place else None
    needed = count([view]) - (0 if inside is None else count([view]) * count([inside]))
    assert (counts >= needed).all()
    assert (counts <= count([view])).all()


@given(views(), st.integers(1, 4))
def test_magnified_is_as_many_pixels_of_each(view, factor):
    enlarged = np.kron(count([view]), np.ones((factor, factor), int))
    rows, columns = view.magnified(factor)
    assert enlarged[rows, columns].all()
    assert enlarged[rows, columns].size == enlarged.sum()
