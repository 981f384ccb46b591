"""Checks a built site without a network: every link within it has its file, every ``#anchor`` its place."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The links and the places of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[int, str]] = []
        self.places: set[str] = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element links to and what it is called."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append((self.getpos()[0], value))
            if name == "id" and value:
                self.places.add(value)


def broken_links(site: Path) -> Iterator[str]:
    """Yield each link of the pages below a folder that leads nowhere; those to other hosts are not asked."""
    site = site.resolve()
    # Themes keep templates among their files.
    files = [path for path in sorted(site.rglob("*.html")) if path.relative_to(site).parts[0] != "_static"]
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in files}
    for path, page in pages.items():
        for line, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            where = f"{path.relative_to(site)}, line {line}"
            if not target.is_file():
                yield f"{where}: {link}: no such file"
            elif target in pages and unquote(parts.fragment) not in pages[target].places:
                yield f"{where}: {link}: no such place on that page"
