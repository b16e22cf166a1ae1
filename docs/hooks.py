"""What MkDocs cannot do by itself: pages from outside of docs/, and the command line's help.

Links between the sources hold in the repository as they are. On the site, those that leave docs/
lead to the page that was made of the file, or to the repository.
"""

from __future__ import annotations

import logging
import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import napari_rednet

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks/commands.md",
    "src/napari_rednet/data/README.md": "sample-data.md",
    "weights/README.md": "weights.md",
}
"""Files of the repository and the pages of the site that are made of them."""

_SOURCES = {page: source for source, page in PAGES.items()}
_ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
_DESCRIBED = re.compile(r"^::: napari_rednet\.(?:\w+\.)*(\w+)", re.MULTILINE)
# typer cuts the words about each command short; the table of contents lists them as well.
_PLACE_OF_CARDS = "## The models"
_LIST_OF_COMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")
_LOADED = re.compile(r'<(?:iframe|img|link|script)\b[^>]*\b(?:src|href)="(https?://[^"]+)"')
_log = logging.getLogger("mkdocs.plugins.napari-rednet")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the version, and link to the repository, at the foot of every page."""
    repository = f'<a href="{config.extra["repository"]}">repository</a>'
    config.copyright = (
        f"napari-rednet {napari_rednet.__version__}, {repository}; {config.copyright}"
    )
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no source in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Complete the reference, and lead links to where the site has their files."""
    if page.file.src_uri == "command-line.md":
        markdown = markdown.partition("\n\n")[0] + "\n\n" + command_line()
    if page.file.src_uri == PAGES["weights/README.md"]:
        markdown = markdown.replace(_PLACE_OF_CARDS, _PLACE_OF_CARDS + "\n\n" + model_cards(), 1)
    if page.file.src_uri == "api.md":
        _look_for_missing_names(markdown)
    return _LINK.sub(lambda found: _on_site(found[1], page.file.src_uri, config), markdown)


def on_page_content(html: str, **_: object) -> str:
    """Write references of docstrings without their reStructuredText."""
    return re.sub(r"\.\. (\[\d\])", r"\1", html)


def on_post_page(html: str, page: Page, **_: object) -> str:
    """See that the page needs nothing from elsewhere."""
    for address in _LOADED.findall(html):
        _log.warning("%s loads %s", page.file.src_uri, address)
    return html


def command_line() -> str:
    """The help of all commands, as Markdown without its title."""
    words = ["-m", "typer", "napari_rednet.cli", "utils", "docs", "--name", "napari-rednet"]
    command = [sys.executable, *words]
    found = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8")
    return _LIST_OF_COMMANDS.sub("", found.stdout).partition("\n\n")[2]


def model_cards() -> str:
    """The cards of the installed models, as sections."""
    names = [one.name for one in napari_rednet.list_models() if one.origin == "installed"]
    cards = (f"### {name}\n\n{napari_rednet.model_card(name).as_markdown()}" for name in names)
    return "\n".join(cards)


def _look_for_missing_names(markdown: str) -> None:
    for name in sorted(set(napari_rednet.__all__) - set(_DESCRIBED.findall(markdown))):
        _log.warning("api.md does not describe napari_rednet.%s", name)


def _on_site(link: str, page: str, config: MkDocsConfig) -> str:
    source = _SOURCES.get(page, f"docs/{page}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if target in PAGES:
        found = PAGES[target]
    elif target.startswith("docs/"):
        found = target.removeprefix("docs/")
    elif (_ROOT / target).exists():
        return f"{config.extra['repository']}/blob/main/{target}"
    else:
        return link  # MkDocs complains of it
    return posixpath.relpath(found, posixpath.dirname(page) or ".")
