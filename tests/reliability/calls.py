"""Hypothesis strategies for calls of the functions that restore: images of all kinds, options."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data
from tests.conftest import small_model

import napari_rednet as nr

VERBS = ("denoise", "super_resolve", "deblock", "inpaint", "deblur")
NOISY = ("denoise", "deblur")
COLOURED = ("denoise", "super_resolve", "deblock")
INTEGERS = ("u1", "u2", "i2", "i4", "i8", "u8", ">u2")
FLOATS = ("f2", "f4", "f8", ">f4")
CONTENTS = (
    "scene", "scene", "scene", "photons", "constant", "hot", "clipped", "noise", "two levels",
    "unknown", "infinite", "zeros", "step",
)  # fmt: skip
PSFS = {
    "gaussian": nr.psf.gaussian(1.0),
    "disk": nr.psf.disk(1.5),
    "motion": nr.psf.motion(3.0, 30.0),
    "even": np.ones((2, 2)),
}


@dataclass(frozen=True)
class Call:
    """A call: the verb, its image, further positional arguments, and options."""

    verb: str
    image: Any
    more: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, image=None, **changes):
        given = self.image if image is None else image
        return getattr(nr, self.verb)(given, *self.more, **{**self.options, **changes})

    @property
    def scale(self):
        return self.more[0] if self.verb == "super_resolve" else 1

    def __repr__(self):
        shape, dtype = self.image.shape, self.image.dtype
        return f"{self.verb}({shape} {dtype}, {self.options})"


def plane(kind, shape, seed):
    """An image of about 0 to 255 in float64."""
    lot = np.random.default_rng(seed)
    top = int(lot.integers(0, 400))
    scene = data.camera()[top : top + shape[0], 100 : 100 + shape[1]].astype(np.float64)
    noisy = scene + lot.normal(0, lot.choice([0, 2, 20]), shape)
    if kind == "photons":
        noisy = lot.poisson(ndimage.gaussian_filter(scene, 1) / 400).astype(float)
    elif kind in ("constant", "zeros"):
        noisy = np.full(shape, 0.0 if kind == "zeros" else 77.0)
    elif kind == "hot":
        noisy = np.where(lot.random(shape) < 0.01, 250.0, 10 + lot.normal(0, 1, shape))
    elif kind == "clipped":
        noisy = (3 * (noisy - 128)).clip(0, 255)
    elif kind == "noise":
        noisy = lot.normal(100, 20, shape)
    elif kind == "two levels":
        noisy = 100.0 * (scene > 100)
    elif kind == "step":
        noisy = np.where(np.arange(shape[1]) < shape[1] // 2, 5.0, 200.0) * np.ones(shape)
    return noisy


@st.composite
def images(draw, dtypes=INTEGERS + FLOATS, axes=None):
    """Images of up to 4 axes; of floats some have pixels that are not finite."""
    sides = draw(st.sampled_from([(24, 31), (40, 33), (16, 17), (12, 20), (5, 40), (1, 1), (7, 1)]))
    leading = draw(st.sampled_from([(), (), (1,), (2,), (3,), (2, 2)])) if axes is None else axes
    kind, seed = draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 10**6))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    flat = [plane(kind, sides, seed + i) for i in range(int(np.prod(leading)))]
    values = np.stack(flat).reshape(*leading, *sides)
    if dtype.kind == "f":
        values = values * draw(st.sampled_from([1.0, 1.0, 1 / 255, 2.0**-20]))
        if dtype.itemsize == 8:
            values = values * draw(st.sampled_from([1.0, 2.0**-300, 2.0**300]))
        lot = np.random.default_rng(seed)
        if kind == "unknown":
            values[lot.random(values.shape) < 0.1] = np.nan
        if kind == "infinite":
            values[lot.random(values.shape) < 0.02] = draw(st.sampled_from([np.inf, -np.inf]))
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    offset = (
        draw(st.sampled_from([0, 0, limits.max - 300, limits.max // 2]))
        if (dtype.itemsize > 1)
        else 0
    )
    steps = np.rint(values.clip(0, 255)).astype(int)
    return np.array([offset + int(v) for v in steps.flat], dtype=dtype).reshape(values.shape)


def _noise(draw, image):
    """Noise in units of the image, or none, and its strength."""
    known = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    span = float(known.max()) - float(known.min()) if known.size else 1.0
    options = {"strength": draw(st.sampled_from([1.0, 1.0, 0.5, 2.0, 0.0]))}
    level = draw(st.sampled_from([None, 0.0, 0.001, 0.05, 0.3]))
    if level is not None:
        model = nr.NoiseModel(gain=level * span / 50, read_noise=level * span)
        options["noise"] = draw(st.sampled_from([level * span, model]))
    return options


def _more(draw, verb, image):
    """The arguments of a verb after the image."""
    if verb == "super_resolve":
        return (draw(st.sampled_from([2, 3, 4])),)
    if verb == "inpaint":
        lot = np.random.default_rng(draw(st.integers(0, 10**6)))
        mask = lot.random(image.shape[-2:]) < draw(st.sampled_from([0.0, 0.1, 0.6]))
        mask[0, 0] = False  # something has to be known
        return (mask,)
    if verb == "deblur":
        psf = PSFS[draw(st.sampled_from(sorted(PSFS)))]
        fits = all(p <= n for p, n in zip(psf.shape, image.shape[-2:], strict=True))
        return (psf if fits else np.ones((1, 1)),)
    return ()


@cache
def small(verb):
    """A model that costs little: what is promised of arrays does not depend on the weights."""
    return small_model("denoise" if verb == "deblur" else verb)


@st.composite
def calls(draw, verbs=VERBS):
    """Calls whose arguments are as they should be, one in four with the model that is shipped."""
    verb = draw(st.sampled_from(verbs))
    image, options = draw(images()), {}
    if verb in COLOURED and draw(st.integers(0, 5)) == 0:
        parts = [image, image[..., ::-1, :], image[..., ::-1]]
        image, options = np.stack(parts, -1), {"rgb": True}
    elif draw(st.integers(0, 3)) == 0 and image.ndim > 2:
        options["channel_axis"] = draw(st.integers(0, image.ndim - 3))
    if verb in NOISY:
        options |= _noise(draw, image)
    if verb != "inpaint":
        options["defects"] = draw(st.sampled_from(["repair", "repair", "keep"]))
    if draw(st.integers(0, 3)):
        options["model"] = small(verb)
    if verb == "deblur":
        options["iterations"] = 2
    elif "model" in options and draw(st.integers(0, 9)) == 0:
        options["ensemble"] = True
    return Call(verb, image, _more(draw, verb, image), options)
