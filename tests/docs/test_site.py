"""What the site is made of is whole: entries, tables of contents, links. `make docs` builds it."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import typer.main

pytest.importorskip("torch", reason="needs torch: pip install 'mimamba-edge[export]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'mimamba-edge[research]'")
pytest.importorskip("onnxscript", reason="needs onnx and onnxscript: pip install 'mimamba-edge[export]'")

import mimamba_edge
from docs.builder import links, pages, python_api
from mimamba_edge.cli.app import app


@cache
def site() -> dict[str, str]:
    """Return the text of each page, as Sphinx gets it."""
    return dict(pages.texts())


def toctrees() -> Iterator[tuple[str, str]]:
    """Yield each entry of a table of contents, with the page that has it."""
    for name, text in site().items():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            for entry in block.splitlines():
                if entry and not entry.startswith(":"):
                    yield name, os.path.normpath(PurePosixPath(name).parent / entry) + ".md"


def test_every_page_is_in_one_table_of_contents() -> None:
    entries = Counter(entry for _, entry in toctrees())
    assert set(entries) == {*site()} - {"index.md"}
    assert entries.most_common(1)[0][1] == 1


def test_a_section_links_each_page_of_its_table_of_contents() -> None:
    for page, entry in toctrees():
        if page in ("start.md", "how-to.md", "explanation/index.md", "data-and-research.md", "project.md"):
            link = os.path.relpath(entry, PurePosixPath(page).parent)
            assert f"]({link}" in site()[page], f"{page} does not show {link}"


def test_links_between_pages_lead_somewhere() -> None:
    for name, text in site().items():
        text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:\s]+\.(?:md|json|webp))[^):\s]*\)", text):
            path = os.path.normpath(PurePosixPath(name).parent / target)
            assert (
                path in site() or (pages.STAGED / path).resolve().is_file() or (pages.DOCS / path).is_file()
            ), f"{name}: {target}"


def test_every_public_name_has_an_entry_and_says_what_it_is() -> None:
    assert python_api.documented() == set(mimamba_edge.__all__)
    things = [getattr(mimamba_edge, name) for name in mimamba_edge.__all__]
    things += [getattr(__import__(home, fromlist=[name]), name) for name, home in python_api.TYPES.items()]
    entries = "".join(text for name, text in site().items() if name.startswith("reference/python/"))
    for thing in things:
        assert f".{thing.__name__}\n```" in entries
        assert inspect.getdoc(thing), thing
        for name, member in vars(thing).items() if isinstance(thing, type) else ():
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                assert inspect.getdoc(getattr(thing, name)), f"{thing.__name__}.{name}"


def test_every_option_of_every_verb_has_a_row() -> None:
    def check(command: Any, text: str) -> None:
        for param in command.params:
            for option in param.opts:
                shown = (
                    f"`{param.metavar or option.upper()}`"
                    if param.param_type_name == "argument"
                    else f"`{option}`"
                )
                assert shown in text or option == "--help", option
        for sub in getattr(command, "commands", {}).values():
            check(sub, text)

    root: Any = typer.main.get_command(app)
    for verb, command in root.commands.items():
        check(command, site()[f"reference/cli/{verb}.md"])


def test_every_field_of_every_schema_has_a_meaning() -> None:
    for path in (pages.DOCS / "formats").glob("*.schema.json"):
        for name, held in json.loads(path.read_text(encoding="utf-8"))["$defs"].items():
            assert held["description"], name
            for field, told in held["properties"].items():
                assert told.get("description"), f"{path.name}: {name}.{field}"
        assert f"reference/formats/{path.name.split('.')[0]}.md" in site()


@pytest.mark.ort
@pytest.mark.parametrize("page", ["models", "stream"])
def test_the_examples_of_the_reference_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(python_api.GROUPS[page][2], {})
    assert "calm" in capsys.readouterr().out


def test_a_link_out_of_the_pages_becomes_a_page_or_a_file() -> None:
    text = "[a](../plugins/README.md#x) [b](../LICENSE) [c](live.md#s) [d](https://x.org/) [edge.md](edge.md)"
    up = os.path.relpath(pages.ROOT / "LICENSE", pages.STAGED)
    assert pages.for_site(text, "docs/install.md", "install.md") == (
        f"[a](tensorrt.md#x) [b]({up}) [c](live.md#s) [d](https://x.org/) [](edge.md)"
    )
    assert pages.for_site("[a](../docs/live.md)", "plugins/README.md", "tensorrt.md") == "[a](live.md)"


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "<a href='b.html#here'></a><a href='b.html#gone'></a><a href='c.html'></a>"
        "<a href='https://x.org/'></a><img src='d.png'><a href='#top'></a>"
    )
    (tmp_path / "b.html").write_text("<p id='here'></p>")
    found = [line.split(": ")[1] for line in links.broken_links(tmp_path)]
    assert found == ["b.html#gone", "c.html", "d.png"]
