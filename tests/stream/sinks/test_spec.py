"""Every sink is named the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks.page.server import Page
from mimamba_edge.stream.sinks.record import Recorder
from mimamba_edge.stream.sinks.spec import SINKS, open_sink


def test_page_and_recording_are_sinks_like_others(tmp_path: Path) -> None:
    page = open_sink("page:[::1]:0")
    assert isinstance(page, Page)
    assert page.url == "http://[::1]:0/"
    assert isinstance(open_sink("page:"), Page)
    assert isinstance(open_sink(f"record:{tmp_path}"), Recorder)


@pytest.mark.parametrize("spec", ["page:8765", "page:host:x", "page:host:99999", "record:", "nothing:", ""])
def test_what_is_no_sink_is_refused_with_the_kinds_or_an_example(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_sink(spec)
    kind = spec.partition(":")[0]
    expected = [f"{kind}:"] if kind in SINKS else [f"{name}:" for name in SINKS]
    assert all(name in str(caught.value.expected) for name in expected)
