"""The layers: widgets, cli -> verbs -> zoo -> engine, and nothing the other way."""

import ast
from pathlib import Path

import pytest

import napari_rednet

ROOT = Path(napari_rednet.__file__).parent
MODULES = sorted(p for p in ROOT.rglob("*.py") if not p.is_symlink())
GUI = {"napari", "magicgui", "qtpy", "superqt"}

# What each layer may import of the package; a module at the top is named by its file.
BELOW = {
    "errors": set(),
    "engine": {"errors"},
    "zoo": {"errors", "engine"},
    "io": {"errors"},
    "sample_data": {"engine", "psf"},
}
TOP = {"cli", "widgets", "demo"}


def layer(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def inner_imports(path):
    parts = (name.split(".") for name in imported(path))
    return {p[1] for p in parts if p[0] == "napari_rednet" and len(p) > 1}


def test_there_is_something_to_check():
    assert {"engine", "zoo", "io", "widgets", "cli"} <= {layer(p) for p in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = layer(path)
    others = inner_imports(path) - {own}
    if own in BELOW:
        assert others <= BELOW[own]
    if own not in TOP and own != "__init__":
        assert not others & TOP


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_widgets_know_a_gui(path):
    outside = {name.split(".")[0] for name in imported(path)}
    assert layer(path) in ("widgets", "demo") or not outside & GUI


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_code_has_no_asserts_and_no_pickles(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    assert "pickle" not in set(imported(path))
