"""What tests see of a page: its elements in order, their attributes and text."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser


@dataclass
class Element:
    tag: str
    attrs: dict[str, str | None]
    text: str = ""


class HtmlPage(HTMLParser):
    """A page that closes what it opens; anything else fails at once."""

    VOID = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[Element] = []
        self.elements: list[Element] = []
        self.feed(text)
        self.close()
        assert not self.open

    @property
    def seen(self) -> list[tuple[str, dict[str, str | None]]]:
        """Tag and attributes of each element."""
        return [(one.tag, one.attrs) for one in self.elements]

    def texts(self, tag: str) -> list[str]:
        """Return the text of each element of a tag, in one line."""
        return [" ".join(one.text.split()) for one in self.elements if one.tag == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for one in self.open:
            one.text += data

    def assert_stands_alone(self, text: str) -> None:
        """Fail where the page needs anything from elsewhere or runs anything."""
        assert not {"script", "link", "img", "iframe", "object", "form", "a"} & {e.tag for e in self.elements}
        for one in self.elements:
            assert not {"src", "href", "xlink:href", "srcdoc", "action"} & set(one.attrs)
            assert not [name for name in one.attrs if name.startswith("on")]
        assert "@import" not in text
        assert "url(" not in text
