"""The pages of the documentation, as they are read in the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "docs/llms.txt",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*/README.md"),
    ]
)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/how-to-*.md")), ids=lambda page: page.stem)
def test_how_tos_begin_with_napari(page: Path):
    """Where its menus lie is told before any code."""
    before_code = re.split(r"^(?:```|    \S)", page.read_text(encoding="utf-8"), flags=re.M)[0]
    assert re.search(r"\*(?:Plugins|Layers) →", before_code)


def blocks(page: str, language: str) -> list[str]:
    """Fenced code of a page in one language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


PLAY = ROOT / "docs" / "tutorial.py"


def test_the_tutorial_for_napari_is_played_by_its_words():
    words = re.findall(r'(?:choose|press)\(viewer, f?"([^{"]+)', PLAY.read_text(encoding="utf-8"))
    assert len(words) > 8
    text = " ".join((ROOT / "docs" / "tutorial-first-steps.md").read_text(encoding="utf-8").split())
    assert [said for said in words if f"*{said}" not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_tutorial_for_napari_can_be_played_to_its_end(tmp_path, theme):
    command = [sys.executable, str(PLAY), "--theme", theme, "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("tutorial-*.png"))) == 4


@pytest.mark.slow
def test_the_tutorial_for_notebooks_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks("tutorial-notebook.md", "python")
    assert len(code) > 4
    names: dict[str, object] = {}
    for block in code:
        exec(block, names)
    assert "NoiseModel(gain=" in capsys.readouterr().out
    assert (tmp_path / "restored.tif").exists()


@pytest.mark.slow
def test_the_tutorial_for_shells_runs_as_it_is_written(tmp_path):
    """Up to the cluster, of which the script for Slurm is played as its first job."""

    def shell(line: str) -> None:
        folder = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": folder, "SLURM_ARRAY_TASK_ID": "1"}
        subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=environment, check=True)

    (make,) = blocks("tutorial-command-line.md", "python")
    (tmp_path / "make.py").write_text(make, encoding="utf-8")
    text = (ROOT / "docs" / "tutorial-command-line.md").read_text(encoding="utf-8")
    before, _ = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).split("## 5.")
    lines = re.findall(r"^ {4}(\S.*)$", before, re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        shell(line)
    finished = sorted(path.name for path in (tmp_path / "restored").iterdir())
    assert {"A1.tif", "A2.tif", "B1.tif", "report.csv"} <= set(finished)
    assert (tmp_path / "A1-denoised.tif").exists()
    assert (tmp_path / "A1.ome.zarr" / "zarr.json").exists()
    made = (tmp_path / "restored" / "A2.tif").read_bytes()
    (tmp_path / "restored" / "A2.tif").unlink()
    (script,) = blocks("tutorial-command-line.md", "bash")
    shell(script)
    assert (tmp_path / "restored" / "A2.tif").read_bytes() == made
