"""Words that readers could not guess, or that one reads twice, stay out of what users see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BANNED = {
    r"\b(Hub|Strand|Intake|SignalPath|BuildFacts)\b": "StreamEngine, LiveStream, ChunkCleaner, Preprocessor",
    r"does not suffice": "out of memory, not enough",
    r"as no source should": "unexpected error in the source",
    r"taken up anew|\banew\b": "reloaded, again",
    r"gone for good": "was lost",
    r"not worth having": "below the acceptance limits",
    r"held down by|holds? down": "throttled, limited by",
    r"serves on\b": "stays in use",
    r"\bcontenders?\b": "runners",
    r"\bthe house\b|\bthe hub\b|\bthe intake\b": "the source tree, the stream engine, the chunk cleaner",
    r"what was asked of|Of recordings: ": "plain word order",
    r"half written": "incomplete",
    r"\bx floor\b": "x sgemm",
    r"same class where decided": "same class, ties aside",
    r"pessimistic bound": "worst case",
    r"\bjudged nested|tested nested": "on what it was not fitted on",
    r"^stopped by$": "epoch chosen on",
    r"trials lost, net|held-out trials lost": "fewer trials right",
    r"\bpaced p50": "at stream pace",
    r"clock steps, .* suspected": "pauses that lost nothing",
    r"pip install ['\"]?mimamba[-_]edge\b(?!-)": "errors.pip_install: the package is on no index yet",
}
"""Pattern, and what is said instead."""
CODE = [
    path
    for folder in ("mimamba_edge", "export", "plugins")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not any(part.is_symlink() for part in path.parents)
]
PAGE = sorted((ROOT / "mimamba_edge" / "stream" / "sinks" / "page" / "static").glob("*.[hj]*"))
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page, or the strings and docstrings of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())


def test_old_words_stay_out_of_what_is_read() -> None:
    found = [
        f"{path}, line {line}: {match[0]!r} in {text[:100]!r}: say {instead}"
        for path in (*CODE, *PAGE, *DOCS)
        for line, text in _texts(path)
        for pattern, instead in BANNED.items()
        if (match := re.search(pattern, text))
    ]
    assert not found


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    words = [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]
    assert len(words) == len(set(words))
    assert words == sorted(words, key=str.casefold)
    assert {"window", "hop", "contract", "family", "near-tie", "SQNR", "session", "run"} <= set(words)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_glossary_is_linked(page: str) -> None:
    assert "glossary.md" in (ROOT / page).read_text(encoding="utf-8")
