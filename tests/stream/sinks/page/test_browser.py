"""The page in headless Chromium: what it shows, and that names from outside stay text."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks.browser import Tab, find_chromium, open_browser
from mimamba_edge.stream.sinks.page.server import Page
from mimamba_edge.stream.sources.base import Notice
from tests.stream.sinks.page.feeding import CLASSES, HOSTILE, Player, counters, info

pytestmark = pytest.mark.skipif(
    find_chromium() is None,
    reason="needs Chromium: apt install chromium, or chromium-browser, or google-chrome",
)


@pytest.fixture(scope="module")
def new_tab() -> Iterator[Callable[[], Tab]]:
    executable = find_chromium()
    assert executable is not None
    with open_browser(executable) as tab:
        yield tab


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page(port=0)
    page.begin([info()])
    yield page
    page.close()


def _show(new_tab: Callable[[], Tab], page: Page, scheme: str = "light") -> Tab:
    tab = new_tab()
    tab.size(1400, 900)
    tab.prefer(prefers_color_scheme=scheme)
    tab.go(page.url)
    tab.until("document.querySelectorAll('#channels li').length > 0")
    return tab


def _pixels(png: bytes) -> np.ndarray:
    """Return ``(h, w, 3)`` of a PNG of 8 bits without interlacing, by the rules of RFC 2083."""
    at, data, head = 8, b"", b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        head, data = (body, data) if kind == b"IHDR" else (head, data + body if kind == b"IDAT" else data)
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    assert depth == 8
    n = {2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * n)
    out = np.zeros((height, width, n), np.int64)
    for y in range(height):
        kind, line = rows[y, 0], rows[y, 1:].reshape(width, n).astype(np.int64)
        above = out[y - 1] if y else np.zeros((width, n), np.int64)
        if kind in (0, 2):
            out[y] = (line + (above if kind == 2 else 0)) & 255
            continue
        left, corner = np.zeros(n, np.int64), np.zeros(n, np.int64)
        for x in range(width):
            guess = left if kind == 1 else (left + above[x]) // 2
            if kind == 4:
                p = left + above[x] - corner
                a, b, c = abs(p - left), abs(p - above[x]), abs(p - corner)
                guess = np.where((a <= b) & (a <= c), left, np.where(b <= c, above[x], corner))
            out[y, x] = left = (line[x] + guess) & 255
            corner = above[x]
    return out[:, :, :3]


def test_it_shows_signal_decision_quality_and_counters(new_tab: Callable[[], Tab], page: Page) -> None:
    tab, player = _show(new_tab, page), Player(page)
    player.step(40, label=None, reason="settling")
    tab.until("document.getElementById('label').textContent === 'No decision'")
    assert tab.text("#because") == "filters settle after a start or a gap"
    player.step(1, label=None, reason="railed", worst={"railed": 0.5})
    tab.until("document.getElementById('because').innerText === 'AF7 at the limit of the amplifier'")
    player.step(79, label=1, worst={"railed": 0.5})
    page.status(counters(sinks={"record": {"dropped": 0, "gone": False}}))
    tab.until("document.getElementById('label').textContent === 'excited'")
    tab.until("document.getElementById('state').innerText === 'running'")
    tab.until("document.getElementById('recording').innerText === 'recording'")
    assert tab.text("#percent") == "70 %"
    assert tab.text("#quality li:nth-child(2)").split() == ["AF7", "railed", "12", "µV"]
    assert tab.text("#quality li:nth-child(1)").split() == ["TP9", "good", "12", "µV"]
    assert tab.text("#ends").split() == ["calm", "15", "%", "excited", "70", "%", "bored", "15", "%"]
    cells = (
        "[...document.querySelectorAll('#counters div')].map((d) => [...d.children].map((c) => c.innerText))"
    )
    assert dict(tab.js(cells)) == {
        **{"windows": "80", "decided": "70", "no decision": "10", "dropped": "0"},
        **{"samples": "2,560", "missing": "3", "gaps": "1", "resets": "0"},
    }
    assert tab.text("#p50").split() == ["1.5", "ms"]
    assert tab.text("#delay-ms").split() == ["564", "ms"]
    assert "Not a medical device." in tab.text("footer")
    assert tab.text("#facts").split("\n")[:2] == ["Model", "emotion.onnx"]
    # The signal is on the canvas: in each lane there are pixels of the trace's colour.
    tab.until(_LANES_DRAWN)
    assert tab.complaints == []


_LANES_DRAWN = """(() => {
  const canvas = document.getElementById("traces"), n = 8, pen = canvas.getContext("2d");
  const lane = Math.floor(canvas.height / n);
  for (let c = 0; c < n; c++) {
    const { data } = pen.getImageData(canvas.width / 2, c * lane + 4, canvas.width / 2 - 4, lane - 8);
    let dark = 0;
    for (let i = 0; i < data.length; i += 4) {
      dark += data[i + 3] > 200 && data[i] + data[i + 1] + data[i + 2] < 480;
    }
    if (dark < 200) return false;
  }
  return true;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_in_both_themes(new_tab: Callable[[], Tab], page: Page, scheme: str, tmp_path: Path) -> None:
    tab, player = _show(new_tab, page, scheme), Player(page)
    tab.size(500, 400)
    player.step(100)
    tab.until("document.getElementById('label').textContent === 'calm'")
    pixels = _pixels(tab.picture(tmp_path / f"{scheme}.png"))
    assert pixels.shape == (400, 500, 3)
    ground = np.median(pixels.reshape(-1, 3), axis=0).mean()
    assert (ground > 200) if scheme == "light" else (ground < 60)
    assert pixels.std() > 10
    other = "dark" if scheme == "light" else "light"
    tab.js("document.getElementById('theme').click()")
    assert tab.js("document.documentElement.dataset.theme") == other
    tab.js("localStorage.clear()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(new_tab: Callable[[], Tab], page: Page, scheme: str) -> None:
    """The contrast of WCAG 2.2 (1.4.3: 4.5 to 1; 1.4.11: 3 to 1 for lines), from the colours in use."""
    tab = _show(new_tab, page, scheme)
    names = [
        "page",
        "card",
        "ink",
        "soft",
        "good",
        "bad",
        "bad-page",
        "trace",
        "weak",
        *(f"c{i}" for i in range(8)),
    ]
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    found = {
        name: tab.js(f"{style}.call(getComputedStyle(document.documentElement), '--{name}')")
        for name in names
    }

    def light(name: str) -> float:
        parts = np.array([int(found[name].strip()[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
            @ (0.2126, 0.7152, 0.0722)
        )

    def contrast(a: str, b: str) -> float:
        high, low = sorted((light(a), light(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "card"):
        for text in ("ink", "soft", "bad"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast("bad", "bad-page") >= 4.5
    for line in ("good", "trace", "weak", *(f"c{i}" for i in range(8))):
        assert contrast(line, "card") >= 3.0, line


def test_it_says_when_there_is_no_signal_no_device_and_no_server(
    new_tab: Callable[[], Tab], page: Page
) -> None:
    tab = _show(new_tab, page)
    tab.until("document.getElementById('banner').innerText.startsWith('No signal yet')")
    player = Player(page)
    player.step(20, label=2)
    page.status(counters())
    tab.until("document.getElementById('banner').hidden")
    assert not tab.js("document.getElementById('main').classList.contains('stale')")
    page.status(counters(state="disconnected"))
    tab.until("document.getElementById('banner').innerText.startsWith('The device is disconnected')")
    assert tab.text("#label") == "No decision"
    assert tab.js("document.getElementById('main').classList.contains('stale')")
    page.status(counters(machine={"throttled": ["cpu"]}))
    tab.until("document.getElementById('throttled').innerText === 'throttled: cpu'")
    page.close()
    tab.until("document.getElementById('banner').innerText.startsWith('The stream ended at ')")
    assert tab.js("document.getElementById('main').classList.contains('stale')")
    # Another one at the same place is found without a hand.
    again = Page(port=page.port)
    again.begin([info("Muse again")])
    try:
        tab.until("document.getElementById('name').innerText === 'Muse again'")
    finally:
        again.close()


def test_hostile_names_stay_text(new_tab: Callable[[], Tab]) -> None:
    told = [info(name, channels=HOSTILE, classes=HOSTILE) for name in HOSTILE]
    page = Page(port=0)
    page.begin(told)
    try:
        tab = _show(new_tab, page)
        players = [Player(page, one, several=True) for one in told]
        for i, player in enumerate(players):
            player.step(12, label=i)
            for name in HOSTILE:
                page.notice(player.info.name, Notice("marker", name, sample=40))
                page.notice(player.info.name, Notice(name, name))
        page.status(counters(*HOSTILE, machine={"throttled": list(HOSTILE)}))
        tab.until(f"document.getElementById('label').textContent === {HOSTILE[0]!r}")
        for i in range(len(HOSTILE)):
            tab.js(f"document.querySelectorAll('#streams button')[{i}].click()")
            tab.until(f"document.querySelectorAll('#streams button')[{i}].ariaCurrent === 'true'")
            tab.until("document.querySelectorAll('#log li').length > 0")
            tab.until("document.getElementById('label').textContent.length > 3")
        assert tab.text("#channels li").split("\n")[0] == HOSTILE[0]
        # Elements of the page's own, and no other.
        assert tab.js("document.scripts.length") == 1
        assert tab.js("document.querySelectorAll('img, iframe, object, embed, a, form, svg').length") == 0
        assert tab.js("document.title") == f"{HOSTILE[-1]} – mimamba-edge"
        assert tab.js("({}).x === undefined && Object.keys(Object.prototype).length") == 0
        assert tab.complaints == []
    finally:
        page.close()


def test_the_token_of_the_address_opens_the_page_and_leaves_the_address(new_tab: Callable[[], Tab]) -> None:
    page = Page(host="0.0.0.0", port=0)
    page.begin([info()])
    try:
        bare = f"http://127.0.0.1:{page.port}/"
        refused = new_tab()
        refused.go(bare)
        refused.until("document.getElementById('banner').innerText.startsWith('This page needs its token')")
        tab = new_tab()
        tab.go(bare + "#" + page.url.partition("#")[2])
        tab.until("document.querySelectorAll('#channels li').length > 0")
        assert tab.js("location.href") == bare
        tab.go(bare)
        tab.until("document.querySelectorAll('#channels li').length > 0")
    finally:
        page.close()


def test_another_site_cannot_read_it(new_tab: Callable[[], Tab], page: Page, tmp_path: Path) -> None:
    """A page of another origin in the same browser: its WebSocket and its fetch fail."""
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        tab = new_tab()
        tab.go(f"http://127.0.0.1:{site.server_address[1]}/")
        tab.until("document.title === 'elsewhere'")
        tried = tab.js(
            f"new Promise((done) => {{ const s = new WebSocket('ws://127.0.0.1:{page.port}/live');"
            " s.onopen = () => done('open'); s.onerror = () => done('refused'); })"
        )
        assert tried == "refused"
        assert (
            tab.js(f"fetch('http://127.0.0.1:{page.port}/').then(() => 'read', () => 'refused')") == "refused"
        )
        site.shutdown()


def test_a_page_that_stood_still_goes_on_with_the_newest(new_tab: Callable[[], Tab], page: Page) -> None:
    tab, player = _show(new_tab, page), Player(page)
    player.step(10)
    tab.until("document.getElementById('label').textContent === 'calm'")
    tab.js("(() => { const end = performance.now() + 1500; while (performance.now() < end); })()")
    player.step(400, label=1)
    tab.until(f"document.getElementById('label').textContent === {CLASSES[1]!r}")
    tab.until(_LANES_DRAWN)
    assert tab.complaints == []


def test_space_holds_the_picture_and_the_keyboard_reaches_all_buttons(
    new_tab: Callable[[], Tab], page: Page
) -> None:
    tab, player = _show(new_tab, page), Player(page)
    player.step(30)
    tab.until("document.getElementById('label').textContent === 'calm'")

    def key(name: str, text: str = "") -> None:
        tab.call("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, text=text)
        tab.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    key(" ", " ")
    assert tab.js("document.getElementById('pause').ariaPressed") == "true"
    reached = set()
    for _ in range(4):
        key("Tab")
        reached.add(tab.js("document.activeElement.id"))
    assert {"pause", "theme"} <= reached


def test_a_change_of_the_decision_is_said_to_who_cannot_see_it(
    new_tab: Callable[[], Tab], page: Page
) -> None:
    tab, player = _show(new_tab, page), Player(page)
    tab.until("document.getElementById('say').ariaLive === 'polite'")
    end = time.monotonic() + 15
    while tab.text("#say") != "bored" and time.monotonic() < end:
        player.step(label=2)
        time.sleep(0.1)
    assert tab.text("#say") == "bored"
