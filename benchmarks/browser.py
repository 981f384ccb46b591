"""Headless Chromium through its DevTools protocol: open, look, ask, photograph."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

__all__ = ["FLAGS", "Tab", "find_chromium", "open_browser"]

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
]


def find_chromium() -> str | None:
    """Return where Chromium is, or ``None``."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Tab:
    """One tab. Errors of scripts and messages of its console are kept in ``complaints``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)

    def size(self, width: int, height: int, *, scale: float = 1.0, mobile: bool = False) -> None:
        """Set the size of the window, and how many pixels its own pixels have."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile},
        )

    def prefer(self, **features: str) -> None:
        """Set media features, as ``prefers_color_scheme="dark"``."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": k.replace("_", "-"), "value": v} for k, v in features.items()],
        )

    def js(self, expression: str) -> Any:
        """Return the value of an expression."""
        out = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in out, out["exceptionDetails"]
        return out["result"].get("value")

    def until(
        self, expression: str, *, seconds: float = 15.0, meanwhile: Callable[[], None] | None = None
    ) -> Any:
        """Wait until an expression is true; ``meanwhile`` is called before each look."""
        end = time.monotonic() + seconds
        while True:
            if meanwhile is not None:
                meanwhile()
            # While a page is being opened there may be nothing to ask yet.
            value = self.js(f"(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()")
            if value:
                return value
            assert time.monotonic() < end, f"{expression} never came true; the page said: {self.complaints}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """Return what the window shows, or with ``whole`` all of the page, as PNG."""
        png = base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])
        if path is not None:
            path.write_bytes(png)
        return png


@contextmanager
def open_browser(executable: str) -> Iterator[Callable[[], Tab]]:
    """Start Chromium with a profile of its own; give a function that opens a tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with ExitStack() as stack:
            stack.callback(process.wait, timeout=30)
            stack.callback(process.terminate)
            port = _port(Path(profile) / "DevToolsActivePort", process)

            def attach(address: str) -> ClientConnection:
                opened = connect(address, max_size=None, compression=None, ping_interval=None)
                return stack.enter_context(opened)

            root = attach(_root(port))

            def tab() -> Tab:
                root.send(
                    json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
                )
                while (answer := json.loads(root.recv(timeout=30))).get("id") != 1:
                    pass
                return Tab(attach(f"ws://127.0.0.1:{port}/devtools/page/{answer['result']['targetId']}"))

            yield tab


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text().count("\n")):
        assert process.poll() is None, "Chromium ended at once"
        assert time.monotonic() < end, "Chromium does not start"
        time.sleep(0.05)
    return int(path.read_text().split()[0])


def _root(port: int) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json/version", timeout=30) as answer:
        return str(json.load(answer)["webSocketDebuggerUrl"])
