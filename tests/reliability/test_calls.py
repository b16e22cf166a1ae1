"""Generated calls: whatever an image holds, and however it is stored, the promises hold."""

import math
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.reliability.calls import NOISY, VERBS, Call, calls, images

import napari_rednet as nr

pytestmark = [
    # Photons that are rounded away, noise in a wrong unit, colours in the last axis: told, and no
    # failure.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def tolerance(call):
    """What rounding may change: a share of the range, and of the last digit of a dtype."""
    image = call.image
    known = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if not known.size:
        return 0.0
    low, high = (float(v) for v in (known.min(), known.max()))
    digits = np.finfo(image.dtype).eps if image.dtype.kind == "f" else 2.0**-52
    return (
        0.02 * (high - low)
        + 8 * float(digits) * max(abs(low), abs(high))
        + (1.01 if image.dtype.kind in "iu" else 0.0)
    )


def assert_close(found, expected, call):
    """Equal up to rounding, and not finite at the same places."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind in "iu":
        apart = [abs(int(a) - int(b)) for a, b in zip(found.flat, expected.flat, strict=True)]
        assert max(apart, default=0) <= tolerance(call)
        return
    known = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), known)
    with np.errstate(over="ignore"):
        apart = np.abs(found[known].astype(float) - expected[known].astype(float))
    assert (apart <= tolerance(call)).all()


def check_basics(call, result):
    """Shape, dtype, input untouched, finite stays finite."""
    image, scale = call.image, call.scale
    axes = (-3, -2) if call.options.get("rgb") else (-2, -1)
    shape = list(image.shape)
    for axis in axes:
        shape[axis] *= scale
    assert result.shape == tuple(shape)
    assert result.dtype == image.dtype
    if image.dtype.kind != "f":
        return
    unknown = ~np.isfinite(image)
    for axis in axes:
        unknown = unknown.repeat(scale, axis)
    if call.verb == "inpaint":  # missing pixels are filled whatever they held
        unknown = unknown & ~np.broadcast_to(call.more[0], image.shape)
    if call.options.get("rgb"):
        # A colour that is not finite may leave the others without a luminance.
        return
    np.testing.assert_array_equal(~np.isfinite(result), unknown)


def same_again(call, result, draw):
    np.testing.assert_array_equal(call(), result)


def into_out(call, result, draw):
    kind = draw(st.sampled_from(["array", "zarr", "strided"]))
    if kind == "zarr":
        chunks = tuple(draw(st.integers(1, n)) for n in result.shape)
        out = zarr.create_array(
            {}, shape=result.shape, chunks=chunks, dtype=result.dtype.newbyteorder("=")
        )
    elif kind == "strided":
        out = np.empty((*result.shape, 2), result.dtype)[..., 0]
    else:
        out = np.empty_like(result)
    assert call(out=out) is out
    assert_close(np.asarray(out[...]).astype(result.dtype), result, call)


def of_other_kinds(call, result, draw):
    """The same values: read-only, in other orders of memory, from a zarr array, in a list."""
    kind = draw(st.sampled_from(["read-only", "fortran", "reversed", "zarr"]))
    image = call.image.copy()
    if kind == "read-only":
        image.setflags(write=False)
    elif kind == "fortran":
        image = np.asfortranarray(image)
    elif kind == "reversed":
        image = np.ascontiguousarray(image[::-1])[::-1]
    else:
        chunks = tuple(draw(st.integers(1, n)) for n in image.shape)
        stored = zarr.create_array({}, shape=image.shape, chunks=chunks, dtype=image.dtype)
        stored[...] = image
        image = stored
    assert_close(np.asarray(call(image)).astype(result.dtype), result, call)


def lazily(call, result, draw):
    chunks = tuple(draw(st.integers(max(1, n // 3), n)) for n in call.image.shape)
    lazy = call(da.from_array(call.image, chunks=chunks))
    assert isinstance(lazy, da.Array)
    assert lazy.dtype == result.dtype
    assert_close(lazy.compute(scheduler="synchronous"), result, call)


def in_another_order(call, result, draw):
    if call.image.ndim < 3 or call.options.get("rgb"):
        return
    turned = call(np.ascontiguousarray(call.image[::-1]))
    noise = call.options.get("noise")
    assert noise is None or not isinstance(noise, list)
    assert_close(turned[::-1], result, call)


def in_tiles(call, result, draw):
    if call.verb == "deblur":  # joins close to it, not bit by bit
        return
    changes = draw(st.sampled_from([{"tile": 16}, {"tile": 23}, {"memory": "4GB"}]))
    assert_close(call(**changes), result, call)


def in_other_units(call, result, draw):
    """Powers of 2 change no digit."""
    if call.image.dtype != np.float64 or not np.isfinite(call.image).all():
        return
    factor = 2.0 ** draw(st.integers(-30, 30))
    noise = call.options.get("noise")
    changes = {}
    if isinstance(noise, nr.NoiseModel):
        changes["noise"] = nr.NoiseModel(
            gain=noise.gain * factor, read_noise=noise.read_noise * factor
        )
    elif noise is not None:
        changes["noise"] = noise * factor
    scaled = call(call.image * factor, **changes)
    assert_close(scaled / factor, result, call)


def shifted(call, result, draw):
    """What lies on an offset is restored as what does not."""
    image, noise = call.image, call.options.get("noise")
    if call.verb in NOISY and noise is None:  # measured anew, from what rounding leaves
        return
    if call.verb == "deblock" and image.dtype == np.uint8:  # codes of JPEG, not in their range
        return
    changes = {}
    if image.dtype.kind == "f":
        if image.dtype.itemsize < 8 or not np.isfinite(image).all():
            return
        offset = draw(st.sampled_from([-3.0, 1.0, 1000.0])) * float(np.ptp(image))
    else:
        if image.dtype.itemsize > 4:
            return
        room = int(np.iinfo(image.dtype).max) - int(image.max())
        offset = min(draw(st.sampled_from([1, 7, 1000])), room)
    if isinstance(noise, nr.NoiseModel):
        changes["noise"] = replace(noise, offset=noise.offset + offset)
    moved = (
        image.astype(np.int64) + offset if image.dtype.kind in "iu" else image + offset
    ).astype(image.dtype)
    found = call(moved, **changes)
    if image.dtype.kind == "f":
        apart = np.abs(found - offset - result)
        digits = 8 * np.finfo(np.float64).eps * (abs(offset) + float(np.abs(image).max()))
        assert (apart <= tolerance(call) + digits).all()
        return
    limits = np.iinfo(image.dtype)
    # What is cut off at the ends of the dtype is so at other values.
    pair = (found.astype(np.int64) - offset, result.astype(np.int64))
    one, other = (values.clip(limits.min, limits.max - offset) for values in pair)
    assert np.abs(one - other).max() <= tolerance(call)


def constants_stay(call, result, draw):
    known = call.image[np.isfinite(call.image)] if call.image.dtype.kind == "f" else call.image
    if not known.size or not (known == known.flat[0]).all() or known.size != call.image.size:
        return
    if call.verb == "inpaint" and call.more[0].all():
        return
    assert (result == known.flat[0]).all()


RELATIONS = (
    same_again, into_out, of_other_kinds, lazily, in_another_order, in_tiles, in_other_units,
    shifted,
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_generated_call_keeps_the_promises(verb, counted):
    @settings(
        max_examples=max(1, settings.default.max_examples // (1 if _is_long() else 2)),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data):
        call = data.draw(calls((verb,)))
        before = call.image.tobytes()
        result = call()
        assert call.image.tobytes() == before
        check_basics(call, result)
        constants_stay(call, result, data.draw)
        data.draw(st.sampled_from(RELATIONS))(call, result, data.draw)
        assert call.image.tobytes() == before
        counted("calls")

    check()


def _is_long():
    return settings.default.max_examples >= 1000


@pytest.mark.parametrize("verb", NOISY)
def test_no_noise_makes_an_image_noisier(verb, counted):
    @settings(
        max_examples=max(1, settings.default.max_examples // 5),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        image=images(("f4", "f8", "u2"), ()),
        exponent=st.floats(0, 12),
        how=st.sampled_from(["noise", "strength", "gain"]),
    )
    def check(image, exponent, how):
        known = image[np.isfinite(image)].astype(float)
        span = np.ptp(known) if known.size else 1.0
        if not (span and min(image.shape) > 10):
            return
        level = span * 10.0**exponent
        options = {
            "noise": {"noise": level},
            "strength": {"noise": span, "strength": 10.0**exponent},
            "gain": {"noise": nr.NoiseModel(gain=level, offset=float(known.min()))},
        }[how]
        more = (nr.psf.gaussian(1.0),) if verb == "deblur" else ()
        result = Call(verb, image, more, options)()
        most = 1.001 if verb == "denoise" else 1.05  # some photons may be sharpened
        assert roughness(result) <= most * roughness(image) + 1e-9 * span
        counted("noisier")

    check()


def roughness(image):
    """Mean difference of neighbours that are finite."""
    with np.errstate(invalid="ignore"):
        steps = np.abs(np.diff(image.astype(float)))
    steps = steps[np.isfinite(steps)]
    return float(steps.mean()) if steps.size else math.inf
