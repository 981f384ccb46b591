"""The page's server: static files and one WebSocket a browser, in a thread of its own.

Browsers only read. Each is given what it lacks, at its own pace, from what :mod:`.state` keeps; one that
is slow or stands still is given less and makes nobody wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import secrets
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable, show_warning
from mimamba_edge.errors import ConfigError, DependencyError, pip_install
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sinks.page.guard import HEADERS, Guard, read_static
from mimamba_edge.stream.sinks.page.state import PageState, View
from mimamba_edge.stream.sources.base import Notice

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

__all__ = ["MAX_PAGES", "Page"]

MAX_PAGES = 16
"""Browsers at once."""
_MAX_CONNECTIONS = 64
_PORTS_TRIED = 20
_FRAME_S = 1 / 30
_HELLO_S = 5.0
_HELLO_BYTES = 1024
_LIVE = "/live"
_BUFFER_BYTES = 1 << 16
"""What the system may hold for a browser that does not read: a few seconds of signal."""
_NO_TOKEN, _TOO_MANY, _READ_ONLY = 4401, 4429, 1008


def open_spec(rest: str) -> Sink:
    """Open ``page:HOST:PORT``, or ``page:`` for this machine's own address.

    Raises:
        ConfigError: It is no host and port.
    """
    host, colon, port = rest.rpartition(":")
    if rest and not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(
            "page: needs a host and a port", got=f"page:{printable(rest)}", expected="page:127.0.0.1:8765"
        )
    return Page(host.strip("[]"), int(port)) if rest else Page()


class Page(Sink):
    """Shows streams in browsers.

    Args:
        host: Where to listen. Beyond this machine a token is needed, which :attr:`url` holds.
        port: Where to listen; the next free one where it is taken, any where it is 0.
    """

    name = "page"

    def __init__(self, host: str = "127.0.0.1", port: int = 8765) -> None:
        self._host, self._asked = host, port
        self._state = PageState()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._token: str | None = None
        self._pages = 0
        self._fault: Exception | None = None
        self._open: set[ServerConnection] = set()
        self.port = port

    @property
    def url(self) -> str:
        """Where the page is, with the token if one is needed; known after :meth:`begin`."""
        host = self._host
        if host in ("0.0.0.0", "::", ""):
            host = socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"#token={self._token}" if self._token else "")

    def begun(self) -> str:
        """Return the address of the page."""
        return f"page: {self.url}"

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Listen.

        Raises:
            ConfigError: There is no such address, or no port is free.
            DependencyError: The package websockets is not installed.
        """
        try:
            import websockets.asyncio.server  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                "the page needs the package websockets (14 or newer)",
                do=pip_install("live"),
            ) from error
        self._state.begin(streams)
        self._files = read_static()
        listener = _listen(self._host, self._asked)
        address, self.port = listener.getsockname()[:2]
        if self._asked not in (0, self.port):
            show_warning(f"port {self._asked} is taken; the page is at port {self.port}")
        self._guard = Guard(self._host, address)
        self._token = None if self._guard.is_local else secrets.token_urlsafe(18)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="page", daemon=True)
        self._thread.start()
        ready.result()

    def signal(self, stream: str, uv: NDArray[np.float64], start: int) -> None:
        """See :class:`Sink`."""
        self._state.signal(stream, uv, start)

    def decision(self, decision: Decision) -> None:
        """See :class:`Sink`."""
        self._state.decision(decision)

    def notice(self, stream: str, notice: Notice) -> None:
        """See :class:`Sink`."""
        self._state.notice(stream, notice)

    def status(self, counters: dict[str, Any]) -> None:
        """See :class:`Sink`. A fault of the page itself comes up here, and is told of as any sink's."""
        if self._fault is not None:
            raise self._fault
        self._state.status(counters)

    def close(self) -> None:
        """Tell browsers that this is the end, and stop listening."""
        if self._thread is None or self._loop is None or self._ending is None:
            return
        with contextlib.suppress(RuntimeError):  # The loop has ended: closed twice.
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(timeout=10.0)
        self._thread = None

    def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listener, ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, listener: socket.socket, ready: Future[None]) -> None:
        from websockets.asyncio.server import ServerConnection, serve

        page = self

        class Connection(ServerConnection):
            """Counts what is open, so that nobody can use up the process's file descriptors."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                page._open.add(self)
                if len(page._open) > _MAX_CONNECTIONS:
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                page._open.discard(self)
                super().connection_lost(exc)

        # What a stranger sends is no news for the terminal.
        quiet = logging.getLogger("mimamba_edge.page")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(
            self._show,
            sock=listener,
            process_request=self._answer,
            process_response=_with_headers,
            server_header=None,
            compression=None,
            open_timeout=_HELLO_S,
            close_timeout=2.0,
            max_size=_HELLO_BYTES,
            max_queue=1,
            write_limit=_BUFFER_BYTES,
            logger=quiet,
            create_connection=Connection,
        )
        ready.set_result(None)
        await self._ending.wait()
        server.close(close_connections=False)
        # Who still reads hears the end; who does not, or never asked for anything, is not waited for.
        for _ in range(20):
            if not self._pages:
                break
            await asyncio.sleep(_FRAME_S)
        for connection in list(self._open):
            connection.transport.abort()
        await server.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the answer to a request, or ``None`` for one that may become a WebSocket."""
        hosts = request.headers.get_all("Host")
        if getattr(request, "method", "GET") != "GET":
            return connection.respond(405, "only GET\n")
        if len(hosts) != 1 or not self._guard.knows(hosts[0]):
            return connection.respond(403, "this page is not served under that name\n")
        path = request.path.partition("?")[0]
        if path == _LIVE:
            origins = request.headers.get_all("Origin")
            if len(origins) != 1 or not self._guard.same_origin(origins[0], hosts[0]):
                return connection.respond(403, "only the page itself may connect\n")
            return None
        if path not in self._files:
            return connection.respond(404, "not here\n")
        kind, body = self._files[path]
        response = connection.respond(200, "")
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(body)))):
            del response.headers[key]
            response.headers[key] = value
        response.body = body
        return response

    async def _show(self, connection: ServerConnection) -> None:
        """Bring one browser up to date, thirty times a second."""
        from websockets.exceptions import ConnectionClosed

        if self._pages >= MAX_PAGES:
            await connection.close(_TOO_MANY, "too many pages are open")
            return
        self._pages += 1
        listening = None
        try:
            view = await self._greet(connection)
            if view is None:
                return
            listening = asyncio.create_task(_refuse(connection))
            raw = connection.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            await connection.send(self._state.hello(view))
            assert self._ending is not None
            while not (self._ending.is_set() or listening.done()):
                for message in self._state.news(view):
                    await connection.send(message)
                await asyncio.sleep(_FRAME_S)
            await connection.send('{"type":"end"}')
        except ConnectionClosed:
            pass
        except Exception as error:
            self._fault = error
            raise
        finally:
            self._pages -= 1
            if listening is not None:
                listening.cancel()

    async def _greet(self, connection: ServerConnection) -> View | None:
        """Read the one message a browser sends: its token, and which stream it wants."""
        try:
            hello = json.loads(await asyncio.wait_for(connection.recv(), _HELLO_S))
            token, stream = hello.get("token"), hello.get("stream", 0)
        except (asyncio.TimeoutError, ValueError, AttributeError, RecursionError):
            token = stream = None
        if self._token is not None and not (
            isinstance(token, str)
            and hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        ):
            await connection.close(_NO_TOKEN, "the token is missing or wrong")
            return None
        if type(stream) is not int or not 0 <= stream < self._state.n_streams:
            await connection.close(_READ_ONLY, "no such stream")
            return None
        return View(stream)


async def _refuse(connection: ServerConnection) -> None:
    """Close a connection whose browser has more to say."""
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        await connection.recv()
        await connection.close(_READ_ONLY, "this page is read-only")


def _with_headers(connection: ServerConnection, request: Request, response: Response) -> None:
    for key, value in HEADERS.items():
        response.headers[key] = value


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the first free port.

    Raises:
        ConfigError: There is no such address, or no port is free.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            "the page cannot use this address", got=host, do="give an address of this machine"
        ) from error
    error_seen: OSError | None = None
    for candidate in [0] if port == 0 else range(port, min(port + _PORTS_TRIED, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], candidate, *address[2:]))
            listener.listen(_MAX_CONNECTIONS)
        except OSError as error:
            listener.close()
            error_seen = error
        else:
            return listener
    raise ConfigError(
        "the page cannot use this address",
        got=f"{host}, ports from {port}: {error_seen}",
        do="give an address of this machine with --page-host, or a free port with --page-port",
    ) from error_seen
