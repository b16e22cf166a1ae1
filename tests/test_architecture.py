"""The layers: widgets, cli -> batch -> verbs -> models -> engine, and nothing the other way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import napari_rednet

ROOT = Path(napari_rednet.__file__).parent
MODULES = sorted(p for p in ROOT.rglob("*.py") if not p.is_symlink())
GUI = {"napari", "magicgui", "qtpy", "superqt"}

# All layers, and what each may import of the package; a module at the top is named by its file.
BELOW = {
    "errors": "",
    "files": "errors",
    "engine": "errors",
    "io": "errors files",
    "tasks": "",
    "options": "",
    "grain": "engine",
    "noise": "engine grain",
    "psf": "engine",
    "sample_data": "engine",
    "models": "engine errors files tasks",
    "execution": "engine errors files noise",
    "arguments": "engine execution models options psf",
    "masks": "engine execution",
    "restoration": "arguments engine execution masks noise psf",
    "quality": "arguments engine execution grain",
    "training": "engine errors files io noise tasks models",
    "finetuning": "arguments engine errors execution io restoration tasks training models",
    "provenance": "io tasks",
    "batch": "arguments engine errors execution files io psf restoration tasks models",
    "about": "engine models",
    "console": "batch execution",
    "demo": "console engine errors io restoration sample_data",
    "cli": "about arguments batch console demo engine errors execution finetuning io models "
    "options psf tasks training",
    "command": "cli",
    "widgets": "about batch engine errors execution finetuning io models noise options "
    "provenance psf quality restoration sample_data tasks",
    "__init__": "engine errors finetuning noise psf quality restoration models",
}
BELOW = {layer: set(names.split()) for layer, names in BELOW.items()}


def layer(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    stub = path.with_suffix(".pyi")  # of names that are imported when they are used
    for node in ast.walk(ast.parse((stub if stub.exists() else path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["napari_rednet", *path.relative_to(ROOT).parent.parts] * node.level
            parts = package + [node.module] * bool(node.module)
            yield ".".join(parts)
            if parts == ["napari_rednet"]:
                yield from (f"napari_rednet.{alias.name}" for alias in node.names)


def inner_imports(path):
    parts = (name.split(".") for name in imported(path))
    return {p[1] for p in parts if p[0] == "napari_rednet" and len(p) > 1} - {"__version__"}


def test_the_table_has_all_layers_and_no_circle():
    assert {layer(p) for p in MODULES} == BELOW.keys()
    done = set()
    while left := BELOW.keys() - done:
        lowest = {name for name in left if BELOW[name] <= done}
        assert lowest, f"circle among {left}"
        done |= lowest


def test_layers_import_what_the_table_says_and_need_all_of_it():
    found = {name: set() for name in BELOW}
    for path in MODULES:
        own = layer(path)
        others = inner_imports(path) - {own}
        assert others <= BELOW[own], f"{path} imports {others - BELOW[own]}"
        found[own] |= others
    assert found == BELOW


def module_name(path):
    parts = ["napari_rednet", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle():
    """Not even inside functions, which would only put it off."""
    modules = {module_name(path): path for path in MODULES}
    graph = {}
    for name, path in modules.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        named = [(f"{node.module}.{a.name}", node.module) for node in froms for a in node.names]
        found = {own if own in modules else of for own, of in named}
        graph[name] = (found & modules.keys()) - {name, "napari_rednet"}
    TopologicalSorter(graph).prepare()


def test_only_widgets_know_a_gui():
    for path in MODULES:
        outside = {name.split(".")[0] for name in imported(path)}
        assert layer(path) in ("widgets", "demo") or not outside & GUI, path


def test_library_code_has_no_asserts_and_no_pickles():
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path
        assert "pickle" not in set(imported(path)), path
