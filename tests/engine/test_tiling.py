from hypothesis import given
from hypothesis import strategies as st

from napari_rednet.engine.planes import choose_tiling, cut_into_strips


@given(
    width=st.integers(1, 5000),
    side=st.integers(1, 3000),
    margin=st.integers(0, 60),
    stride=st.sampled_from([1, 2]),
)
def test_strips_cover_each_column_once(width, side, margin, stride):
    strips = cut_into_strips(width, side, margin, stride)
    kept = [column for strip in strips for column in range(strip.keep.start, strip.keep.stop)]
    assert kept == list(range(width))
    for strip in strips:
        assert strip.read.start % stride == 0
        assert strip.read.start == 0 or strip.keep.start - strip.read.start >= margin
        assert strip.read.stop == width or strip.read.stop - strip.keep.stop >= margin


@given(height=st.integers(1, 10**5), width=st.integers(1, 10**5), budget=st.integers(10**6, 10**10))
def test_tiling_stays_within_the_budget_where_it_can(height, width, budget):
    def size(side, band):
        return 1000 * side * (band + 50)

    tiling = choose_tiling((height, width), 2**16, budget, size)
    assert 1 <= tiling.band <= height
    assert tiling.side <= max(width, 64)
    assert tiling.side <= 64 or size(tiling.side, tiling.band) <= budget
