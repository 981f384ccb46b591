"""The sources of the site: docs/, pages that stand elsewhere in the repository, pages made from the code.

All of them go to one folder, so that nothing made stands beside what is written. Links that GitHub resolves
are written again for the site: to its page where there is one, else to the file, which the site then offers
for download.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from . import command_line, examples, formats, operators, python_api
from .markdown import toctree

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "report-a-fault.md",
    "benchmarks/submissions/README.md": "submissions.md",
    "containers/README.md": "containers.md",
    "containers/add/README.md": "containers-add.md",
    "plugins/README.md": "tensorrt.md",
    "tests/ptx/README.md": "simulated-device.md",
}
"""Pages that stand elsewhere in the repository, and where the site has them."""
BELOW = {"containers.md": ["containers-add"]}
"""Pages that stand below one of these."""
INSTEAD = {
    "README.md": "index.md",
    "containers": "containers.md",
    "docs": "index.md",
    "docs/formats": "formats/README.md",
    "examples": "reference/examples.md",
    "plugins": "tensorrt.md",
}
"""What pages link to and the site has under another name."""
_COPIED = (".md", ".webp", ".png", ".svg", ".json", ".css", ".service", ".logrotate")
_FILE_NAME = re.compile(r"\[[\w./-]*\.md\]\(")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")


def for_site(text: str, source: str, page: str) -> str:
    """Return a page's text with the links that lead out of docs/ written for the site.

    Args:
        text: Markdown.
        source: The page in the repository.
        page: The page on the site.
    """

    def written(found: re.Match[str]) -> str:
        before, target, anchor = found[1], found[2], found[3] or ""
        path = os.path.normpath(PurePosixPath(source).parent / target)
        if ":" in target or not (ROOT / path).exists():
            return found[0]
        if path in OUTSIDE:
            path = OUTSIDE[path]
        elif path in INSTEAD:
            path, anchor = INSTEAD[path], ""
        elif path.startswith("docs/"):
            path = path.removeprefix("docs/")
        else:
            path = os.path.relpath(ROOT / path, STAGED)
        if _FILE_NAME.fullmatch(before):
            before = "[]("  # the site puts the page's title there
        return f"{before}{os.path.relpath(path, PurePosixPath(page).parent)}{anchor}"

    return _LINK.sub(written, text)


STAGED = ROOT / "build" / "docs" / "source"
"""Where the sources of the site are put together."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of each page that somebody wrote, and of those made from the code."""
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).as_posix()
        yield name, for_site(path.read_text(encoding="utf-8"), f"docs/{name}", name)
    for source, page in OUTSIDE.items():
        text = for_site((ROOT / source).read_text(encoding="utf-8"), source, page)
        yield page, text + (f"\n{toctree(BELOW[page])}" if page in BELOW else "")
    for maker in (command_line, python_api, operators, formats, examples):
        yield from maker.pages()


def stage() -> None:
    """Put the sources together. What has not changed is left as it is, so that Sphinx reads it only once."""
    made = dict(texts())
    kept = set(made)
    for name, text in made.items():
        path = STAGED / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in DOCS.rglob("*"):
        if path.suffix in _COPIED and path.suffix != ".md":
            name = path.relative_to(DOCS).as_posix()
            kept.add(name)
            (STAGED / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, STAGED / name)
    for path in [path for path in STAGED.rglob("*") if path.is_file()]:
        if path.relative_to(STAGED).as_posix() not in kept:
            path.unlink()
