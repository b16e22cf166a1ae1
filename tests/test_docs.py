"""The pages of the documentation, as they are read in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
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
