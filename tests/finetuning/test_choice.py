import pytest

from napari_rednet.finetuning import METHODS, choose_method
from napari_rednet.tasks import TASKS

DROPPED = ("neighbors", "blind-spot", "subsampled")

# What goes with what: the first is what is chosen.
FITTING = {
    ("denoise", True, True): ("paired", "clean"),
    ("denoise", False, True): ("clean",),
    ("denoise", True, False): ("pseudo-clean",),
    ("deblock", True, True): ("paired",),
    **{(task, True, False): ("clean",) for task in ("super_resolve", "deblock", "inpaint")},
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("targets", [True, False])
@pytest.mark.parametrize("method", [None, *METHODS, *DROPPED, "guess"])
def test_what_is_given_decides(task, images, targets, method):
    fitting = FITTING.get((task, images, targets), ())
    given = {"images": images, "targets": targets}
    if fitting and method is None:
        assert choose_method(task, None, **given) == fitting[0]
    elif method in fitting:
        assert choose_method(task, method, **given) == method
    else:
        with pytest.raises(ValueError, match=r"method|give images|alone"):
            choose_method(task, method, **given)


@pytest.mark.parametrize("method", [*DROPPED, "guess"])
def test_the_methods_there_are_are_named(method):
    message = f"method must be one of paired, clean, pseudo-clean, got '{method}'"
    with pytest.raises(ValueError, match=message):
        choose_method("denoise", method, images=True, targets=False)
